/** Snapshots: the state first, then what comes after it, never a hole. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { follow, world } from "./support/world.mjs";

const TRANSPORTS = ["websocket", "eventstream", "longpoll", "shortpoll"];
const state = server => server.channel("photos", { size: 3, snapshot: () => server.channels.get("photos").offset });

for (const transport of TRANSPORTS) {
    test(`${transport}: the snapshot, then publications`, async () => {
        const { server, connect, advance } = world();
        state(server);
        for (let i = 1; i <= 5; i++) server.publish("photos", i);
        const { seen, happened, feed } = follow(connect({ transport }), "photos", { snapshots: true });
        await advance(40);
        server.publish("photos", 6); // while the snapshot is on its way
        await advance(10000);
        server.publish("photos", 7);
        await advance(10000);
        const [{ snapshot, gap }, ...rest] = seen;
        assert.ok(snapshot === 5 || snapshot === 6);
        assert.equal(gap, false);
        assert.deepEqual([...Array(snapshot).fill(0), ...rest], [...Array(snapshot).fill(0), ...[6, 7].filter(i => i > snapshot)]);
        assert.deepEqual(happened("gap"), []);
        assert.equal(feed.position, server.position("photos"));
    });

    test(`${transport}: a snapshot in place of a gap`, async () => {
        const { server, connect, advance } = world();
        state(server);
        const { seen, happened } = follow(connect({ transport }), "photos", { snapshots: true });
        await advance(1000);
        server.down = true;
        server.dropConnections();
        for (let i = 1; i <= 9; i++) server.publish("photos", i);
        await advance(1000);
        server.down = false;
        await advance(90000);
        server.publish("photos", 10);
        await advance(10000);
        assert.deepEqual(seen, [{ snapshot: 0, gap: false }, { snapshot: 9, gap: true }, 10]);
        assert.deepEqual(happened("gap"), []);
    });
}

test("who does not listen for snapshots gets none", async () => {
    const { server, connect, advance } = world();
    state(server);
    const { seen } = follow(connect(), "photos", { recent: 2 });
    await advance(1000);
    server.publish("photos", 1);
    await advance(1000);
    assert.deepEqual(seen, [1]);
    assert.ok(server.commands.every(({ snapshot }) => snapshot === undefined));
});

test("a channel without a snapshot begins with recent ones, and tells of gaps", async () => {
    const { server, connect, advance } = world();
    server.channel("photos", { size: 3 });
    for (let i = 1; i <= 3; i++) server.publish("photos", i);
    const { seen, happened } = follow(connect({ transport: "websocket" }), "photos", { recent: 2, snapshots: true });
    await advance(1000);
    server.down = true;
    server.dropConnections();
    for (let i = 4; i <= 9; i++) server.publish("photos", i);
    server.down = false;
    await advance(60000);
    assert.deepEqual(seen, [2, 3]);
    assert.equal(happened("gap").length, 1);
});

test("the connection is lost before the snapshot came: it is asked for again", async () => {
    const { server, connect, advance } = world();
    state(server);
    const { seen } = follow(connect({ transport: "websocket" }), "photos", { snapshots: true });
    await advance(55); // subscribed, and the snapshot not yet there
    assert.deepEqual(seen, []);
    server.dropConnections();
    server.publish("photos", 1);
    await advance(60000);
    assert.deepEqual(seen, [{ snapshot: 1, gap: false }]);
});

for (const limit of [{ transport: "shortpoll", every: 5 }, { transport: "longpoll" }]) {
    test(`apart, by ${limit.transport}`, async () => {
        const { server, connect, advance } = world();
        server.channel("photos", { size: 3, limit, public: true, snapshot: () => server.channels.get("photos").offset });
        server.publish("photos", 1);
        const { seen } = follow(connect({ transport: "websocket" }), "photos", { snapshots: true });
        await advance(1000);
        assert.deepEqual(seen, [{ snapshot: 1, gap: false }]);
        server.publish("photos", 2);
        await advance(6000);
        server.forget("photos");
        await advance(30000);
        assert.deepEqual(seen, [{ snapshot: 1, gap: false }, 2, { snapshot: 0, gap: true }]);
    });
}

test("a later feed that wants a snapshot is told of a gap", async () => {
    const { server, connect, advance } = world();
    state(server);
    const rt = connect();
    follow(rt, "photos", { snapshots: true });
    await advance(1000);
    const { happened } = follow(rt, "photos", { snapshots: true });
    await advance(1000);
    assert.deepEqual(happened("gap"), [{ channel: "photos", position: server.position("photos") }]);
});

test("a gap that everybody has says when to fetch", async () => {
    const { server, connect, advance } = world();
    server.channel("photos");
    const { happened } = follow(connect({ transport: "websocket" }), "photos");
    await advance(1000);
    for (const connection of server.connections) connection.write({ type: "gap", channel: "photos", position: "E9.4", fetch_after: 1.5 });
    await advance(1000);
    assert.deepEqual(happened("gap"), [{ channel: "photos", position: "E9.4", fetchAfter: 1.5 }]);
});
