export const msgpack = /** @type {import("./types.js").Codec} */ (/** @type {unknown} */ (undefined));
