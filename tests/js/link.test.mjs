/** One of two connections: what it is told may be late. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { makeLink } from "../../src/rtbridge/js/link.js";

/** A socket that follows `photos` from the channel's cursor, and a session that notes what is merged. */
function socket(position) {
    const channel = { name: "photos", cursor: { position }, feeds: new Set([1]) };
    const merged = [];
    const sent = [];
    const session = {
        channels: new Map([["photos", channel]]),
        hello: () => ({ type: "hello", id: 1 }),
        renew() {},
        limit() {},
        merge(_, message) {
            merged.push(message.type);
        },
    };
    const env = { now: () => 0 };
    const driver = { send: commands => void sent.push(...commands), start() {}, stop() {} };
    const link = makeLink("websocket", env, session, () => driver, () => {}, () => {});
    const [, { id }] = link.opening();
    const hear = message => link.receive({ channel: "photos", ...message });
    return { channel, merged, sent, hear, id };
}

test("a gap of a connection that was behind another is asked for again from the cursor", () => {
    const { channel, merged, sent, hear, id } = socket("a.5");
    hear({ type: "subscribed", id, position: "a.5", recovered: true, publications: [] });
    channel.cursor.position = "a.7"; // the other one was faster
    hear({ type: "gap", position: "a.9" });
    assert.deepEqual(merged, ["subscribed"]);
    assert.deepEqual(sent.map(({ type, position }) => [type, position]), [["unsubscribe", undefined], ["subscribe", "a.7"]]);
    hear({ type: "subscribed", id: sent[1].id, position: "a.9", recovered: false });
    assert.deepEqual(merged, ["subscribed", "subscribed"]);
});

test("an answer that is late, too", () => {
    const { channel, merged, sent, hear, id } = socket("a.5");
    channel.cursor.position = "a.7";
    hear({ type: "subscribed", id, position: "a.9", recovered: false });
    assert.deepEqual(merged, []);
    assert.equal(sent[1].position, "a.7");
});

test("a gap from where the cursor is, or to another log, is one", () => {
    const { channel, merged, hear, id } = socket("a.5");
    hear({ type: "subscribed", id, position: "a.5", recovered: true, publications: [] });
    hear({ type: "gap", position: "a.9" });
    channel.cursor.position = "a.12";
    hear({ type: "gap", position: "b.0" });
    assert.deepEqual(merged, ["subscribed", "gap", "gap"]);
});
