/**
 * What all requests over plain HTTP share: reading an answer, and making sense of one that failed as a whole.
 *
 * @import {Codec, Problem} from "./types.js"
 */
import { json } from "./data.js";

/** Hidden pages poll this many times more slowly. */
export const HIDDEN_FACTOR = 4;

/**
 * The answer, decoded.
 * @param {Response} response
 * @param {Codec} codec
 * @returns {Promise<any>}
 */
async function read(response, codec) {
    const packed = /msgpack/.test(response.headers.get("Content-Type") ?? "");
    return packed ? codec.decode(await response.arrayBuffer()) : json.decode(await response.text());
}

/**
 * The answer of a request that went well; otherwise throws a `Problem`.
 * @param {Response} response
 * @param {Codec} codec
 */
export async function answer(response, codec) {
    if (response.ok) return read(response, codec);
    /** @type {any} */
    let error = {};
    try {
        error = (await read(response, codec)).error ?? error;
    } catch {
        // Not from rtbridge: a proxy's page, for example.
    }
    throw problemOf(error, +(response.headers.get("Retry-After") || NaN) || undefined);
}

/**
 * @param {any} error an error as it is on the wire
 * @param {number} [retryAfter] where it names none itself
 * @returns {Problem}
 */
export const problemOf = ({ retry_after, id, type, ...rest }, retryAfter) =>
    ({ ...rest, retryAfter: retry_after ?? retryAfter });
