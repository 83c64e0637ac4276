/**
 * Follows one channel by GET, apart from everything else: for channels that must not be followed on the current
 * transport. Public ones are asked for without any credentials of ours, so that a cache may answer for the server.
 *
 * @import {Channel, Limit, Problem, Surroundings} from "./types.js"
 * @import {Session} from "./session.js"
 */
import { backoff } from "./environment.js";
import { answer, HIDDEN_FACTOR } from "./http.js";

/** Seconds a long poll waits, and between polls where nothing else is said. */
const WAIT = 25;
const EVERY = 5;

/**
 * @param {Surroundings} surroundings
 * @param {Session} session
 * @param {Channel} channel
 * @param {Limit} limit
 * @returns {() => void} stops following
 */
export function followApart({ env, base, codec }, session, channel, limit) {
    const short = limit.transport === "shortpoll";
    const controller = new AbortController();
    /** @type {unknown} */
    let timer;
    let failures = 0;

    /** @param {number} seconds */
    const later = seconds => {
        if (!controller.signal.aborted) timer = env.setTimeout(ask, seconds * 1000);
    };
    const ask = async () => {
        const began = env.now();
        const { position } = channel.cursor;
        const query = (position ? "after=" + position : "recent=" + (channel.recent ?? 0)) + (short ? "" : "&wait=" + WAIT);
        /** @type {Record<string, string>} */
        const headers = { Accept: codec.type };
        if (!limit.public && session.token) headers["Rtbridge-Token"] = session.token;
        try {
            const response = await env.fetch(`${base}channels/${channel.name}?${query}`,
                { headers, credentials: "same-origin", signal: controller.signal });
            const page = await answer(response, codec);
            if (controller.signal.aborted) return;
            session.renew({ type: "token", token: response.headers.get("Rtbridge-Token") ?? undefined });
            failures = 0;
            const hole = session.merge(channel, { recovered: position ? true : undefined, ...page, type: "publications" });
            const news = hole || page.more || !short && (page.publications.length || env.now() - began > 1000);
            later(news ? 0 : (limit.every ?? EVERY) * (env.hidden() ? HIDDEN_FACTOR : 1));
        } catch (problem) {
            const { code = 0, retryAfter } = /** @type {Problem} */ (problem);
            if (controller.signal.aborted) return;
            if (code >= 100 && code < 200) return session.refuse(channel, /** @type {Problem} */ (problem));
            later(retryAfter ?? Math.max(short ? limit.every ?? EVERY : 0.5, backoff(env, ++failures) / 1000));
        }
    };

    later(short ? limit.every ?? EVERY : 0);
    return () => {
        env.clearTimeout(timer);
        controller.abort();
    };
}
