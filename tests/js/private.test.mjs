/** What the server says to one client or user: messages, invitations, questions. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { follow, settle, world } from "./support/world.mjs";

const TRANSPORTS = ["websocket", "eventstream", "longpoll", "shortpoll"];

function started(options) {
    const all = world();
    all.server.channel("~me", { keep: "private" });
    all.server.channel("room");
    const rt = all.connect(options);
    return { ...all, rt, say: letter => all.server.publish("~me", letter) };
}

for (const transport of TRANSPORTS) {
    test(`${transport}: messages, questions, invitations, dismissals`, async () => {
        const { server, advance, rt, say } = started({ transport });
        const seen = [];
        rt.on("message", (data, { to }) => seen.push([to, data]));
        rt.on("dismissal", ({ channel }) => seen.push(["out of", channel]));
        let room;
        rt.on("invitation", ({ channel, position }) => { room = follow(rt, channel, { position }); });
        rt.handle("pick", ({ from }) => ({ choice: from[0] }));
        rt.handle("break", () => { throw new Error("no hands"); });
        await settle();
        await advance(6000);
        say({ type: "data", to: "user", data: { unread: 3 } });
        say({ type: "call", ask_id: "ask-0001", name: "pick", params: { from: ["left", "right"] } });
        say({ type: "call", ask_id: "ask-0002", name: "unheard", params: {} });
        say({ type: "of the future" });
        const position = server.position("room");
        server.publish("room", "welcome");
        say({ type: "subscribe", channel: "room", position });
        await advance(20000);
        assert.deepEqual(seen, [["user", { unread: 3 }]]);
        assert.deepEqual(server.answers.get("ask-0001").data, { choice: "left" });
        assert.equal(server.answers.get("ask-0002").code, 105);
        assert.deepEqual(room.seen, ["welcome"]);
        say({ type: "unsubscribe", channel: "room" });
        await advance(10000);
        server.publish("room", "secret");
        await advance(10000);
        assert.deepEqual(room.seen, ["welcome"]);
        assert.equal(room.happened("end")[0].reason, "dismissed");
        assert.deepEqual(seen.slice(1), [["out of", "room"]]);
    });
}

test("a page that does not listen does not ask for letters", async () => {
    const { server, advance, rt } = started();
    rt.on("status", () => {});
    await settle();
    await advance(1000);
    assert.ok(!server.commands.some(({ channel }) => channel === "~me"));
});

test("a handler that fails says so, and only so much", async context => {
    context.mock.method(console, "error", () => {});
    const { server, advance, rt, say } = started({ transport: "websocket" });
    rt.handle("break", () => { throw new Error("x".repeat(2000)); });
    rt.handle("nothing", async () => {});
    await settle();
    await advance(1000);
    say({ type: "call", ask_id: "ask-0001", name: "break" });
    say({ type: "call", ask_id: "ask-0002", name: "nothing" });
    await advance(1000);
    const { code, message } = server.answers.get("ask-0001");
    assert.equal(code, 202);
    assert.ok(message.startsWith("break: xxx") && message.length <= 500);
    assert.equal(server.answers.get("ask-0002").data, null);
});

test("an answer whose connection breaks is sent again", async () => {
    const { server, advance, rt, say } = started({ transport: "websocket" });
    let answered;
    rt.handle("pick", () => new Promise(resolve => { answered = resolve; }));
    await settle();
    await advance(1000);
    say({ type: "call", ask_id: "ask-0001", name: "pick" });
    await advance(100);
    server.down = true;
    server.dropConnections();
    answered("left");
    await advance(5000);
    assert.equal(server.answers.size, 0);
    server.down = false;
    await advance(40000);
    assert.equal(server.answers.get("ask-0001").data, "left");
});

test("letters that were lost are told as a gap", async () => {
    const { server, advance, rt, say } = started({ transport: "websocket" });
    const gaps = [];
    rt.on("gap", ({ channel }) => gaps.push(channel));
    await settle();
    await advance(1000);
    say({ type: "data", to: "client", data: 1 });
    await advance(1000);
    for (const connection of [...server.connections]) connection.write({ type: "gap", channel: "~me", position: "other.7" });
    await advance(1000);
    assert.deepEqual(gaps, ["~me"]);
});
