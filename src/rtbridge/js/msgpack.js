/**
 * The MessagePack codec, loaded only by `connect({codec: "msgpack"})`. Values are what JSON can say, and bytes: maps
 * have string keys, there are no extensions, NaN and infinities do not exist. What JSON.stringify leaves out or turns
 * into null is treated alike, so that a page behaves the same with either codec.
 *
 * @import {Codec} from "./types.js"
 */

const MAX_DEPTH = 64;
const MAX_INTEGER = 2n ** 63n - 1n;

/** @param {any} value */
export function encode(value) {
    let bytes = new Uint8Array(256);
    let view = new DataView(bytes.buffer);
    let length = 0;

    /**
     * Make room, then write to it (not before: making room may move everything).
     * @param {number} size
     * @param {(at: number) => void} fill
     */
    const room = (size, fill) => {
        const at = length;
        length += size;
        if (length > bytes.length) {
            const larger = new Uint8Array(Math.max(length, bytes.length * 2));
            larger.set(bytes);
            bytes = larger;
            view = new DataView(bytes.buffer);
        }
        fill(at);
    };
    /** @param {number} byte */
    const put = byte => room(1, at => { bytes[at] = byte; });
    /** @param {Uint8Array} more */
    const append = more => room(more.length, at => bytes.set(more, at));

    /**
     * A head with the shortest form of a length. `codes` are those for 8, 16 and 32 bits, 0 where there is none.
     * @param {number} size
     * @param {number[]} codes
     */
    const head = (size, [code8, code16, code32]) => {
        if (size < 0x100 && code8) {
            put(code8);
            put(size);
        } else if (size < 0x10000) {
            put(code16);
            room(2, at => view.setUint16(at, size));
        } else {
            put(code32);
            room(4, at => view.setUint32(at, size));
        }
    };

    /** @param {number} number */
    const writeNumber = number => {
        if (!Number.isFinite(number)) return put(0xc0);
        if (!Number.isSafeInteger(number)) {
            put(0xcb);
            return room(8, at => view.setFloat64(at, number));
        }
        if (number >= 0) {
            if (number < 0x80) return put(number);
            if (number < 2 ** 32) return head(number, [0xcc, 0xcd, 0xce]);
            put(0xcf);
            return room(8, at => view.setBigUint64(at, BigInt(number)));
        }
        if (number >= -0x20) return put(number + 0x100);
        if (number >= -0x80) {
            put(0xd0);
            room(1, at => view.setInt8(at, number));
        } else if (number >= -0x8000) {
            put(0xd1);
            room(2, at => view.setInt16(at, number));
        } else if (number >= -(2 ** 31)) {
            put(0xd2);
            room(4, at => view.setInt32(at, number));
        } else {
            put(0xd3);
            room(8, at => view.setBigInt64(at, BigInt(number)));
        }
    };

    /** What JSON.stringify would leave out of a map. @param {any} value */
    const isNothing = value => value === undefined || typeof value === "function" || typeof value === "symbol";

    /**
     * @param {any} value
     * @param {number} depth
     */
    const write = (value, depth) => {
        if (depth > MAX_DEPTH) throw new RangeError("nested too deep");
        if (value instanceof ArrayBuffer) value = new Uint8Array(value);
        if (value instanceof Uint8Array) {
            head(value.length, [0xc4, 0xc5, 0xc6]);
            return append(value);
        }
        if (typeof value?.toJSON === "function") value = value.toJSON();
        if (value === null || isNothing(value)) put(0xc0);
        else if (typeof value === "boolean") put(value ? 0xc3 : 0xc2);
        else if (typeof value === "number") writeNumber(value);
        else if (typeof value === "string") {
            const text = new TextEncoder().encode(value);
            if (text.length < 0x20) put(0xa0 + text.length);
            else head(text.length, [0xd9, 0xda, 0xdb]);
            append(text);
        } else if (Array.isArray(value)) {
            if (value.length < 0x10) put(0x90 + value.length);
            else head(value.length, [0, 0xdc, 0xdd]);
            for (const item of value) write(item, depth + 1);
        } else if (typeof value === "object") {
            const entries = Object.entries(value).filter(([, item]) => !isNothing(item));
            if (entries.length < 0x10) put(0x80 + entries.length);
            else head(entries.length, [0, 0xde, 0xdf]);
            for (const [key, item] of entries) {
                write(key, depth);
                write(item, depth + 1);
            }
        } else throw new TypeError("cannot send a " + typeof value);
    };

    write(value, 0);
    return bytes.slice(0, length);
}

/**
 * @param {ArrayBuffer | Uint8Array} raw
 * @returns {any}
 */
export function decode(raw) {
    const bytes = new Uint8Array(raw);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
    let at = 0;

    /** @param {string} why @returns {never} */
    const refuse = why => { throw new RangeError(`not our MessagePack: ${why} at byte ${at}`); };
    /** @param {number} size */
    const take = size => {
        if (size > bytes.length - at) refuse("too short");
        at += size;
        return at - size;
    };
    /** A length of 1, 2 or 4 bytes. @param {number} power 0, 1 or 2 */
    const size = power => {
        const place = take(1 << power);
        return power === 0 ? bytes[place] : power === 1 ? view.getUint16(place) : view.getUint32(place);
    };
    /** @param {number} length */
    const text = length => {
        const place = take(length);
        return utf8.decode(bytes.subarray(place, place + length));
    };
    /** @param {number} length */
    const blob = length => {
        const place = take(length);
        return bytes.slice(place, place + length);
    };
    /** @param {number} number */
    const finite = number => Number.isFinite(number) ? number : refuse("not a number");
    /** @param {bigint} integer */
    const bounded = integer => integer > MAX_INTEGER || integer < -MAX_INTEGER ? refuse("an integer too large") : Number(integer);

    /**
     * @param {number} length
     * @param {number} depth
     */
    const array = (length, depth) => {
        const items = [];
        if (length > bytes.length - at) refuse("too short"); // each item takes a byte at least
        while (length--) items.push(read(depth + 1));
        return items;
    };
    /**
     * @param {number} length
     * @param {number} depth
     */
    const map = (length, depth) => {
        const entries = new Map();
        if (length > bytes.length - at) refuse("too short");
        while (length--) {
            const key = read(depth + 1);
            if (typeof key !== "string" || entries.has(key)) refuse("a key that is no string, or twice");
            entries.set(key, read(depth + 1));
        }
        return Object.fromEntries(entries); // "__proto__" is a key like any other here
    };

    /**
     * @param {number} depth
     * @returns {any}
     */
    const read = depth => {
        if (depth > MAX_DEPTH) refuse("nested too deep");
        const code = bytes[take(1)];
        if (code < 0x80) return code;
        if (code < 0x90) return map(code & 0xf, depth);
        if (code < 0xa0) return array(code & 0xf, depth);
        if (code < 0xc0) return text(code & 0x1f);
        if (code >= 0xe0) return code - 0x100;
        switch (code) {
            case 0xc0: return null;
            case 0xc2: return false;
            case 0xc3: return true;
            case 0xc4: case 0xc5: case 0xc6: return blob(size(code - 0xc4));
            case 0xca: return finite(view.getFloat32(take(4)));
            case 0xcb: return finite(view.getFloat64(take(8)));
            case 0xcc: case 0xcd: case 0xce: return size(code - 0xcc);
            case 0xcf: return bounded(view.getBigUint64(take(8)));
            case 0xd0: return view.getInt8(take(1));
            case 0xd1: return view.getInt16(take(2));
            case 0xd2: return view.getInt32(take(4));
            case 0xd3: return bounded(view.getBigInt64(take(8)));
            case 0xd9: case 0xda: case 0xdb: return text(size(code - 0xd9));
            case 0xdc: case 0xdd: return array(size(code - 0xdb), depth);
            case 0xde: case 0xdf: return map(size(code - 0xdd), depth);
            default: return refuse("code " + code);
        }
    };

    const value = read(0);
    if (at < bytes.length) refuse("something more");
    return value;
}

/** @type {Codec} */
export const msgpack = { name: "msgpack", type: "application/msgpack", encode, decode };
