/**
 * The core: what is followed, up to where, and which calls have no answer yet. It knows nothing of sockets, requests or
 * retries. Links bring it messages and ask it what to send; several links at once are no trouble, because there is a cursor.
 *
 * @import {Call, Channel, Command, Environment, Limit, Link, Message, Problem} from "./types.js"
 */
import { randomId } from "./environment.js";
import { makeEvents } from "./events.js";
import { merge, split } from "./merge.js";

/** Why a call has no result. Its `code` says what to do; see the errors of the protocol page. */
export class CallError extends Error {
    /** @param {Problem} problem */
    constructor(problem) {
        super(problem.message);
        Object.assign(this, { name: "CallError", fields: [] }, problem);
    }
}

/**
 * @param {Environment} env
 * @param {() => void} changed something is to be subscribed, unsubscribed or called
 * @param {(channel: Channel, limit: Limit) => void} followApart
 * @param {import("./client.js").Options["token"]} [given] by the site: a token, or who fetches one
 */
export function makeSession(env, changed, followApart, given) {
    const fetchToken = typeof given === "function" && given;
    let stale = fetchToken;
    /** @type {Promise<void> | undefined} */
    let bringing;
    /** @type {Map<string, Channel>} */
    const channels = new Map();
    /** @type {Map<string, Call>} */
    const calls = new Map();
    const instance = randomId(env);
    /** @type {Problem | undefined} */
    let ended;

    /**
     * @param {Channel} channel
     * @param {string} type
     * @param {object} about
     * @param {...any} data goes before what it is about
     */
    const tell = ({ name, feeds }, type, about, ...data) => {
        for (const feed of [...feeds]) if (feeds.has(feed)) feed.emit(type, ...data, { channel: name, ...about });
    };

    /** @param {Channel} channel */
    const drop = channel => {
        channels.delete(channel.name);
        changed();
    };

    /**
     * A call has its answer, or never will.
     * @param {Call | undefined} call
     * @param {Problem} [problem]
     * @param {any} [data]
     */
    const settle = (call, problem, data) => {
        if (call && calls.delete(call.call_id)) call.settle(problem, data);
    };

    /**
     * Why a call is given up: it was never sent, or nobody knows what became of it.
     * @param {Call} call
     * @param {string} why
     * @returns {Problem}
     */
    const givenUp = ({ client, name }, why) => client
        ? { code: 300, reason: "outcome_unknown", message: `${name}: ${why}; it may have run` }
        : { code: 200, reason: "unavailable", message: `${name}: ${why}; it was not sent` };

    const session = {
        /** @type {string | undefined} */
        token: fetchToken ? undefined : /** @type {string} */ (given),
        /** @type {string | undefined} */
        clientId: undefined,
        channels,
        calls,

        /**
         * @param {string} name
         * @param {(data: any, meta: {offset: number, channel: string, cause?: string}) => void} [onPublication]
         * @param {{recent?: number, position?: string}} [options]
         */
        subscribe(name, onPublication, { recent, position } = {}) {
            const { on: listen, emit } = makeEvents();
            let state = false;
            const known = channels.get(name);
            /** @type {Channel} */
            const channel = known ?? { name, feeds: new Set(), cursor: { position }, recent };
            const feed = {
                channel: name,
                /**
                 * @param {string} type
                 * @param {(...values: any[]) => void} listener
                 */
                on(type, listener) {
                    // Who listens for snapshots wants them: nothing has been sent yet.
                    if (type === "snapshot") channel.snapshot = state = true;
                    return listen(type, listener);
                },
                emit,
                /** Up to where publications were delivered; undefined until the first answer. */
                get position() { return channel.cursor.position; },
                unsubscribe() {
                    if (channel.feeds.delete(feed) && !channel.feeds.size) drop(channel);
                },
            };
            if (onPublication) listen("publication", onPublication);
            if (ended) return feed;
            channel.feeds.add(feed);
            channels.set(name, channel);
            changed();
            // The channel is followed already, from further on than was asked for: say so.
            if (known) queueMicrotask(() => {
                const { position: now, keep } = channel.cursor;
                if ((position || state) && now && position !== now) emit("gap", { channel: name, position: now });
                if (keep) emit("subscribed", { channel: name, position: now, keep });
            });
            return feed;
        },

        /**
         * @param {string} name
         * @param {Record<string, unknown>} [params]
         * @param {{timeout?: number, signal?: AbortSignal}} [options]
         * @returns {Promise<any>}
         */
        call(name, params = {}, { timeout = 30, signal } = {}) {
            return new Promise((resolve, reject) => {
                const abort = () => {
                    reject(signal?.reason);
                    settle(call);
                };
                /** @type {Call} */
                const call = {
                    call_id: randomId(env),
                    name,
                    params,
                    settle(problem, data) {
                        env.clearTimeout(timer);
                        signal?.removeEventListener("abort", abort);
                        if (problem) reject(new CallError(problem));
                        else resolve(data);
                    },
                };
                const timer = env.setTimeout(() => settle(call, givenUp(call, `no answer within ${timeout} s`)), timeout * 1000);
                calls.set(call.call_id, call);
                if (ended) return settle(call, givenUp(call, "the session has ended"));
                if (signal?.aborted) return abort();
                signal?.addEventListener("abort", abort);
                changed();
            });
        },

        /** @returns {Command} */
        hello: () => ({ type: "hello", id: 1, version: 1, instance, token: session.token, client: "rtbridge-js/0.1.0" }),

        /** The token no longer holds. Where the site gives another, this one says whose it is to be. */
        forget() {
            stale = fetchToken;
            if (!fetchToken) session.token = undefined;
        },

        /** @returns {Promise<void> | undefined} to wait for, where the site has to give a token first */
        bring() {
            if (stale) bringing ??= (async fetching => {
                try {
                    session.token = await fetching(session.token);
                    stale = false;
                } finally {
                    bringing = undefined;
                }
            })(stale);
            return bringing;
        },

        /** @param {Message} message with a newer token */
        renew(message) {
            session.token = message.token ?? session.token;
            session.clientId = message.client_id ?? session.clientId;
        },

        /**
         * A `subscribed` reply or a `publications`, `gap` or `snapshot` push.
         * @param {Channel} channel
         * @param {Message} message
         * @returns {boolean} whether to subscribe again, from the cursor
         */
        merge(channel, message) {
            const { position = "", type, keep, data: state, fetch_after: fetchAfter } = message;
            if (type === "subscribed") tell(channel, type, { position, keep });
            const { cursor: next, deliver, gap, resubscribe, snapshot } = merge(channel.cursor, message);
            if (gap || snapshot) channel.cursor = next;
            if (snapshot) tell(channel, "snapshot", { position, gap }, state);
            else if (gap) tell(channel, "gap", { position, ...(fetchAfter && { fetchAfter }) });
            for (const { offset, data, cause } of deliver) {
                // Step by step, so that `feed.position` never names what a listener has not seen.
                channel.cursor = { ...next, position: split(position)[0] + "." + offset };
                tell(channel, "publication", { offset, cause }, data);
            }
            channel.cursor = next;
            return resubscribe;
        },

        /**
         * The channel is followed apart from now on, or no longer.
         * @param {Channel} channel
         * @param {Limit} [limit]
         */
        limit(channel, limit) {
            if (limit && channel.apart) return;
            channel.apart = limit;
            if (limit) followApart(channel, limit);
        },

        /**
         * The server will not (or no longer) let us follow the channel.
         * @param {Channel} channel
         * @param {Problem} problem
         */
        refuse(channel, problem) {
            tell(channel, "error", problem);
            tell(channel, "end", problem);
            if (!channel.feeds.size) return; // they have all left by themselves
            channel.feeds.clear();
            drop(channel);
        },

        settle,
        tell,

        /**
         * Send what waits over a link that works.
         * @param {Link} link
         */
        flush(link) {
            const waiting = [...calls.values()].filter(call => {
                if (call.link) return false;
                // The stored reply belongs to the session it was sent in. In another one it would run a second time.
                const elsewhere = call.client && call.client !== session.clientId;
                if (elsewhere) settle(call, givenUp(call, "the session has ended"));
                return !elsewhere;
            });
            for (const call of waiting) [call.link, call.client] = [link, session.clientId];
            if (waiting[0]) link.call(waiting);
        },

        /**
         * Calls that this link carried must be sent again.
         * @param {Link} link
         * @param {Iterable<Call>} [carried]
         */
        release(link, carried = calls.values()) {
            for (const call of carried) if (call.link === link) call.link = undefined;
            changed();
        },

        /** @param {Problem} problem */
        end(problem) {
            ended = problem;
            for (const channel of channels.values()) {
                tell(channel, "end", problem);
                channel.feeds.clear();
            }
            channels.clear();
            for (const call of calls.values()) settle(call, givenUp(call, "the session has ended"));
        },
    };
    return session;
}

/** @typedef {ReturnType<typeof makeSession>} Session */
