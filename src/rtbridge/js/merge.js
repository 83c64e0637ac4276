/**
 * The cursor: what a message means to somebody who has already seen up to here.
 *
 * These are the four rules of "Keeping the cursor" in the protocol page, as one pure function. They are why a client
 * may have two connections at once, repeat a poll, or cut a connection at any moment, and still see each publication
 * once and in order.
 *
 * @import {Cursor, Message, Publication} from "./types.js"
 */

/**
 * Split "kX3f9Q2a.17" at its last dot.
 * @param {string} position
 * @returns {[epoch: string, offset: number]}
 */
export function split(position) {
    const dot = position.lastIndexOf(".");
    return [position.slice(0, dot), +position.slice(dot + 1)];
}

/**
 * @param {Cursor} cursor
 * @param {Message} message a `subscribed` reply, or a `publications`, `gap` or `snapshot` push
 * @returns {{cursor: Cursor, deliver: Publication[], gap: boolean, resubscribe: boolean, snapshot: boolean}}
 */
export function merge({ position: own, keep: oldKeep = "history" }, { type, position, publications = [], recovered, snapshot, keep = oldKeep }) {
    const state = type === "snapshot";
    /**
     * @param {string | undefined} cursor
     * @param {Publication[]} deliver
     */
    const go = (cursor, deliver, gap = false, resubscribe = false, snapshot = false) =>
        ({ cursor: { keep, position: cursor }, deliver, gap, resubscribe, snapshot });
    const [epoch, offset] = split(/** @type {string} */ (position));
    const [ownEpoch, ownOffset] = split(own ?? "");
    const known = epoch === ownEpoch;

    if (type === "subscribed" && snapshot) return go(own, []); // it follows
    if (type === "gap" || recovered === false) return known && ownOffset >= offset ? go(own, []) : go(position, [], true, false, state);
    if (!own) return go(position, publications, false, false, state);
    // Nothing is known to be missing between the two logs only where nothing can be.
    if (!known) return keep === "history" || keep === "private" ? go(own, [], false, true) : go(position, publications);

    const fresh = publications.filter(publication => publication.offset > ownOffset);
    // From the cursor's offset to that of the message there must be each one.
    const whole = keep !== "history" || offset <= ownOffset || fresh.length === offset - ownOffset;
    return whole ? go(offset > ownOffset ? position : own, fresh) : go(own, [], false, true);
}
