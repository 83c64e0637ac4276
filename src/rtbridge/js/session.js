/**
 * The core: what is followed, up to where, and which calls have no answer yet. It knows nothing of sockets, requests or
 * retries, and leaves to modules of their own what most pages do without. Links bring it messages and ask it what to send; several links at once are no trouble, because there is a cursor.
 *
 * @import {Call, Channel, Command, Environment, Limit, Link, Message, Problem, SendOptions, Shown} from "./types.js"
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
 * @param {(channel: Channel) => void} attend somebody wants to know who is on it
 * @param {import("./client.js").Options["token"]} [given] by the site: a token, or who fetches one
 */
export function makeSession(env, changed, followApart, attend, given) {
    const fetchToken = typeof given === "function" && given;
    let stale = fetchToken;
    /** @type {Promise<void> | undefined} */
    let bringing;
    /** @type {Map<string, Channel>} */
    const channels = new Map();
    /** @type {Map<string, Call>} */
    const calls = new Map();
    /** What is shown before it is true, by the id of the call that will make it so. @type {Map<string, Shown>} */
    const shown = new Map();
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
        channel.leave?.();
        channels.delete(channel.name);
        changed();
    };

    /** @param {string} name */
    const shownIn = name => [...shown].filter(([, item]) => item.name === name);

    /**
     * It is not shown any more.
     * @param {string} cause
     * @param {CallError} [error] why not; otherwise the channel has gone past it
     */
    const withdraw = (cause, error) => {
        const { name = "", data } = shown.get(cause) ?? {};
        const channel = channels.get(name);
        shown.delete(cause);
        if (channel) tell(channel, "rollback", { cause, error }, data);
    };

    /**
     * What a call published has been here, or is in the state that came in its place.
     * @param {Channel | undefined} channel
     */
    const withdrawPassed = channel => {
        if (!channel?.cursor.position) return;
        const [epoch, offset] = split(channel.cursor.position);
        for (const [cause, { position }] of shownIn(channel.name)) {
            if (!position) continue;
            const [itsEpoch, itsOffset] = split(position);
            if (itsEpoch !== epoch || itsOffset <= offset) withdraw(cause);
        }
    };

    /**
     * A call has its answer, or never will.
     * @param {Call | undefined} call
     * @param {Problem} [problem]
     * @param {Message} [result]
     */
    const settle = (call, problem, result) => {
        if (!call || !calls.delete(call.key)) return;
        const error = problem && new CallError(problem);
        const item = shown.get(call.key);
        call.settle(error, result?.data);
        if (!item) return;
        item.position = result?.positions?.[item.name];
        if (item.position) withdrawPassed(channels.get(item.name));
        else withdraw(call.key, error);
    };

    /**
     * Why a call is given up: it was never sent, or nobody knows what became of it.
     * @param {Call} call
     * @param {string} why
     * @returns {Problem}
     */
    const givenUp = ({ sent, name }, why) => sent
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
         * @param {{recent?: number, position?: string, presence?: Record<string, unknown>}} [options]
         */
        subscribe(name, onPublication, { recent, position, presence } = {}) {
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
                    if (/^(presence|join|leave)$/.test(type)) attend(channel);
                    if (type === "provisional") {
                        for (const [cause, { data }] of shownIn(name)) queueMicrotask(() => listener(data, { channel: name, cause }));
                    }
                    return listen(type, listener);
                },
                emit,
                /**
                 * What this page tells of itself to those who follow the channel's presence.
                 * @param {Record<string, unknown>} data in place of all that was told before
                 */
                present(data) {
                    channel.presence = data;
                    changed();
                },
                /** Up to where publications were delivered; undefined until the first answer. */
                get position() { return channel.cursor.position; },
                unsubscribe() {
                    if (channel.feeds.delete(feed) && !channel.feeds.size) drop(channel);
                },
            };
            if (onPublication) listen("publication", onPublication);
            channel.presence = presence ?? channel.presence;
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
         * @param {SendOptions} [options]
         * @returns {Promise<any>}
         */
        call(name, params = {}, { call_id = randomId(env), ...options } = {}) {
            return session.send({ type: "call", call_id, name, params }, call_id, name, options);
        },

        /**
         * Send a command until it is answered.
         * @param {Command} command
         * @param {string} key its own, in every retry
         * @param {string} name for messages
         * @param {SendOptions} options
         * @returns {Promise<any>}
         */
        send(command, key, name, { timeout = 30, signal, optimistic, client, sent, sending }) {
            return new Promise((resolve, reject) => {
                const abort = () => {
                    reject(signal?.reason);
                    settle(call, { reason: "aborted", message: `${name}: aborted` });
                };
                /** @type {unknown} */
                let timer;
                /** @type {Call} */
                const call = {
                    key, command, name, client, sent, sending,
                    deadline: Infinity,
                    expire(seconds) {
                        env.clearTimeout(timer);
                        call.deadline = env.now() + seconds * 1000;
                        timer = env.setTimeout(() => settle(call, givenUp(call, `no answer within ${timeout} s`)), seconds * 1000);
                    },
                    settle(error, data) {
                        env.clearTimeout(timer);
                        signal?.removeEventListener("abort", abort);
                        if (error) reject(error);
                        else resolve(data);
                    },
                };
                calls.set(key, call);
                call.expire(timeout);
                if (optimistic) {
                    const [{ channel: name }, data] = optimistic;
                    const channel = channels.get(name);
                    shown.set(key, { name, data });
                    if (channel) tell(channel, "provisional", { cause: key }, data);
                }
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
            if (snapshot) {
                tell(channel, "snapshot", { position, gap }, state);
                withdrawPassed(channel);
                for (const [cause, { data }] of shownIn(channel.name)) tell(channel, "provisional", { cause }, data);
            } else if (gap) tell(channel, "gap", { position, ...(fetchAfter && { fetchAfter }) });
            for (const { offset, data, cause } of deliver) {
                // Step by step, so that `feed.position` never names what a listener has not seen.
                channel.cursor = { ...next, position: split(position)[0] + "." + offset };
                const replaces = shown.get(cause ?? "")?.name === channel.name;
                if (replaces) shown.delete(/** @type {string} */ (cause));
                tell(channel, "publication", { offset, cause, ...(replaces && { replaces }) }, data);
            }
            channel.cursor = next;
            withdrawPassed(channel);
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
         * The server has not carried a call out.
         * @param {Call} call
         * @param {Problem} problem
         */
        deny(call, problem) {
            const { code, retryAfter = 5 } = problem;
            // What is kept can wait until the server has room for it, or is whole again.
            if (!call.sending || code !== 200 && code !== 201) return settle(call, problem);
            call.waits = true;
            env.setTimeout(() => {
                call.waits = false;
                call.link = undefined;
                changed();
            }, retryAfter * 1000);
        },

        /**
         * Send what waits over a link that works.
         * @param {Link} link
         */
        flush(link) {
            const waiting = [...calls.values()].filter(call => {
                if (call.link || call.waits) return false;
                // The stored reply belongs to the session it was sent in. In another one it would run a second time.
                const elsewhere = call.client && call.client !== session.clientId;
                const late = env.now() > call.deadline; // the page was asleep
                if (elsewhere || late) settle(call, givenUp(call, late ? "too late" : "the session has ended"));
                return !elsewhere && !late;
            });
            for (const call of waiting) {
                [call.link, call.client, call.sent] = [link, session.clientId, true];
                call.sending?.(call);
            }
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
