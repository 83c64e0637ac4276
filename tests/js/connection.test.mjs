/** Losing the connection, and coming back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { follow, world } from "./support/world.mjs";

const statusOf = rt => {
    const states = [];
    rt.on("status", ({ state }) => states.push(state));
    return states;
};

test("a hiccup flashes nothing; a real loss is told after a moment", async () => {
    const { server, connect, advance } = world();
    const rt = connect();
    const states = statusOf(rt);
    await advance(10000);
    server.dropConnections(1001);
    await advance(10000);
    assert.deepEqual(states, ["online"]);
    server.down = true;
    server.dropConnections(1001);
    await advance(1000);
    assert.deepEqual(states, ["online"]);
    await advance(1000);
    assert.deepEqual(states, ["online", "connecting"]);
    await advance(60000);
    assert.deepEqual(states, ["online", "connecting", "offline"]);
    server.down = false;
    await advance(31000);
    assert.deepEqual(states, ["online", "connecting", "offline", "online"]);
});

test("backoff grows to 30 s, and begins anew after a connection that lasted", async () => {
    const { server, connect, advance } = world();
    const rt = connect({ transport: "websocket" });
    await advance(10000);
    server.down = true;
    server.dropConnections();
    await advance(600000);
    const attempts = server.sockets - 1;
    assert.ok(attempts > 20 && attempts < 90, attempts);
    server.down = false;
    await advance(31000);
    assert.equal(rt.transport, "websocket");
    await advance(10000);
    server.dropConnections();
    await advance(600);
    assert.equal(rt.transport, "websocket");
});

test("a server that drops us after each hello is not stormed", async () => {
    const { server, connect, advance } = world();
    connect({ transport: "websocket" });
    for (let i = 0; i < 600; i++) {
        await advance(100);
        server.dropConnections();
    }
    assert.ok(server.sockets < 15, server.sockets);
});

test("a session is resumed with its token", async () => {
    const { server, connect, advance } = world();
    const rt = connect();
    await advance(6000);
    server.dropConnections(4000);
    await advance(1000);
    assert.equal(rt.clientId, "c1");
    const hellos = server.commands.filter(({ type }) => type === "hello");
    assert.equal(hellos[0].token, undefined);
    assert.match(hellos[1].token, /^token-c1-/);
    assert.equal(hellos[0].instance, hellos[1].instance);
});

test("a pushed token is the one sent from then on", async () => {
    const { server, connect, advance } = world();
    connect({ transport: "eventstream" });
    await advance(6000);
    for (const connection of server.connections) connection.write({ type: "token", token: "token-c1-new", expires_in: 300 });
    await advance(100);
    server.dropConnections(4000);
    await advance(1000);
    assert.equal(server.commands.at(-1).token, "token-c1-new");
});

test("4100 to 4199: forget the token", async () => {
    const { server, connect, advance } = world();
    const rt = connect();
    await advance(6000);
    server.dropConnections(4150);
    await advance(1000);
    assert.equal(server.commands.at(-1).token, undefined);
    assert.equal(rt.clientId, "c2");
});

test("the site's tokens: the one in the page; or fetched first, and again when the server wants another", async () => {
    const { server, connect, advance } = world();
    connect({ token: "from the page" });
    await advance(1000);
    assert.equal(server.commands.at(-1).token, "from the page");

    const second = world();
    const asked = [];
    let fails = 1;
    const rt = second.connect({
        token: async previous => {
            asked.push(previous);
            if (fails-- > 0) throw new Error("the site is away");
            await new Promise(resolve => second.environment.setTimeout(resolve, 300));
            return `t${asked.length}`;
        },
    });
    await second.advance(5000);
    assert.deepEqual(asked, [undefined, undefined]);
    assert.equal(second.server.commands[0].token, "t2");
    assert.equal(rt.state, "online");
    await second.advance(6000);
    const held = asked.length;
    second.server.dropConnections(4100);
    await second.advance(3000);
    assert.equal(asked.length, held + 1);
    assert.ok(asked.at(-1), "the site is shown whose session is to go on");
    assert.equal(second.server.commands.at(-1).token, "t3");
    assert.ok(second.server.commands.every(({ token }) => token), "nobody ever came without one");
    // No use for another one where the server did not ask for it.
    second.server.dropConnections(1006);
    await second.advance(3000);
    assert.equal(asked.length, held + 1);
});

test("4200 to 4299, and broken frames: the next lower transport", async () => {
    for (const code of [4200, 4299, 1009]) {
        const { server, connect, advance } = world();
        const rt = connect();
        await advance(6000);
        server.dropConnections(code);
        await advance(1000);
        assert.equal(rt.transport, "eventstream");
        assert.equal(server.sockets, 1);
    }
});

test("4300 to 4399: it is over", async () => {
    for (const transport of ["websocket", "eventstream"]) {
        const { server, connect, advance } = world();
        server.channel("photos");
        const rt = connect({ transport });
        const states = statusOf(rt);
        const { happened } = follow(rt, "photos");
        await advance(6000);
        server.dropConnections(4303, undefined, "ended");
        await advance(600000);
        assert.deepEqual(states, ["online", "ended"]);
        assert.equal(happened("end")[0].code, 4303);
        assert.equal(server.commands.filter(({ type }) => type === "hello").length, 1);
    }
});

test("a server over a limit is no reason to go down", async () => {
    const { server, connect, advance } = world();
    server.handlers.set("one", () => 1);
    const rt = connect({ transport: ["longpoll", "shortpoll"] });
    const used = [];
    rt.on("status", ({ transport }) => used.push(transport));
    await advance(1000);
    let refusals = 4;
    const calls = ({ body }) => body?.commands.some(({ type }) => type === "call");
    server.fail = request => calls(request) && refusals-- > 0 ? { status: 429, body: { error: { code: 201, reason: "too_many", message: "", retry_after: 1 } } } : undefined;
    const done = rt.call("one");
    await advance(20000);
    assert.equal(await done, 1);
    assert.ok(used.length && used.every(rung => rung === "longpoll" || !rung), used.join());
    assert.ok(refusals < 0);
});

test("retry_after is obeyed", async () => {
    const { server, connect, advance, fire } = world();
    connect({ transport: "eventstream" });
    await advance(6000);
    server.fail = () => ({ status: 503, headers: { "Retry-After": "20" } });
    for (const connection of [...server.connections]) {
        connection.write({ type: "disconnect", code: 4000, reason: "shutdown", message: "", retry_after: 9 });
        connection.close = () => {};
    }
    const before = server.requests.length;
    await advance(4000);
    fire("visibilitychange");
    await advance(4500);
    assert.equal(server.requests.length, before);
    await advance(1000);
    assert.equal(server.requests.length, before + 1);
    await advance(19000);
    assert.equal(server.requests.length, before + 1, "as the header said");
    server.fail = () => ({ status: 503, body: { error: { code: 200, reason: "unavailable", message: "", retry_after: 7 } } });
    await advance(3000);
    assert.equal(server.requests.length, before + 2);
    await advance(6500);
    assert.equal(server.requests.length, before + 3);
});

test("a transport that the server cannot do is left at once", async () => {
    const { server, connect, advance } = world();
    const rt = connect({ transport: ["eventstream", "longpoll"] });
    server.fail = ({ kind }) => kind === "eventstream" && { status: 501, body: { error: { code: 204, reason: "transport_unavailable", message: "" } } };
    await advance(2000);
    assert.equal(rt.transport, "longpoll");
    await advance(30000);
    assert.equal(server.requests.filter(({ kind }) => kind === "eventstream").length, 1);
});

test("silence for twice the ping interval is a dead connection", async () => {
    for (const transport of ["websocket", "eventstream"]) {
        const { server, connect, advance } = world();
        server.channel("photos");
        server.ping = 10;
        const rt = connect({ transport });
        const { seen } = follow(rt, "photos");
        await advance(1000);
        server.silent.add(transport);
        server.publish("photos", 1);
        await advance(12000);
        server.silent.clear();
        assert.deepEqual(seen, []);
        await advance(16000);
        assert.deepEqual(seen, [1]);
    }
});

test("pings are answered, and keep a quiet connection", async () => {
    const { server, connect, advance } = world();
    connect({ transport: "websocket" });
    for (let i = 0; i < 20; i++) {
        await advance(25000);
        for (const connection of server.connections) connection.write({ type: "ping" });
    }
    assert.equal(server.sockets, 1);
    assert.equal(server.commands.filter(({ type }) => type === "pong").length, 19);
});

test("a parked poll whose answer never comes is given up", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const rt = connect({ transport: "longpoll" });
    const { seen } = follow(rt, "photos");
    await advance(100);
    server.silent.add("longpoll");
    await advance(26000); // the next is never answered
    server.silent.clear();
    server.publish("photos", 1);
    await advance(42000);
    assert.deepEqual(seen, [1]);
});

test("after sleep a dead socket is found quickly", async () => {
    const { server, connect, advance, clock } = world();
    server.channel("photos");
    const rt = connect({ transport: "websocket" });
    const { seen } = follow(rt, "photos");
    await advance(1000);
    // The server gave the connection up meanwhile, and no word of that reached us.
    for (const connection of server.connections) connection.socket.connection.open = false;
    server.connections.clear();
    clock.sleep(30000);
    server.publish("photos", 1);
    await advance(9500);
    assert.deepEqual(seen, [1]);
});

test("when the page is looked at again a dead connection is found quickly, and a live one stays", async () => {
    for (const transport of ["websocket", "longpoll", "eventstream"]) {
        const { server, connect, advance, fire, page } = world();
        server.channel("photos");
        const rt = connect({ transport });
        const { seen } = follow(rt, "photos");
        await advance(6000);
        page.hidden = true;
        fire("visibilitychange");
        await advance(10000);
        page.hidden = false;
        fire("visibilitychange");
        await advance(10000);
        assert.ok(server.sockets <= 1);
        for (const connection of server.connections) connection.open = false;
        server.connections.clear();
        server.publish("photos", 1);
        fire("visibilitychange");
        await advance(5000);
        assert.deepEqual(seen, [1], transport);
    }
});

test("offline and online", async () => {
    const { server, connect, advance, fire, page } = world();
    const rt = connect();
    const states = statusOf(rt);
    await advance(10000);
    page.online = false;
    server.down = true;
    fire("offline");
    await advance(5000);
    assert.deepEqual(states, ["online", "offline"]);
    await advance(300000);
    page.online = true;
    server.down = false;
    fire("online");
    await advance(200);
    assert.deepEqual(states, ["online", "offline", "online"]);
    assert.equal(rt.transport, "websocket");
});

test("a page that comes back from the cache connects anew", async () => {
    const { server, connect, advance, fire } = world();
    server.channel("photos");
    const rt = connect();
    const { seen } = follow(rt, "photos");
    await advance(6000);
    fire("pagehide", { persisted: true });
    assert.equal(server.byes, undefined);
    for (const connection of server.connections) connection.open = false;
    server.connections.clear();
    server.publish("photos", 1);
    fire("pageshow", { persisted: true });
    await advance(100);
    assert.deepEqual(seen, [1]);
    fire("pageshow", { persisted: false });
    await advance(100);
    assert.equal(server.sockets, 2);
});

test("a hello that is refused is tried again later, not at once", async () => {
    const { server, connect, advance } = world();
    server.refuse = ({ type }) => type === "hello" ? { code: 201, reason: "too_many", retry_after: 10 } : undefined;
    const rt = connect();
    await advance(9500);
    assert.equal(server.commands.length, 1);
    server.refuse = () => undefined;
    await advance(1500);
    assert.equal(rt.transport, "websocket");
});

test("a refused origin is final: the page and its console are told, and nobody asks again", async t => {
    const { server, connect, advance } = world();
    const said = t.mock.method(console, "error", () => {});
    server.blocked.add("websocket");
    const message = "the page's Origin is not this site";
    server.fail = () => ({ status: 403, body: { error: { code: 112, reason: "forbidden_origin", message } } });
    const rt = connect();
    const states = statusOf(rt);
    const ends = [];
    rt.subscribe("photos").on("end", problem => ends.push(problem.code));
    await advance(10000);
    assert.deepEqual([states.at(-1), ends], ["ended", [112]]);
    assert.deepEqual(said.mock.calls.map(call => call.arguments), [[message]]);
    const asked = server.requests.length;
    await advance(120000);
    assert.equal(server.requests.length, asked);
});
