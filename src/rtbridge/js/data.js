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
    const [key, another] = value && typeof value === "object" ? Object.keys(value) : [];
    if (another === undefined && /^\$+bytes$/.test(key)) return key;
}

/** @type {Codec} */
export const json = {
    name: "json",
    type: "application/json",
    encode: value => JSON.stringify(value, function (key, child) {
        let raw = this[key]; // before any toJSON
        if (raw instanceof ArrayBuffer) raw = new Uint8Array(raw);
        if (raw instanceof Uint8Array) return { $bytes: btoa(raw.reduce((text, byte) => text + String.fromCharCode(byte), "")) };
        const tag = tagOf(child);
        return tag ? { ["$" + tag]: child[tag] } : child;
    }),
    decode: text => JSON.parse(text, (_, child) => {
        const tag = tagOf(child);
        if (!tag) return child;
        return tag === "$bytes" ? Uint8Array.from(atob(child.$bytes), letter => letter.charCodeAt(0)) : { [tag.slice(1)]: child[tag] };
    }),
};
