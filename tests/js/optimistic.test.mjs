/** Optimistic calls: shown at once, then replaced by what they published, or taken back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { world } from "./support/world.mjs";

const TRANSPORTS = ["websocket", "eventstream", "longpoll", "shortpoll"];

/** A list as a page would keep it: rows by the call that caused them, or by offset. */
function list(rt, name, options) {
    const rows = new Map();
    const log = [];
    const feed = rt.subscribe(name, (text, { cause, offset, replaces }) => {
        log.push(replaces ? `replaced ${text}` : `shown ${text}`);
        rows.set(cause ?? offset, text);
    }, options);
    feed.on("provisional", (text, { cause, channel }) => {
        assert.equal(channel, name);
        log.push(`provisional ${text}`);
        rows.set(cause, text + "…");
    });
    feed.on("rollback", (text, { cause, error }) => {
        log.push(`back ${text}: ${error?.message}`);
        rows.delete(cause);
    });
    return { feed, log, rows: () => [...rows.values()] };
}

for (const transport of TRANSPORTS) {
    test(`${transport}: shown at once, replaced by its publication`, async () => {
        const { server, connect, advance } = world();
        server.channel("comments");
        server.handlers.set("comment", ({ text }, call_id) => server.publish("comments", text, call_id));
        const rt = connect({ transport });
        const { feed, log, rows } = list(rt, "comments");
        await advance(6000);
        const done = rt.call("comment", { text: "wow" }, { optimistic: [feed, "wow"] });
        await Promise.resolve();
        assert.deepEqual(rows(), ["wow…"]);
        server.publish("comments", "somebody else's");
        await advance(20000);
        await done;
        assert.deepEqual(rows(), ["wow", "somebody else's"]);
        assert.equal(log.filter(line => line === "replaced wow").length, 1);
        assert.ok(!log.some(line => line.startsWith("back")));
    });

    test(`${transport}: taken back with the reason`, async () => {
        const { server, connect, advance } = world();
        server.channel("comments");
        server.handlers.set("comment", () => { throw { code: 111, message: "no comments at night" }; });
        const rt = connect({ transport });
        const { feed, log, rows } = list(rt, "comments");
        const done = rt.call("comment", { text: "wow" }, { optimistic: [feed, "wow"] });
        done.catch(() => {});
        await advance(20000);
        await assert.rejects(done, { code: 111 });
        assert.deepEqual(log, ["provisional wow", "back wow: no comments at night"]);
        assert.deepEqual(rows(), []);
    });
}

test("a call that publishes nothing there shows nothing in the end", async () => {
    const { server, connect, advance } = world();
    server.channel("comments");
    server.handlers.set("comment", () => "thanks");
    const rt = connect();
    const { feed, log } = list(rt, "comments");
    const done = rt.call("comment", {}, { optimistic: [feed, "wow"] });
    await advance(1000);
    assert.equal(await done, "thanks");
    assert.deepEqual(log, ["provisional wow", "back wow: undefined"]);
});

test("a publication that was skipped takes it along", async () => {
    const { server, connect, advance } = world();
    server.channel("price", { keep: "latest" });
    server.handlers.set("bid", ({ amount }, call_id) => server.publish("price", amount, call_id));
    const rt = connect({ transport: "shortpoll" });
    const { feed, log, rows } = list(rt, "price");
    await advance(6000);
    rt.call("bid", { amount: 5 }, { optimistic: [feed, 5] });
    await advance(100);
    server.publish("price", 6);
    await advance(20000);
    assert.deepEqual(log, ["provisional 5", "shown 6", "back 5: undefined"]);
    assert.deepEqual(rows(), [6]);
});

test("what a snapshot holds is not shown twice, and what waits is shown again", async () => {
    const { server, connect, advance } = world();
    server.channel("comments", { snapshot: () => server.channels.get("comments").log.map(({ data }) => data) });
    let release;
    server.handlers.set("comment", ({ text }, call_id) => server.publish("comments", text, call_id));
    server.handlers.set("slow", () => new Promise(resolve => { release = resolve; }));
    const rt = connect({ transport: "websocket" });
    const { feed, log } = list(rt, "comments");
    feed.on("snapshot", state => log.push(`snapshot ${state}`));
    rt.call("comment", { text: "wow" }, { optimistic: [feed, "wow"] });
    rt.call("slow", {}, { optimistic: [feed, "later"] }).catch(() => {});
    await advance(1000);
    release();
    await advance(1000);
    assert.deepEqual(log, ["provisional wow", "provisional later", "snapshot ", "provisional wow", "provisional later", "replaced wow", "back later: undefined"]);
});

test("a gap goes past it", async () => {
    const { server, connect, advance } = world();
    server.channel("comments", { size: 2 });
    server.handlers.set("comment", ({ text }, call_id) => server.publish("comments", text, call_id));
    const rt = connect({ transport: "shortpoll" });
    const { feed, log } = list(rt, "comments");
    await advance(6000);
    rt.call("comment", { text: "wow" }, { optimistic: [feed, "wow"] });
    await advance(50);
    for (let i = 0; i < 3; i++) server.publish("comments", i);
    await advance(20000);
    assert.deepEqual(log, ["provisional wow", "back wow: undefined"]);
});

test("a later listener is told what waits; one that aborts takes it back", async () => {
    const { server, connect, advance } = world();
    server.channel("comments");
    server.handlers.set("comment", () => new Promise(() => {}));
    const rt = connect();
    const { feed, log } = list(rt, "comments");
    const abort = new AbortController();
    const done = rt.call("comment", {}, { optimistic: [feed, "wow"], signal: abort.signal });
    done.catch(() => {});
    await advance(1000);
    const late = list(rt, "comments");
    await advance(1000);
    assert.deepEqual(late.log, ["provisional wow"]);
    abort.abort(new Error("changed my mind"));
    await assert.rejects(done, /changed my mind/);
    assert.equal(log.at(-1), "back wow: comment: aborted");
});

test("a call without a feed that listens is a call", async () => {
    const { server, connect, advance } = world();
    server.channel("comments");
    server.handlers.set("comment", ({ text }, call_id) => server.publish("comments", text, call_id));
    const rt = connect();
    const done = rt.call("comment", { text: "wow" }, { optimistic: [{ channel: "nowhere" }, "wow"] });
    await advance(1000);
    assert.match(await done, /\.1$/);
    rt.close();
});
