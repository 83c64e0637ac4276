/**
 * rtbridge in the browser: follow channels and make calls, over whatever transport works.
 *
 *     import { connect } from "/rt/client.js"
 *     const rt = connect()
 *     const feed = rt.subscribe("groups/7/photos", photo => show(photo))
 *     const comment = await rt.call("photos.comment", { photo_id: 3, text: "wow" })
 *
 * How to read these modules: `session` is what is followed and called; a `link` is one connection of it; the `ladder`
 * chooses among links; `websocket` and `poll` are drivers that move messages; `merge` decides what is new. `private`,
 * `presence`, `offline` (with its `vault`) and `msgpack` are loaded by pages that use them. The public types are in client.d.ts.
 *
 * @import {Problem, Rung} from "./types.js"
 */
import { followApart } from "./apart.js";
import { json } from "./data.js";
import { browser } from "./environment.js";
import { makeEvents } from "./events.js";
import { makeLadder, RUNGS } from "./ladder.js";
import { poll } from "./poll.js";
import { CallError, makeSession } from "./session.js";
import { websocket } from "./websocket.js";

export { CallError };

/** A connection that is back within this time was never away. */
const HICCUP = 1500;
/** A module that could not be loaded is tried again after this time. */
const RELOAD = 3000;

/**
 * @param {string | string[]} transport
 * @returns {Rung[]}
 */
const rungsOf = transport => transport === "auto" ? RUNGS : /** @type {Rung[]} */ ([transport].flat());

/**
 * @param {import("./client.js").Options} options
 * @returns {import("./client.js").Realtime}
 */
export function connect({ url, transport = "auto", codec = "json", token, offline, environment } = {}) {
    const env = { ...browser(), .../** @type {any} */ (environment) };
    // The mount, with a slash at its end: this module is served from it, unless we are told otherwise.
    const base = new URL(url ?? ".", url ? globalThis.location?.href : import.meta.url).href.replace(/\/?$/, "/");
    const surroundings = { env, base, codec: json };
    const { on, emit } = makeEvents();
    const listening = new AbortController();

    /** As last told. @type {import("./client.js").Status} */
    let status = { state: "connecting", transport: undefined };
    /** @type {unknown} */
    let waiting;
    let failing = false;
    let over = false;

    /**
     * Load a module that not every page needs, however long it takes.
     * @template T
     * @param {() => Promise<T>} load
     * @param {(module: T) => void} use
     */
    const withModule = (load, use) => void load().then(use, () => env.setTimeout(() => over || withModule(load, use), RELOAD));

    /** What the server may ask this page. @type {Map<string, (params: any) => unknown>} */
    const handlers = new Map();
    /** Whether what is said to us is read. */
    let reading = false;
    const readLetters = () => {
        if (!reading) withModule(() => import("./private.js"), ({ followMe }) => followMe(session, handlers, emit));
        reading = true;
    };

    /** Something is to be sent: after the code that is running now, so that ten changes make one request. */
    const changed = () => queueMicrotask(() => ladder.sync());

    const show = () => {
        env.clearTimeout(waiting);
        waiting = undefined;
        const { state, transport } = status;
        const now = ladder.current?.rung;
        status = { state: over ? "ended" : now ? "online" : failing || !env.onLine() ? "offline" : "connecting", transport: now };
        if (state !== status.state || transport !== now) emit("status", status);
    };

    /** @param {boolean} fails */
    const statusChanged = fails => {
        failing = fails;
        if (over || ladder.current) show();
        else waiting ??= env.setTimeout(show, HICCUP);
    };

    /** @param {Problem} problem */
    const finish = problem => {
        over = true;
        if (problem.code) console.error(problem.message);
        listening.abort();
        ladder.stop();
        session.end(problem);
        show();
    };

    const session = makeSession(env, changed, (channel, limit) => followApart(surroundings, session, channel, limit),
        channel => withModule(() => import("./presence.js"), ({ attend }) => attend(session, channel)), token);
    const ladder = makeLadder(env, session, rungsOf(transport), "rtbridge " + base,
        (rung, port) => rung === "websocket" ? websocket(port, surroundings) : poll(port, surroundings, rung),
        statusChanged, finish);

    /** Makes calls that outlive the page. It cannot be loaded later: then there may be no network. */
    const keeping = offline && (async () => {
        try {
            const [{ keepCalls }, { openVault }] = await Promise.all([import("./offline.js"), import("./vault.js")]);
            return await keepCalls(env, session, await (env.openVault ?? openVault)("rtbridge " + base), emit);
        } catch (error) {
            console.warn("calls are not kept across a reload:", error);
        }
    })();

    const start = async () => {
        if (codec === "msgpack") {
            try {
                surroundings.codec = (await import("./msgpack.js")).msgpack;
            } catch {
                // It can do everything in JSON, too.
            }
        }
        await keeping;
        if (!over) ladder.start();
    };
    queueMicrotask(start);

    /**
     * @param {string} type
     * @param {(event: any) => void} listener
     */
    const listen = (type, listener) => env.addEventListener(type, listener, listening.signal);
    const probe = () => ladder.probe();
    listen("online", probe);
    listen("offline", probe);
    listen("pageshow", event => event.persisted && ladder.restart());
    listen("visibilitychange", () => env.hidden() || probe());

    return {
        subscribe: session.subscribe,
        /**
         * @param {string} name
         * @param {Record<string, unknown>} [params]
         * @param {import("./client.js").CallOptions} [options]
         */
        async call(name, params, { offline: seconds, ...options } = {}) {
            if (!seconds) return session.call(name, params, options);
            if (!keeping) throw new TypeError("a call with `offline` needs connect({ offline: true })");
            const keep = await keeping;
            const timeout = seconds;
            return keep ? keep(name, params, { ...options, offline: seconds }) : session.call(name, params, { ...options, timeout });
        },
        /**
         * @param {string} type
         * @param {(...values: any[]) => void} listener
         */
        on(type, listener) {
            if (!/^(status|kept)$/.test(type)) readLetters();
            return on(type, listener);
        },
        /**
         * Answer what the server asks by this name.
         * @param {string} name
         * @param {(params: any) => unknown} handler
         */
        handle(name, handler) {
            handlers.set(name, handler);
            readLetters();
        },
        /** Who the server says we are. */
        get clientId() { return session.clientId; },
        /** What carries us now, if anything does. */
        get transport() { return ladder.current?.rung; },
        /** As last told by "status". */
        get state() { return status.state; },
        /**
         * Change the transport; nothing is lost.
         * @param {string | string[]} name
         */
        use: name => ladder.use(rungsOf(name)),
        /** End the session. */
        close() {
            if (over) return;
            ladder.current?.send([{ type: "bye" }]);
            finish({ reason: "closed" });
        },
    };
}
