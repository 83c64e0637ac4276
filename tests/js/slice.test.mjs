/** The whole of it, once: subscribe and call over each transport. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { follow, world } from "./support/world.mjs";

for (const transport of ["websocket", "eventstream", "longpoll", "shortpoll"]) {
    test(`${transport}: subscribe, receive, call, end`, async () => {
        const { server, connect, advance } = world();
        server.channel("photos");
        server.publish("photos", 1);
        server.handlers.set("add", ({ a, b }) => a + b);
        const rt = connect({ transport });
        const { feed, seen, happened } = follow(rt, "photos", { recent: 5 });
        const statuses = [];
        rt.on("status", status => statuses.push(status));
        const sum = rt.call("add", { a: 1, b: 2 });
        await advance(1000);
        assert.deepEqual(seen, [1]);
        assert.equal(await sum, 3);
        server.publish("photos", 2);
        server.publish("photos", 3);
        await advance(6000);
        assert.deepEqual(seen, [1, 2, 3]);
        assert.equal(feed.position, server.position("photos"));
        assert.equal(rt.transport, transport);
        assert.equal(rt.clientId, "c1");
        assert.equal(happened("subscribed").length, 1);
        assert.deepEqual(statuses, [{ state: "online", transport }]);
        feed.unsubscribe();
        await advance(100);
        server.publish("photos", 4);
        await advance(10000);
        assert.deepEqual(seen, [1, 2, 3]);
        rt.close();
        await advance(100);
        assert.equal(rt.state, "ended");
        assert.equal(server.byes, 1);
        await advance(60000);
        assert.equal(server.connections.size, 0);
    });
}
