import assert from "node:assert/strict";
import { test } from "node:test";
import { size } from "./size.mjs";

// What only some pages need is loaded by them: see the head of client.js. Optimistic calls are not, for a page that shows
// something at once cannot wait for a module first.
test("the client is small", () => {
    const { gzipped } = size();
    assert.ok(gzipped <= 7400, `${gzipped} bytes, compressed; 7400 is the most`);
});
