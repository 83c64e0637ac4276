import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRoster } from "../../src/rtbridge/js/presence.js";
import { vectors } from "./support/vectors.mjs";

const shown = roster => Object.fromEntries([...roster.people()].map(([key, { user, info, data, tabs }]) =>
    [key, user === undefined ? { tabs, info, data } : { tabs, info, data, user }]));

for (const { name, steps } of vectors("presence").cases) test(name, () => {
    const roster = makeRoster();
    for (const { telling, people, count, complete } of steps) for (let again = 0; again < 2; again++) {
        roster.apply(telling);
        assert.deepEqual(shown(roster), people);
        assert.deepEqual([roster.count, roster.complete], [count, complete]);
    }
});

test("a snapshot is a list of tellings", () => {
    const roster = makeRoster([{ holder: "w1", all: { t1: { at: 1 } } }, { holder: "w2", count: 7 }]);
    assert.deepEqual([roster.count, roster.complete], [8, false]);
});
