/**
 * The browser as the client sees it. Anything may be missing, and asking for it may throw; then it is as if it were not
 * there. `connect({environment})` replaces any part, which is how the tests run without a browser.
 *
 * @import {Environment} from "./types.js"
 */

/** @returns {Environment} */
export function browser() {
    const page = /** @type {any} */ (globalThis);
    let storage;
    try {
        storage = page.localStorage;
    } catch {
        // Storage is switched off: nothing is remembered.
    }
    return {
        WebSocket: page.WebSocket,
        streams: !!page.ReadableStream,
        storage,
        fetch: (url, init) => page.fetch(url, init),
        setTimeout: (callback, ms) => setTimeout(callback, ms),
        clearTimeout: timer => clearTimeout(/** @type {any} */ (timer)),
        now: () => Date.now(),
        random: () => page.crypto.getRandomValues(new Uint32Array(1))[0] / 2 ** 32,
        addEventListener: (type, listener, signal) => page.addEventListener?.(type, listener, { signal }),
        onLine: () => page.navigator?.onLine !== false,
        hidden: () => !!page.document?.hidden,
    };
}

/**
 * @param {Environment} env
 * @returns {string} a random id of 16 letters and digits
 */
export function randomId(env) {
    let id = "";
    while (id.length < 16) id += Math.floor(env.random() * 36).toString(36);
    return id;
}

/**
 * Full jitter, 0.5 s doubling up to 30 s.
 * @param {Environment} env
 * @param {number} attempt 0 for the first
 */
export const backoff = (env, attempt) => env.random() * Math.min(30000, 500 * 2 ** attempt);
