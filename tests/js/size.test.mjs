import assert from "node:assert/strict";
import { test } from "node:test";
import { size } from "./size.mjs";

test("the client is small", () => {
    const { gzipped } = size();
    assert.ok(gzipped <= 6500, `${gzipped} bytes, compressed; 6500 is the most`);
});
