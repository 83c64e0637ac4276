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
 * @param {Message} message a `subscribed` reply, a `publications` push or a `gap` push
 * @returns {{cursor: Cursor, deliver: Publication[], gap: boolean, resubscribe: boolean}}
 */
export function merge(cursor, message) {
    const keep = message.keep ?? cursor.keep;
    const position = /** @type {string} */ (message.position);
    const publications = message.publications ?? [];
    const go = (deliver = publications, gap = false, to = position) =>
        ({ cursor: { keep, position: to }, deliver, gap, resubscribe: false });
    const stay = (resubscribe = false) =>
        ({ cursor: { keep, position: cursor.position }, deliver: [], gap: false, resubscribe });

    const isGap = message.type === "gap" || message.recovered === false;
    if (!cursor.position) return go(isGap ? [] : publications, isGap);
    const [epoch, offset] = split(position);
    const [ownEpoch, ownOffset] = split(cursor.position);
    const sameLog = epoch === ownEpoch;

    if (isGap) return sameLog && ownOffset >= offset ? stay() : go([], true);
    if (message.type === "subscribed" && message.recovered === undefined) return go();
    if (!sameLog) return keep === "history" ? stay(true) : go();

    const fresh = publications.filter(publication => publication.offset > ownOffset);
    if (keep === "history" && fresh.length && fresh[0].offset !== ownOffset + 1) return stay(true);
    return go(fresh, false, offset > ownOffset ? position : cursor.position);
}
