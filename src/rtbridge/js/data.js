/**
 * The JSON codec: any JSON value, and bytes as the tagged object {"$bytes": "aGVsbG8="}.
 *
 * An object whose only key is `$bytes`, `$$bytes` … and is not meant as bytes carries one more `$` on the way, so that
 * every value comes back as it was.
 *
 * @import {Codec} from "./types.js"
 */

/**
 * The only key of an object, if it looks like a tag.
 * @param {any} value
 * @returns {string | undefined}
 */
function tagOf(value) {
    if (!value || typeof value !== "object" || Array.isArray(value)) return;
    const keys = Object.keys(value);
    if (keys.length === 1 && /^\$+bytes$/.test(keys[0])) return keys[0];
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    return btoa(text);
}

/** @param {string} text */
const fromBase64 = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));

/** @type {Codec} */
export const json = {
    name: "json",
    type: "application/json",
    encode: value => JSON.stringify(value, function (key, child) {
        const raw = this[key]; // before any toJSON
        if (raw instanceof ArrayBuffer) return { $bytes: toBase64(new Uint8Array(raw)) };
        if (raw instanceof Uint8Array) return { $bytes: toBase64(raw) };
        const tag = tagOf(child);
        return tag ? { ["$" + tag]: child[tag] } : child;
    }),
    decode: text => JSON.parse(text, (_, child) => {
        const tag = tagOf(child);
        if (!tag) return child;
        return tag === "$bytes" ? fromBase64(child.$bytes) : { [tag.slice(1)]: child[tag] };
    }),
};
