import assert from "node:assert/strict";
import { test } from "node:test";
import { json } from "../../src/rtbridge/js/data.js";
import { decode, encode } from "../../src/rtbridge/js/msgpack.js";
import { meant, spelled, unhex, vectors } from "./support/vectors.mjs";

const data = vectors("data");
const plain = value => JSON.parse(JSON.stringify(value)); // Uint8Array is compared as such by deepEqual; nothing else needs it

for (const { name, value, json: text, msgpack, beyond_browser: beyond } of data.cases) {
    if (beyond) continue;
    test(`data: ${name}`, () => {
        assert.equal(json.encode(meant(value)), text);
        assert.deepEqual(json.decode(text), meant(value));
        assert.deepEqual(encode(meant(value)), unhex(msgpack));
        assert.deepEqual(decode(unhex(msgpack)), meant(value));
    });
}

for (const { name, value, depth, json: text, msgpack } of data.decode_only) {
    test(`data, decoded only: ${name}`, () => {
        for (const read of [json.decode(text), decode(unhex(msgpack))]) {
            if (!depth) assert.deepEqual(read, meant(value));
            else assert.equal(JSON.stringify(read).match(/^[[{"a:]*/)[0].replace(/[^[{]/g, "").length, depth);
        }
    });
}

// The browser's own base64 is more lenient than the protocol; what we read comes from the server, who is not.
const LENIENT = ["$bytes of null", "$bytes of bytes", "$bytes without padding", "$bytes with white space"];

test("data: bad JSON is refused", () => {
    for (const bad of data.bad_json) {
        if (bad.server_only || bad.hex || LENIENT.includes(bad.name)) continue;
        assert.throws(() => json.decode(spelled(bad)), bad.name);
    }
});

test("data: bad MessagePack is refused", () => {
    for (const bad of data.bad_msgpack) assert.throws(() => decode(unhex(spelled(bad))), bad.name);
});

for (const file of ["messages", "polls"]) {
    const all = vectors(file);
    for (const kind of ["commands", "server", "requests", "answers", "channel_answers", "error_bodies"]) {
        for (const { name, wire, msgpack } of all[kind] ?? []) {
            test(`${file}, ${kind}: ${name} says the same in both codecs`, () => {
                const message = json.decode(JSON.stringify(wire));
                assert.deepEqual(decode(unhex(msgpack)), message);
                assert.deepEqual(decode(encode(message)), message);
                assert.deepEqual(plain(JSON.parse(json.encode(message))), wire);
            });
        }
    }
}

test("what JSON leaves out, MessagePack leaves out", () => {
    const odd = { a: undefined, b: () => 1, c: NaN, d: [undefined, Infinity], e: new Date(0), f: -0, g: new Uint8Array([1]).buffer };
    const expected = { c: null, d: [null, null], e: "1970-01-01T00:00:00.000Z", f: 0, g: new Uint8Array([1]) };
    assert.deepEqual(decode(encode(odd)), expected);
    assert.deepEqual(json.decode(/** @type {string} */ (json.encode(odd))), expected);
});

test("large and deep things", () => {
    const large = { list: Array.from({ length: 70000 }, (_, i) => i), text: "ä".repeat(70000), bytes: new Uint8Array(70000).fill(7) };
    assert.deepEqual(decode(encode(large)), large);
    const map = Object.fromEntries(Array.from({ length: 300 }, (_, i) => ["k" + i, -(i + 1) * 1e6]));
    assert.deepEqual(decode(encode(map)), map);
    let deep = [];
    for (let i = 0; i < 100; i++) deep = [deep];
    assert.throws(() => encode(deep), /too deep/);
    assert.throws(() => encode(1n), /bigint/);
});
