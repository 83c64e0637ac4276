import assert from "node:assert/strict";
import { test } from "node:test";
import { nextStep } from "../../src/rtbridge/js/codes.js";
import { isFinal } from "../../src/rtbridge/js/http.js";
import { vectors } from "./support/vectors.mjs";

const codes = vectors("codes");

test("what a disconnect code asks for", () => {
    for (const { code, next_step: step } of [...codes.disconnects, ...codes.other_close_codes]) assert.equal(nextStep(code), step, "" + code);
    assert.equal(nextStep(), "resume");
});

test("what is of no use to be sent again", () => {
    for (const { code, remedy } of [...codes.errors, ...codes.other_error_codes]) assert.equal(isFinal({ code }), remedy === "mend", "" + code);
    assert.equal(isFinal({}), false);
});
