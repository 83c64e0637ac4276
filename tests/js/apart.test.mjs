/** Channels with a `limit` are followed apart, by GET. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { follow, world } from "./support/world.mjs";

const gets = server => server.requests.filter(({ method }) => method === "GET");

test("shortpoll: every so many seconds, without a token where public", async () => {
    const { server, connect, advance, page } = world();
    server.channel("latest", { keep: "latest", public: true, limit: { transport: "shortpoll", every: 5, public: true } });
    server.channel("photos");
    const rt = connect();
    const { feed, seen, happened } = follow(rt, "latest", { recent: 1 });
    const photos = follow(rt, "photos");
    await advance(1000);
    assert.equal(rt.transport, "websocket");
    const from = server.position("latest");
    server.publish("latest", 1);
    server.publish("photos", 1);
    await advance(100);
    assert.deepEqual([seen, photos.seen], [[], [1]]);
    await advance(30000);
    assert.deepEqual(seen, [1]);
    assert.ok(Math.abs(gets(server).length - 6) <= 1);
    assert.equal(gets(server)[0].url, "http://site.test/rt/channels/latest?after=" + from);
    assert.ok(gets(server).every(({ headers }) => !("Rtbridge-Token" in headers)));
    assert.deepEqual(happened("gap"), []);
    page.hidden = true;
    await advance(5000);
    const before = gets(server).length;
    await advance(40000);
    assert.equal(gets(server).length - before, 2);
    feed.unsubscribe();
    await advance(1000);
    const last = gets(server).length;
    await advance(60000);
    assert.equal(gets(server).length, last);
});

test("longpoll: parked, with the token", async () => {
    const { server, connect, advance } = world();
    server.channel("slow", { limit: { transport: "longpoll", public: false } });
    const rt = connect({ transport: "eventstream" });
    const { seen } = follow(rt, "slow");
    await advance(1000);
    for (let i = 1; i <= 3; i++) {
        server.publish("slow", i);
        await advance(100);
    }
    assert.deepEqual(seen, [1, 2, 3]);
    assert.match(gets(server)[0].url, /\?after=.*&wait=25$/);
    assert.match(gets(server)[0].headers["Rtbridge-Token"], /^token-c1/);
    const before = gets(server).length;
    await advance(100000);
    assert.ok(gets(server).length - before <= 5);
});

test("on a transport that may carry it, it is followed like any other, and back", async () => {
    const { server, connect, advance } = world();
    server.channel("slow", { limit: { transport: "longpoll", public: true } });
    const rt = connect();
    const { seen, happened } = follow(rt, "slow");
    await advance(1000);
    server.publish("slow", 1);
    await advance(1000);
    rt.use("longpoll");
    await advance(1000);
    const before = gets(server).length;
    server.publish("slow", 2);
    await advance(60000);
    assert.equal(gets(server).length, before);
    rt.use("websocket");
    await advance(1000);
    server.publish("slow", 3);
    await advance(1000);
    assert.deepEqual(seen, [1, 2, 3]);
    assert.deepEqual(happened("gap"), []);
});

test("a gap, a failure, a refusal", async () => {
    const { server, connect, advance } = world();
    server.ping = 1000;
    server.channel("latest", { size: 2, limit: { transport: "shortpoll", every: 5, public: true } });
    const rt = connect();
    const { seen, happened, events } = follow(rt, "latest");
    await advance(1000);
    for (let i = 1; i <= 5; i++) server.publish("latest", i);
    await advance(5000);
    assert.equal(happened("gap").length, 1);
    server.blocked.add("get");
    server.publish("latest", 6);
    await advance(20000);
    assert.deepEqual(seen, []);
    server.blocked.clear();
    await advance(10000);
    assert.deepEqual(seen, [6]);
    server.fail = ({ method }) => method === "GET" && { status: 503, body: { error: { code: 200, retry_after: 30 } } };
    await advance(6000);
    const before = gets(server).length;
    await advance(23000);
    assert.equal(gets(server).length, before);
    server.fail = () => undefined;
    server.channels.delete("latest");
    await advance(10000);
    assert.deepEqual(events.slice(-2).map(([type, { code }]) => [type, code]), [["error", 104], ["end", 104]]);
});

test("an answer cut for size is asked on at once", async () => {
    const { server, connect, advance } = world();
    server.channel("latest", { limit: { transport: "shortpoll", every: 5, public: true } });
    server.page = 2;
    const rt = connect();
    const { seen } = follow(rt, "latest");
    await advance(1000);
    for (let i = 1; i <= 7; i++) server.publish("latest", i);
    await advance(5000);
    assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7]);
});
