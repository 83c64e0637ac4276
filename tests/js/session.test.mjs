/** Subscriptions and calls, as an app author meets them. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CallError } from "../../src/rtbridge/js/client.js";
import { follow, world } from "./support/world.mjs";

const outcome = promise => promise.then(value => ({ value }), error => ({ error }));

test("feeds of one channel share one subscription; the last one ends it", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const rt = connect();
    const one = follow(rt, "photos");
    await advance(1000);
    const two = follow(rt, "photos");
    await advance(1000);
    server.publish("photos", 1);
    await advance(100);
    one.feed.unsubscribe();
    one.feed.unsubscribe();
    await advance(100);
    server.publish("photos", 2);
    await advance(100);
    assert.deepEqual(one.seen, [1]);
    assert.deepEqual(two.seen, [1, 2]);
    assert.equal(two.happened("subscribed").length, 1);
    assert.equal(server.commands.filter(({ type }) => type === "subscribe").length, 1);
    two.feed.unsubscribe();
    await advance(100);
    assert.deepEqual(server.commands.at(-1), { type: "unsubscribe", channel: "photos", over: "websocket" });
    rt.subscribe("photos");
    await advance(100);
    assert.equal(server.commands.filter(({ type }) => type === "subscribe").length, 2);
});

test("unsubscribed and subscribed again within one turn: a new subscription", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const from = server.publish("photos", 1);
    const rt = connect();
    const one = follow(rt, "photos");
    await advance(1000);
    server.publish("photos", 2);
    one.feed.unsubscribe();
    const two = follow(rt, "photos", { position: from });
    await advance(1000);
    assert.deepEqual(one.seen, []);
    assert.deepEqual(two.seen, [2]);
});

test("from a position, with recent ones, from now on", async () => {
    const { server, connect, advance } = world();
    for (const name of ["a", "b", "c"]) {
        server.channel(name);
        for (let i = 1; i <= 5; i++) server.publish(name, i);
    }
    const rt = connect();
    const epoch = server.channels.get("a").epoch;
    const [a, b, c] = [follow(rt, "a", { position: `${epoch}.2` }), follow(rt, "b", { recent: 2 }), follow(rt, "c")];
    await advance(1000);
    assert.deepEqual(a.seen, [3, 4, 5]);
    assert.deepEqual(b.seen, [4, 5]);
    assert.deepEqual(c.seen, []);
});

test("a later feed that asks for another position is told of a gap", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const from = server.publish("photos", 1);
    server.publish("photos", 2);
    const rt = connect();
    follow(rt, "photos");
    await advance(1000);
    const behind = follow(rt, "photos", { position: from });
    const level = follow(rt, "photos", { position: server.position("photos") });
    await advance(100);
    assert.deepEqual(behind.happened("gap"), [{ channel: "photos", position: server.position("photos") }]);
    assert.deepEqual(level.happened("gap"), []);
});

test("a gap is told, with the position to go on from", async () => {
    const { server, connect, advance } = world();
    server.channel("photos", { size: 3 });
    for (let i = 1; i <= 9; i++) server.publish("photos", i);
    const rt = connect();
    const { seen, happened, feed } = follow(rt, "photos", { position: server.position("photos").replace(/9$/, "2") });
    await advance(1000);
    assert.deepEqual(happened("gap"), [{ channel: "photos", position: server.position("photos") }]);
    assert.equal(feed.position, server.position("photos"));
    server.publish("photos", 10);
    await advance(100);
    assert.deepEqual(seen, [10]);
});

test("latest: what was skipped is no loss", async () => {
    const { server, connect, advance } = world();
    server.channel("ticker", { keep: "latest" });
    const rt = connect({ transport: "shortpoll" });
    const { seen, happened } = follow(rt, "ticker");
    await advance(1000);
    for (let i = 1; i <= 9; i++) server.publish("ticker", i);
    await advance(6000);
    assert.deepEqual(seen, [9]);
    assert.deepEqual(happened("gap"), []);
});

test("a hole on a socket is mended by subscribing again", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const rt = connect({ transport: "websocket" });
    const { seen, happened } = follow(rt, "photos");
    await advance(1000);
    let lost = 0;
    server.faults = what => what === "push" && !lost++ ? "drop" : undefined;
    for (let i = 1; i <= 3; i++) server.publish("photos", i);
    await advance(1000);
    assert.deepEqual(seen, [1, 2, 3]);
    assert.deepEqual(happened("gap"), []);
});

test("a channel that is not there: error, then end", async () => {
    for (const transport of ["websocket", "longpoll"]) {
        const { server, connect, advance } = world();
        const rt = connect({ transport });
        const { events } = follow(rt, "secrets");
        await advance(60000);
        assert.deepEqual(events.map(([type, { code, reason }]) => [type, code, reason]), [["error", 104, "no_such_channel"], ["end", 104, "no_such_channel"]]);
        assert.equal(server.commands.filter(({ type }) => type === "subscribe").length, 1);
    }
});

test("a subscription that the server ends", async () => {
    for (const transport of ["websocket", "longpoll", "eventstream"]) {
        const { server, connect, advance } = world();
        server.channel("photos");
        const rt = connect({ transport });
        const { events } = follow(rt, "photos");
        await advance(1000);
        for (const connection of [...server.connections]) {
            connection.cursors.delete("photos");
            connection.write({ type: "unsubscribed", channel: "photos", code: 104, reason: "no_such_channel", message: "" });
        }
        server.channels.delete("photos");
        await advance(5000);
        assert.deepEqual(events.map(([type]) => type), ["subscribed", "error", "end"]);
    }
});

test("a subscription that fails for now is asked for again, after retry_after", async () => {
    for (const transport of ["websocket", "longpoll"]) {
        const { server, connect, advance } = world();
        server.channel("photos");
        let refusals = 0;
        server.refuse = ({ type, id }) => type === "subscribe" && id && refusals++ < 2 ? { code: 200, retry_after: 3 } : undefined;
        const rt = connect({ transport });
        const { seen, happened } = follow(rt, "photos", { recent: 1 });
        server.publish("photos", 1);
        await advance(2000);
        assert.equal(refusals, 1);
        await advance(5000);
        assert.deepEqual(seen, [1]);
        assert.equal(happened("error").length, 2);
        assert.equal(happened("error")[0].retryAfter, 3);
    }
});

test("publications carry their cause", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.handlers.set("add", (_, callId) => server.publish("photos", 1, callId));
    const rt = connect();
    const causes = [];
    rt.subscribe("photos", (data, { cause }) => causes.push(cause));
    rt.call("add");
    await advance(1000);
    assert.deepEqual(causes, [...server.ran.keys()]);
});

test("a refused call rejects with everything that was said", async () => {
    for (const transport of ["websocket", "longpoll"]) {
        const { server, connect, advance } = world();
        server.handlers.set("comment", () => {
            throw { code: 106, reason: "invalid", message: "text: too long", fields: [{ field: "text", reason: "too long" }], retry_after: 2, data: { max: 5 } };
        });
        const rt = connect({ transport });
        const result = outcome(rt.call("comment", { text: "wow" }));
        await advance(1000);
        const { error } = await result;
        assert.ok(error instanceof CallError && error instanceof Error);
        const { name, code, reason, message, fields, retryAfter, data } = error;
        assert.deepEqual({ name, code, reason, message, fields, retryAfter, data }, {
            name: "CallError", code: 106, reason: "invalid", message: "text: too long", retryAfter: 2, data: { max: 5 },
            fields: [{ field: "text", reason: "too long" }],
        });
        const missing = outcome(rt.call("nothing"));
        await advance(1000);
        assert.deepEqual((await missing).error.fields, []);
    }
});

test("a call made offline is kept, and sent once when back", async () => {
    const { server, connect, advance } = world();
    server.handlers.set("add", ({ n }) => n);
    server.down = true;
    const rt = connect();
    await advance(5000);
    const calls = [1, 2, 3].map(n => rt.call("add", { n }));
    await advance(5000);
    server.down = false;
    await advance(20000);
    assert.deepEqual(await Promise.all(calls), [1, 2, 3]);
    assert.deepEqual([...server.ran.values()], [1, 1, 1]);
    assert.deepEqual(server.commands.filter(({ type }) => type === "call").map(({ params }) => params.n), [1, 2, 3]);
});

test("a call expires clearly: not sent, or nobody knows", async () => {
    const { server, connect, advance } = world();
    server.handlers.set("never", () => new Promise(() => {}));
    server.down = true;
    const rt = connect();
    const unsent = outcome(rt.call("never"));
    await advance(30000);
    const { error } = await unsent;
    assert.deepEqual([error.code, error.reason], [200, "unavailable"]);
    assert.match(error.message, /never: no answer within 30 s; it was not sent/);
    server.down = false;
    await advance(40000);
    assert.equal(server.ran.size, 0, "it is not sent any more");
    const sent = outcome(rt.call("never", {}, { timeout: 4 }));
    await advance(4000);
    assert.deepEqual([(await sent).error.code, (await sent).error.reason], [300, "outcome_unknown"]);
});

test("a call can be aborted", async () => {
    const { server, connect, advance } = world();
    server.handlers.set("never", () => new Promise(() => {}));
    const rt = connect();
    await advance(1000);
    const controller = new AbortController();
    const call = outcome(rt.call("never", {}, { signal: controller.signal }));
    await advance(1000);
    controller.abort();
    assert.equal((await call).error.name, "AbortError");
    assert.equal((await outcome(rt.call("never", {}, { signal: controller.signal }))).error.name, "AbortError");
    await advance(60000);
    assert.equal(server.ran.size, 1);
});

test("a lost reply: the same call_id again, over whatever works then", async () => {
    for (const [first, then] of [["websocket", "longpoll"], ["longpoll", "websocket"], ["eventstream", "eventstream"]]) {
        const { server, connect, advance } = world();
        server.handlers.set("add", ({ a }) => a + 1);
        const rt = connect({ transport: first });
        await advance(1000);
        const call = rt.call("add", { a: 1 });
        server.faults = (what, kind) => what === "answer" || kind === "websocket" && server.ran.size ? "drop" : undefined;
        await advance(200);
        server.faults = () => undefined;
        rt.use(then);
        await advance(20000);
        assert.equal(await call, 2);
        assert.deepEqual([...server.ran.values()], [1]);
        assert.ok(server.commands.filter(({ type }) => type === "call").length > 1);
    }
});

test("a call whose session is over is not sent into another one", async () => {
    const { server, connect, advance } = world();
    server.handlers.set("never", () => new Promise(() => {}));
    const rt = connect();
    await advance(6000);
    const call = outcome(rt.call("never"));
    await advance(100);
    server.dropConnections(4100);
    await advance(5000);
    assert.equal(rt.clientId, "c2");
    assert.equal((await call).error.code, 300);
    assert.deepEqual([...server.ran.values()], [1]);
});

test("a call too large for a request rejects, and disturbs nobody", async () => {
    const { server, connect, advance } = world();
    const rt = connect({ transport: "longpoll" });
    await advance(1000);
    server.fail = ({ body }) => body?.commands.some(({ type }) => type === "call") && { status: 413, body: { error: { code: 108, reason: "too_large", message: "too large" } } };
    const call = outcome(rt.call("upload", { photo: new Uint8Array(10) }));
    await advance(5000);
    assert.equal((await call).error.reason, "too_large");
    assert.equal(rt.transport, "longpoll");
});

test("close() ends everything", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.handlers.set("never", () => new Promise(() => {}));
    const rt = connect();
    const { happened } = follow(rt, "photos");
    await advance(1000);
    const sent = outcome(rt.call("never"));
    await advance(100);
    const unsent = outcome(rt.call("never"));
    rt.close();
    rt.close();
    assert.equal((await sent).error.code, 300);
    assert.equal((await unsent).error.code, 200);
    assert.equal((await outcome(rt.call("never"))).error.code, 200);
    assert.deepEqual(happened("end"), [{ channel: "photos", reason: "closed" }]);
    assert.equal(rt.subscribe("photos").position, undefined);
    rt.use("longpoll");
    await advance(60000);
    assert.equal(server.byes, 1);
    assert.equal(server.sockets, 1);
    assert.equal(server.requests.length, 0);
});

test("a listener that throws is reported, and disturbs nobody", async t => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const reported = [];
    const rt = connect();
    t.mock.method(globalThis, "queueMicrotask", callback => {
        Promise.resolve().then(callback).catch(error => reported.push(error.message));
    });
    rt.subscribe("photos", () => { throw new Error("mine"); });
    const { seen } = follow(rt, "photos");
    await advance(1000);
    server.publish("photos", 1);
    server.publish("photos", 2);
    await advance(100);
    assert.deepEqual(seen, [1, 2]);
    assert.deepEqual(reported, ["mine", "mine"]);
});

test("on() returns what stops it", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const rt = connect();
    const seen = [];
    const feed = rt.subscribe("photos");
    const off = feed.on("publication", data => seen.push(data));
    await advance(1000);
    server.publish("photos", 1);
    await advance(100);
    off();
    server.publish("photos", 2);
    await advance(100);
    assert.deepEqual(seen, [1]);
});
