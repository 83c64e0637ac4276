/**
 * What all requests over plain HTTP share: how one is made, what a failed one means, and the pause before the next.
 *
 * @import {Problem, Surroundings} from "./types.js"
 */
import { json } from "./data.js";

/** Hidden pages ask this many times more rarely. */
const HIDDEN_FACTOR = 4;

/**
 * @param {Surroundings} surroundings
 * @param {string} path below the mount
 * @param {RequestInit} init
 * @returns {Promise<Response>} one that went well; otherwise it throws a `Problem`
 */
export async function request({ env, base, codec }, path, init) {
    const response = await env.fetch(base + path, init); // credentials: same-origin, as is the default
    if (response.ok) return response;
    /** @type {any} */
    let error = {};
    try {
        error = (await read(response, codec)).error ?? error;
    } catch {
        // Not from rtbridge: a proxy's page, for example.
    }
    throw problemOf(error, Number(response.headers.get("Retry-After")) || undefined);
}

/**
 * The body, decoded.
 * @param {Response} response
 * @param {Surroundings["codec"]} codec
 * @returns {Promise<any>}
 */
export async function read(response, codec) {
    const packed = /msgpack/.test("" + response.headers.get("Content-Type"));
    return packed ? codec.decode(await response.arrayBuffer()) : json.decode(await response.text());
}

/**
 * @param {any} error an error as it is on the wire
 * @param {number} [retryAfter] where it names none itself
 * @returns {Problem}
 */
export const problemOf = ({ retry_after, id, type, ...rest }, retryAfter) =>
    ({ ...rest, retryAfter: retry_after ?? retryAfter });

/**
 * Whether sending the same again is of no use.
 * @param {Problem} problem
 */
export const isFinal = ({ code = 0 }) => code > 99 && code < 200;

/**
 * Milliseconds until the next request.
 * @param {Surroundings["env"]} env
 * @param {boolean} now there is reason to ask on at once
 * @param {number} seconds otherwise
 */
export const pause = (env, now, seconds) => now ? 0 : seconds * 1000 * (env.hidden() ? HIDDEN_FACTOR : 1);
