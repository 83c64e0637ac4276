/**
 * What a disconnect code asks of the client. Ranges decide, so that codes to come need no new client.
 */

/** From 4000 on, for each hundred. */
const STEPS = /** @type {const} */ (["resume", "renew", "lower", "stop"]);

/**
 * @param {number} [code] of a close frame or a `disconnect` push; none when a connection simply broke
 * @returns {"resume" | "renew" | "lower" | "stop"} come back; without the token; on a lower transport; not at all
 */
export function nextStep(code = 1006) {
    if ([1002, 1003, 1007, 1009].includes(code)) return "lower";
    return STEPS[Math.floor(code / 100) - 40] ?? "resume";
}
