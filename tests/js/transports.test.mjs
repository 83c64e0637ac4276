/** Which transport carries the session, and when that changes. */
import assert from "node:assert/strict";
import { webcrypto } from "node:crypto";
import { test } from "node:test";
import { follow, world } from "./support/world.mjs";

const polls = server => server.requests.filter(({ url }) => url.endsWith("/poll"));

test("the WebSocket is tried first, and alone if it opens", async () => {
    const { server, connect, advance } = world();
    const rt = connect();
    await advance(2000);
    assert.equal(rt.transport, "websocket");
    assert.equal(server.requests.length, 0);
    assert.equal(server.commands[0].type, "hello");
    assert.match(server.commands[0].instance, /^[a-z0-9]{16}$/);
});

test("a WebSocket that does not open within 400 ms gets a poll beside it, and takes over when it does open", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.silent.add("websocket");
    const rt = connect();
    const { seen } = follow(rt, "photos");
    await advance(395);
    assert.equal(polls(server).length, 0);
    await advance(100);
    assert.equal(rt.transport, "longpoll");
    server.publish("photos", 1);
    await advance(100);
    assert.deepEqual(seen, [1]);
    // The socket never answers; it is given up after 10 s, and the next one works.
    server.silent.clear();
    await advance(16000);
    assert.equal(rt.transport, "websocket");
    const before = polls(server).length;
    server.publish("photos", 2);
    await advance(60000);
    assert.deepEqual(seen, [1, 2]);
    assert.equal(polls(server).length, before, "no poll goes on beside the socket");
});

test("nothing is lost in the upgrade, nothing comes twice", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.silent.add("websocket");
    const rt = connect();
    const { seen, happened } = follow(rt, "photos");
    await advance(1000);
    server.silent.clear();
    for (let i = 0; i < 400; i++) {
        server.publish("photos", i);
        await advance(50);
    }
    assert.equal(rt.transport, "websocket");
    assert.deepEqual(seen, Array.from({ length: 400 }, (_, i) => i));
    assert.deepEqual(happened("gap"), []);
});

test("a blocked WebSocket: poll at once, then the event stream, the socket again after a minute", async () => {
    const { server, connect, advance } = world();
    server.blocked.add("websocket");
    const rt = connect();
    await advance(100);
    assert.equal(rt.transport, "longpoll");
    await advance(5500);
    assert.equal(rt.transport, "eventstream");
    assert.equal(server.sockets, 2);
    await advance(30000);
    assert.equal(server.sockets, 2);
    server.blocked.clear();
    await advance(60000);
    assert.equal(rt.transport, "websocket");
});

test("a buffering proxy, in which streams never begin: long poll", async () => {
    const { server, connect, advance } = world();
    server.blocked.add("websocket");
    server.silent.add("eventstream");
    const rt = connect();
    await advance(60000);
    assert.equal(rt.transport, "longpoll");
});

test("long polls that are cut: short poll", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.blocked = new Set(["websocket", "eventstream", "longpoll"]);
    const rt = connect();
    const { seen } = follow(rt, "photos");
    await advance(60000);
    assert.equal(rt.transport, "shortpoll");
    server.publish("photos", 1);
    await advance(6000);
    assert.deepEqual(seen, [1]);
});

test("what worked is remembered by the next page, for a day", async () => {
    const { server, connect, advance, stored } = world();
    server.blocked.add("websocket");
    const first = connect();
    await advance(30000);
    first.close();
    assert.match([...stored.values()][0], /eventstream/);
    const before = server.sockets;
    const second = connect();
    await advance(1000);
    assert.equal(second.transport, "eventstream");
    assert.equal(server.sockets, before);
    server.blocked.clear();
    await advance(100000);
    assert.equal(second.transport, "websocket", "the better one is still tried after a while");
    second.close();
    stored.set([...stored.keys()][0], "longpoll 1");
    const third = connect();
    await advance(1000);
    assert.equal(third.transport, "websocket", "too long ago");
});

test("storage may throw, or hold nonsense; the WebSocket constructor may throw; much may be missing", async () => {
    const { server, connect, advance, stored } = world();
    const throwing = () => { throw new Error("SecurityError"); };
    const paranoid = connect({ environment: { storage: { getItem: throwing, setItem: throwing }, WebSocket: class { constructor() { throwing(); } } } });
    await advance(20000);
    assert.equal(paranoid.transport, "eventstream");
    paranoid.close();
    stored.set("rtbridge http://site.test/rt/", "{");
    const old = connect({ environment: { WebSocket: undefined, streams: false } });
    await advance(20000);
    assert.equal(old.transport, "longpoll");
    assert.equal(server.sockets, 0);
});

test("only what the server offers is tried", async () => {
    const { server, connect, advance } = world();
    server.offers = ["longpoll", "shortpoll"];
    server.blocked.add("websocket");
    const rt = connect();
    await advance(200000);
    assert.equal(rt.transport, "longpoll");
    assert.equal(server.sockets, 1);
    assert.ok(!server.requests.some(({ kind }) => kind === "eventstream"));
});

test("use() switches without losing anything; a call that the socket carried runs once", async () => {
    const { server, connect, advance, clock } = world();
    server.channel("photos");
    server.handlers.set("slow", () => new Promise(resolve => clock.setTimeout(() => resolve("done"), 3000)));
    const rt = connect();
    const { seen } = follow(rt, "photos");
    const statuses = [];
    rt.on("status", ({ state, transport }) => statuses.push(`${state} ${transport}`));
    await advance(1000);
    const slow = rt.call("slow");
    await advance(500);
    let n = 0;
    for (const transport of ["longpoll", "eventstream", "shortpoll", "websocket", ["longpoll", "shortpoll"], "auto"]) {
        rt.use(transport);
        server.publish("photos", n++);
        await advance(20);
        server.publish("photos", n++);
        await advance(6000);
        server.publish("photos", n++);
        await advance(6000);
    }
    assert.deepEqual(seen, Array.from({ length: n }, (_, i) => i));
    assert.deepEqual(statuses, ["online websocket", "online longpoll", "online eventstream", "online shortpoll",
        "online websocket", "online longpoll", "online websocket"]);
    assert.equal(await slow, "done");
    assert.deepEqual([...server.ran.values()], [1]);
});

test("a transport chosen by name is the only one", async () => {
    const { server, connect, advance } = world();
    server.blocked.add("websocket");
    const rt = connect({ transport: "websocket" });
    await advance(30000);
    assert.equal(rt.transport, undefined);
    assert.equal(server.requests.length, 0);
    server.blocked.clear();
    await advance(40000);
    assert.equal(rt.transport, "websocket");
});

test("ten subscriptions make one request, and so do ten more", async () => {
    const { server, connect, advance } = world();
    const rt = connect({ transport: "longpoll" });
    const subscribe = from => {
        for (let i = from; i < from + 10; i++) {
            server.channel("c" + i);
            rt.subscribe("c" + i);
        }
    };
    subscribe(0);
    await advance(1000);
    assert.equal(polls(server).length, 2, "one that is answered, one that is parked");
    subscribe(10);
    await advance(1000);
    assert.equal(polls(server).length, 4);
    const parked = polls(server).at(-1).body;
    assert.equal(parked.wait, 25);
    assert.equal(parked.commands.length, 21);
    assert.ok(parked.commands.slice(1).every(({ id, position }) => id === undefined && position));
});

test("calls go out beside a parked poll", async () => {
    const { server, connect, advance } = world();
    server.handlers.set("add", ({ a, b }) => a + b);
    const rt = connect({ transport: "longpoll" });
    await advance(1000);
    const before = polls(server).length;
    const sums = Promise.all([rt.call("add", { a: 1, b: 1 }), rt.call("add", { a: 2, b: 2 })]);
    await advance(1000);
    assert.deepEqual(await sums, [2, 4]);
    assert.equal(polls(server).length, before + 1, "one request carries both");
});

test("short polls keep the server's interval, hidden pages a longer one", async () => {
    const { server, connect, advance, page } = world();
    const rt = connect({ transport: "shortpoll" });
    server.interval = 7;
    await advance(70000);
    assert.ok(Math.abs(polls(server).length - 10) <= 1, polls(server).length);
    page.hidden = true;
    await advance(7000);
    const before = polls(server).length;
    await advance(56000);
    assert.equal(polls(server).length - before, 2);
    assert.equal(rt.transport, "shortpoll");
});

test("a server without room to park names the interval", async () => {
    const { server, connect, advance } = world();
    server.room = false;
    server.interval = 10;
    connect({ transport: "longpoll" });
    await advance(60000);
    assert.ok(polls(server).length <= 8, polls(server).length);
});

test("a server that answers empty long polls at once is not asked without a pause", async () => {
    const { server, connect, advance } = world();
    server.wait = 0;
    connect({ transport: "longpoll" });
    await advance(60000);
    assert.ok(polls(server).length <= 14, polls(server).length);
});

test("an answer with more asks for the rest at once", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.page = 2;
    const rt = connect({ transport: "shortpoll" });
    const { seen } = follow(rt, "photos");
    await advance(1000);
    for (let i = 0; i < 9; i++) server.publish("photos", i);
    await advance(5500);
    assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

test("msgpack over a socket and over polls, with bytes both ways", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    server.handlers.set("size", ({ photo }) => photo.length);
    for (const transport of ["websocket", "longpoll"]) {
        const rt = connect({ codec: "msgpack", transport });
        await new Promise(resolve => setTimeout(resolve, 50)); // the module is loaded in real time
        const { seen } = follow(rt, "photos");
        await advance(1000);
        assert.equal(rt.transport, transport);
        const size = rt.call("size", { photo: new Uint8Array(300) });
        server.publish("photos", { thumb: new Uint8Array([1, 2, 3]) });
        await advance(1000);
        assert.equal(await size, 300);
        assert.deepEqual(seen, [{ thumb: new Uint8Array([1, 2, 3]) }]);
        rt.close();
        await advance(100);
    }
});

test("at load nothing of the browser is needed", async () => {
    globalThis.crypto ??= webcrypto; // node 18 has it only in a module
    const { connect } = await import("../../src/rtbridge/js/client.js");
    const rt = connect({ url: "http://127.0.0.1:9/rt/", environment: { WebSocket: undefined, streams: false, fetch: () => Promise.reject(new TypeError()) } });
    const states = [];
    rt.on("status", ({ state }) => states.push(state));
    await new Promise(resolve => setTimeout(resolve, 10));
    rt.close();
    assert.deepEqual(states, ["ended"]);
});
