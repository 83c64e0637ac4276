/**
 * Follows one channel by GET, apart from everything else: for channels that must not be followed on the current
 * transport. Public ones are asked for without our token, so that a cache may answer for the server.
 *
 * @import {Channel, Limit, Problem, Surroundings} from "./types.js"
 * @import {Session} from "./session.js"
 */
import { backoff } from "./environment.js";
import { isFinal, pause, read, request } from "./http.js";

/** Seconds a long poll waits. */
const WAIT = 25;

/**
 * Follow it for as long as anybody listens and `channel.apart` is this very limit.
 *
 * @param {Surroundings} surroundings
 * @param {Session} session
 * @param {Channel} channel
 * @param {Limit} limit
 */
export function followApart(surroundings, session, channel, limit) {
    const { env, codec } = surroundings;
    const { every = 5 } = limit;
    const short = limit.transport === "shortpoll";
    const wanted = () => channel.feeds.size && channel.apart === limit;
    let failures = 0;

    const ask = async () => {
        if (!wanted()) return;
        const began = env.now();
        /** @type {Record<string, string>} */
        const headers = { Accept: codec.type };
        if (!limit.public && session.token) headers["Rtbridge-Token"] = session.token;
        let delay;
        try {
            const { position } = channel.cursor;
            const path = `channels/${channel.name}?` + (position ? "after=" + position : "recent=0")
                + (channel.snapshot ? "&snapshot=1" : "") + (short ? "" : "&wait=" + WAIT);
            const response = await request(surroundings, path, { headers });
            const page = await read(response, codec);
            if (!wanted()) return;
            session.token = response.headers.get("Rtbridge-Token") ?? session.token;
            failures = 0;
            const type = "snapshot" in page ? "snapshot" : "publications";
            const hole = session.merge(channel, { ...page, type, data: page.snapshot });
            const parked = !short && (page.publications.length || env.now() - began > 1000);
            delay = pause(env, hole || page.more || parked, every);
        } catch (error) {
            const problem = /** @type {Problem} */ (error);
            if (isFinal(problem)) return session.refuse(channel, problem);
            delay = Math.max((problem.retryAfter ?? (short ? every : 0)) * 1000, backoff(env, failures++));
        }
        env.setTimeout(ask, delay);
    };
    // Without a position it is for a snapshot, which nobody should wait for.
    env.setTimeout(ask, short && channel.cursor.position ? every * 1000 : 0);
}
