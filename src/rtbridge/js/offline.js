/**
 * Calls that outlive the page: kept until they are answered, and sent by the page that comes after this one.
 *
 * A call runs once because two things hold. It is only ever sent in the session it was made in, so that the server knows
 * its id: whoever goes on with it resumes that session, which is refused to another user. And once sent it is sent
 * again for so long only as the server remembers its reply; later it is given up as `outcome_unknown`.
 *
 * @import {Environment, Kept, SendOptions, Vault} from "./types.js"
 * @import {Session} from "./session.js"
 */
import { randomId } from "./environment.js";

/** Seconds that a call may be sent again: less than the server's `call_ttl`. */
const RETRIED = 240;
/** What a browser's timer can count, in seconds. */
const LONGEST = 2e6;

/** @typedef {SendOptions & {offline: number}} Options */

/**
 * @param {Environment} env
 * @param {Session} session not yet begun
 * @param {Vault} vault
 * @param {(type: string, ...values: any[]) => void} emit
 * @returns {Promise<(name: string, params: Record<string, unknown> | undefined, options: Options) => Promise<any>>} makes a call that is kept
 */
export async function keepCalls(env, session, vault, emit) {
    /** @param {Kept} kept */
    const secondsLeft = ({ until, sent = Infinity }) => (Math.min(until, sent + RETRIED * 1000) - env.now()) / 1000;

    /**
     * @param {Kept} kept
     * @param {AbortSignal} [signal]
     */
    const start = (kept, signal) => {
        const { call_id, name, params, optimistic, client, sent } = kept;
        const result = session.call(name, params, {
            call_id, signal, optimistic, client, sent: sent !== undefined,
            timeout: Math.max(0, secondsLeft(kept)),
            sending(call) {
                Object.assign(kept, { sent: kept.sent ?? env.now(), client: session.clientId, token: session.token });
                vault.put(kept).catch(console.error);
                call.expire(secondsLeft(kept));
            },
        });
        const forget = () => vault.remove(call_id).catch(console.error);
        result.then(forget, forget);
        return result;
    };

    // What a page left behind that is no more. We go on in its place, in its session.
    let owner = randomId(env);
    const all = (await vault.all()).sort((a, b) => b.until - a.until);
    /** @type {Kept[]} */
    let left = [];
    for (const { owner: name } of all) {
        if (left.length || !await vault.own(name)) continue;
        owner = name;
        left = all.filter(kept => kept.owner === name);
    }
    if (!left.length) await vault.own(owner);
    session.token ??= left[0]?.token; // a site that signs tokens itself knows better
    for (const kept of left) {
        const result = start({ ...kept, client: kept.client ?? "none" });
        result.catch(() => {}); // it may be of no interest
        emit("kept", { name: kept.name, params: kept.params, cause: kept.call_id, result });
    }

    return (name, params = {}, { offline, optimistic, signal }) => {
        /** @type {Kept} */
        const kept = {
            call_id: randomId(env), owner, name, params, client: session.clientId, token: session.token,
            optimistic: optimistic && [{ channel: optimistic[0].channel }, optimistic[1]],
            until: env.now() + Math.min(offline, LONGEST) * 1000,
        };
        vault.put(kept).catch(console.error);
        return start(kept, signal);
    };
}
