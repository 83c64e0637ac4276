/**
 * Chaos with a model: two channels are published to while requests, answers and sockets are lost and delayed, transports
 * are blocked and switched, and logs are cut short and forgotten. Whatever happens, each listener must have seen a run of
 * the log in order and once, with a gap announced wherever something is missing, and must be up to date in the end. What
 * was shown before it was true must have been replaced or taken back, once.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { seeded, world } from "./support/world.mjs";

const TRANSPORTS = ["auto", "websocket", "eventstream", "longpoll", "shortpoll", ["websocket", "longpoll"], ["eventstream", "shortpoll"]];
const CHANNELS = ["a", "b"];

/** Follow a channel and check, at every step, what the promise says. What is wrong is written down: listeners must not throw. */
function watch(rt, server, name, log) {
    const state = { seen: 0, gaps: 0, at: server.position(name), wrong: [], open: new Set(), replaced: 0 };
    const must = (condition, text) => { if (!condition) state.wrong.push(`${name}: ${text} (at ${state.at})`); };
    state.feed = rt.subscribe(name, ({ position }, { offset, channel, cause, replaces = false }) => {
        must(state.open.delete(cause) === replaces, `${cause} replaces what is not shown, or does not`);
        state.replaced += +replaces;
        must(channel === name && position.endsWith("." + offset), "meta of " + position);
        must(state.feed.position === position, `feed.position ${state.feed.position} while ${position} is delivered`);
        must(log.indexOf(position) === log.indexOf(state.at) + 1, `${position} is not the next`);
        state.seen++;
        state.at = position;
    }, { position: state.at });
    state.feed.on("gap", ({ position }) => {
        must(log.indexOf(position) > log.indexOf(state.at), `a gap to ${position}, where nothing is missing`);
        state.gaps++;
        state.at = position;
    });
    state.feed.on("provisional", (_, { cause }) => {
        must(!state.open.has(cause), cause + " is shown twice");
        state.open.add(cause);
    });
    state.feed.on("rollback", (_, { cause }) => must(state.open.delete(cause), cause + " is taken back, and is not shown"));
    state.feed.on("end", problem => must(state.closing, "ended: " + JSON.stringify(problem)));
    return state;
}

async function chaos(seed) {
    const random = seeded(seed);
    const pick = list => list[Math.floor(random() * list.length)];
    const { server, clock, advance, connect, fire, page } = world(seed);
    const logs = {};
    for (const name of CHANNELS) {
        server.channel(name, { size: 30 });
        logs[name] = [server.position(name)];
    }
    server.page = 4;
    let badness = 0;
    server.faults = () => {
        if (random() < badness) return pick(["drop", 50, 700, 3000]);
    };
    const publish = (name, cause) => {
        const { epoch, offset } = server.channels.get(name);
        const position = `${epoch}.${offset + 1}`;
        logs[name].push(position);
        server.publish(name, { position }, cause);
    };
    const effects = new Map();
    server.handlers.set("count", ({ n }) => {
        effects.set(n, (effects.get(n) ?? 0) + 1);
        return new Promise(resolve => clock.setTimeout(() => resolve(n), pick([0, 100, 3000])));
    });
    server.handlers.set("post", ({ name }, call_id) => {
        if (random() < 0.2) throw { code: 111, message: "no" };
        if (random() < 0.8) publish(name, call_id);
        return new Promise(resolve => clock.setTimeout(resolve, pick([0, 100, 3000])));
    });
    const rt = connect({ transport: pick(TRANSPORTS) });
    const states = CHANNELS.map(name => watch(rt, server, name, logs[name]));
    const calls = [];

    for (let step = 0; step < 60; step++) {
        const what = random();
        if (what < 0.4) {
            const name = pick(CHANNELS);
            for (let i = Math.floor(random() * 6); i >= 0; i--) publish(name);
        } else if (what < 0.55) rt.use(pick(TRANSPORTS));
        else if (what < 0.65) badness = pick([0, 0, 0.1, 0.4]);
        else if (what < 0.7) server.dropConnections(pick([1006, 1001, 4000, 4001, 4004, 4100, 4200, 1009]));
        else if (what < 0.74) server.blocked = new Set(random() < 0.5 ? [] : [pick(TRANSPORTS.slice(1, 5))]);
        else if (what < 0.77) server.down = !server.down;
        else if (what < 0.79) server.silent = new Set(random() < 0.5 ? [] : [pick(["websocket", "eventstream", "longpoll"])]);
        else if (what < 0.81) {
            const name = pick(CHANNELS);
            server.forget(name);
            logs[name].push(server.position(name));
        } else if (what < 0.83) server.room = !server.room;
        else if (what < 0.86) fire(pick(["online", "offline", "visibilitychange"]));
        else if (what < 0.88) fire("pageshow", { persisted: true });
        else if (what < 0.9) clock.sleep(40000);
        else if (what < 0.92) page.hidden = !page.hidden;
        else if (what < 0.96) {
            const at = Math.floor(random() * CHANNELS.length);
            rt.call("post", { name: CHANNELS[at] }, { optimistic: [states[at].feed, {}] }).catch(() => {});
        } else {
            const n = calls.length;
            calls.push(rt.call("count", { n }).then(value => assert.equal(value, n) ?? "done", error => error.code));
        }
        await advance(pick([0, 5, 30, 200, 1000, 7000]));
    }

    // The world is well again, and with the next publication everybody catches up.
    Object.assign(server, { down: false, room: true });
    badness = 0;
    await advance(10);
    for (const name of CHANNELS) publish(name);
    server.blocked.clear();
    server.silent.clear();
    page.hidden = false;
    rt.use("auto");
    await advance(200000);
    for (const [i, name] of CHANNELS.entries()) {
        assert.deepEqual(states[i].wrong, []);
        assert.equal(states[i].at, server.position(name), "up to date");
        assert.equal(states[i].open.size, 0, "nothing stays provisional");
        states[i].closing = true;
        assert.equal(states[i].feed.position, server.position(name));
    }
    assert.equal(rt.transport, "websocket");
    const outcomes = await Promise.all(calls);
    for (const [n, outcome] of outcomes.entries()) {
        const times = effects.get(n) ?? 0;
        assert.ok(times <= 1, `call ${n} was carried out ${times} times`);
        if (outcome === "done") assert.equal(times, 1);
        else if (outcome === 200) assert.equal(times, 0, "was said not to have been sent");
        else assert.equal(outcome, 300);
    }
    rt.close();
    await advance(1000);
    return { replaced: states.reduce((sum, { replaced }) => sum + replaced, 0), gaps: states.reduce((sum, { gaps }) => sum + gaps, 0), seen: states.reduce((sum, { seen }) => sum + seen, 0), outcomes };
}

const SEEDS = +(process.env.SEEDS ?? 150);
const FIRST = +(process.env.SEED ?? 1);

test(`${SEEDS} stormy lives`, async () => {
    let seen = 0;
    let gaps = 0;
    let replaced = 0;
    const outcomes = [];
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
        try {
            const life = await chaos(seed);
            seen += life.seen;
            gaps += life.gaps;
            replaced += life.replaced;
            outcomes.push(...life.outcomes);
        } catch (error) {
            error.message = `seed ${seed}: ${error.message}`;
            throw error;
        }
    }
    if (SEEDS < 100) return;
    // The storm must have been one.
    assert.ok(seen > SEEDS * 40, `only ${seen} publications were seen`);
    assert.ok(gaps > SEEDS / 10, `only ${gaps} gaps`);
    assert.ok(replaced > SEEDS / 2, `only ${replaced} optimistic calls were replaced`);
    assert.ok(outcomes.filter(outcome => outcome === "done").length > outcomes.length / 2, "calls get through");
});
