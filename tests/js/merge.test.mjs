import assert from "node:assert/strict";
import { test } from "node:test";
import { merge, split } from "../../src/rtbridge/js/merge.js";
import { vectors } from "./support/vectors.mjs";

for (const { name, position, keep, steps } of vectors("merge").cases) {
    test(`merge: ${name}`, () => {
        let cursor = { position: position ?? undefined, keep };
        for (const step of steps) {
            const merged = merge(cursor, step.message);
            assert.deepEqual(merged.deliver.map(publication => publication.offset), step.deliver);
            assert.deepEqual(merged.cursor, { position: step.cursor ?? undefined, keep: step.keep });
            assert.equal(merged.gap, step.gap);
            assert.equal(merged.resubscribe, step.resubscribe);
            assert.equal(merged.snapshot, step.snapshot ?? false);
            cursor = merged.cursor;
        }
    });
}

test("positions are split at their last dot", () => {
    for (const { text, epoch, offset } of vectors("positions").valid) assert.deepEqual(split(text), [epoch, offset]);
});
