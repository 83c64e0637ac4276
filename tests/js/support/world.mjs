/** A page, a network and a server, with one clock. */
import { connect } from "../../../src/rtbridge/js/client.js";
// What the client loads only when it is used, loaded already: how long that takes is not what is tested.
import "../../../src/rtbridge/js/msgpack.js";
import "../../../src/rtbridge/js/offline.js";
import "../../../src/rtbridge/js/presence.js";
import "../../../src/rtbridge/js/private.js";
import "../../../src/rtbridge/js/vault.js";
import { Clock } from "./clock.mjs";
import { Server } from "./server.mjs";

export { settle } from "./clock.mjs";

/** Numbers that look random and are the same each time. */
export function seeded(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

/** @param {number} [seed] */
export function world(seed = 1) {
    const clock = new Clock();
    const server = new Server(clock);
    const listeners = new Map();
    const stored = new Map();
    const page = { online: true, hidden: false };
    const environment = {
        WebSocket: server.WebSocket,
        streams: true,
        fetch: server.fetch,
        setTimeout: clock.setTimeout,
        clearTimeout: clock.clearTimeout,
        now: clock.now,
        random: seeded(seed),
        storage: { getItem: key => stored.get(key) ?? null, setItem: (key, value) => void stored.set(key, value) },
        addEventListener(type, listener, signal) {
            listeners.set(type, [...(listeners.get(type) ?? []), { listener, signal }]);
        },
        onLine: () => page.online,
        hidden: () => page.hidden,
    };
    return {
        clock, server, environment, stored, page,
        advance: ms => clock.advance(ms),
        /** Something happens to the page. */
        fire(type, event = {}) {
            for (const { listener, signal } of listeners.get(type) ?? []) if (!signal.aborted) listener(event);
        },
        /** @param {object} [options] */
        connect(options = {}) {
            const { environment: replaced, ...rest } = options;
            return connect({ url: "http://site.test/rt/", environment: { ...environment, ...replaced }, ...rest });
        },
    };
}

/** Subscribe and write down everything that happens. */
export function follow(rt, channel, options) {
    const seen = [];
    const events = [];
    const feed = rt.subscribe(channel, data => seen.push(data), options);
    if (options?.snapshots) feed.on("snapshot", (data, about) => seen.push({ snapshot: data, gap: about.gap }));
    for (const type of ["gap", "subscribed", "error", "end"]) feed.on(type, value => events.push([type, value]));
    return { feed, seen, events, happened: type => events.filter(([t]) => t === type).map(([, value]) => value) };
}
