/** Who is on a channel, as a page follows it, and what a page tells of itself. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { settle, world } from "./support/world.mjs";

const TRANSPORTS = ["websocket", "eventstream", "longpoll", "shortpoll"];
const ada = { user: "1", info: { name: "Ada" }, at: 1 };
const bob = { user: "2", info: { name: "Bob" }, at: 2 };

function started(options) {
    const all = world();
    let state = [{ holder: "w1", all: { a: ada } }];
    all.server.channel("photos");
    all.server.channel("~presence/photos", { snapshot: () => state });
    const rt = all.connect(options);
    const feed = rt.subscribe("photos", undefined, { presence: { at: "home" } });
    const log = [];
    feed.on("presence", ({ people, count, complete }) => log.push([people.map(({ info }) => info.name).join("+"), count, complete]));
    feed.on("join", ({ info }) => log.push(`${info.name} joins`));
    feed.on("leave", ({ info }) => log.push(`${info.name} leaves`));
    const tell = telling => all.server.publish("~presence/photos", telling);
    return { ...all, rt, feed, log, tell, setState: to => { state = to; } };
}

for (const transport of TRANSPORTS) {
    test(`${transport}: who is there, who comes, who goes`, async () => {
        const { advance, feed, log, tell, server } = started({ transport });
        await settle();
        await advance(8000);
        assert.deepEqual(log.splice(0), [["Ada", 1, true]]);
        tell({ holder: "w2", set: { b: bob } });
        await advance(8000);
        assert.deepEqual(log.splice(0), ["Bob joins", ["Ada+Bob", 2, true]]);
        tell({ holder: "w1", ended: true });
        await advance(8000);
        assert.deepEqual(log.splice(0), ["Ada leaves", ["Bob", 1, true]]);
        tell({ holder: "w2", count: 1200 });
        await advance(8000);
        assert.deepEqual(log.splice(0), ["Bob leaves", ["", 1200, false]]);
        const before = server.commands.length;
        feed.unsubscribe();
        await advance(40000);
        assert.ok(!server.commands.slice(before).some(({ type }) => type === "subscribe"));
    });

    test(`${transport}: a page tells of itself, at first and later`, async () => {
        const { advance, feed, server } = started({ transport });
        const told = () => server.commands.filter(({ type, channel }) => /presence|subscribe/.test(type) && channel === "photos")
            .map(({ presence, data }) => presence ?? data);
        await settle();
        await advance(8000);
        assert.ok(told().length && told().every(({ at }) => at === "home"));
        feed.present({ at: "work" });
        await advance(8000);
        assert.deepEqual(told().at(-1), { at: "work" });
        server.dropConnections();
        const before = told().length;
        await advance(40000);
        assert.ok(told().length > before);
        assert.deepEqual(told().at(-1), { at: "work" });
    });
}

test("another feed that listens is told who is there", async () => {
    const { advance, rt } = started();
    await settle();
    await advance(1000);
    const seen = [];
    const second = rt.subscribe("photos");
    second.on("presence", ({ people }) => seen.push(people.length));
    await settle();
    await advance(1000);
    assert.deepEqual(seen, [1]);
    second.unsubscribe();
});

test("a feed that was left before it was known who is there", async () => {
    const { advance, feed, server } = started();
    feed.unsubscribe();
    await settle();
    await advance(1000);
    assert.ok(!server.commands.some(({ channel }) => channel?.startsWith("~presence")));
});

test("after a gap, those who are there now", async () => {
    const { advance, log, server, setState } = started({ transport: "websocket" });
    await settle();
    await advance(1000);
    log.splice(0);
    setState([{ holder: "w3", all: { b: bob } }]);
    server.forget("~presence/photos");
    server.dropConnections();
    await advance(40000);
    assert.deepEqual(log, ["Ada leaves", "Bob joins", ["Bob", 1, true]]);
});
