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
    /** @param {Problem & {fields?: any[], data?: any}} problem */
    constructor({ code = 0, reason = "failed", message = reason, fields = [], data, retryAfter }) {
        super(message);
        this.name = "CallError";
        this.code = code;
        this.reason = reason;
        this.fields = fields;
        this.data = data;
        this.retryAfter = retryAfter;
    }
}

/**
 * @param {Environment} env
 * @param {() => void} changed something is to be subscribed, unsubscribed or called
 * @param {(channel: Channel, limit: Limit) => () => void} followApart
 */
export function makeSession(env, changed, followApart) {
    /** @type {Map<string, Channel>} */
    const channels = new Map();
    /** @type {Map<string, Call>} */
    const calls = new Map();
    /** @type {Problem | undefined} */
    let ended;

    /**
     * @param {Channel} channel
     * @param {string} type
     * @param {...any} values
     */
    const tell = (channel, type, ...values) => {
        for (const feed of [...channel.feeds]) if (channel.feeds.has(feed)) feed.emit(type, ...values);
    };

    /** @param {Channel} channel */
    const drop = channel => {
        channel.apart?.();
        if (channels.get(channel.name) === channel) channels.delete(channel.name);
        changed();
    };

    /**
     * A call has its answer, or never will.
     * @param {Call | undefined} call
     * @param {Problem | undefined} problem
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
        ? { code: 300, reason: "outcome_unknown", message: `${name}: ${why}; it was sent and may have run` }
        : { code: 200, reason: "unavailable", message: `${name}: ${why}; it was not sent` };

    const session = {
        instance: randomId(env),
        /** @type {string | undefined} */
        token: undefined,
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
            const { on, emit } = makeEvents();
            const known = channels.get(name);
            /** @type {Channel} */
            const channel = known ?? { name, feeds: new Set(), cursor: { position }, recent };
            const feed = {
                channel: name,
                on,
                emit,
                /** Up to where publications were delivered; undefined until the first answer. */
                get position() { return channel.cursor.position; },
                unsubscribe() {
                    if (channel.feeds.delete(feed) && !channel.feeds.size) drop(channel);
                },
            };
            if (onPublication) on("publication", onPublication);
            if (ended) return feed;
            channel.feeds.add(feed);
            channels.set(name, channel);
            changed();
            // The channel is followed already, from further on than was asked for: say so.
            queueMicrotask(() => {
                const now = channel.cursor.position;
                if (known && position && now && position !== now) emit("gap", { channel: name, position: now });
                if (known && channel.cursor.keep) emit("subscribed", { channel: name, position: now, keep: channel.cursor.keep });
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
                const abort = () => settle(call, /** @type {any} */ (signal).reason);
                /** @type {Call} */
                const call = {
                    call_id: randomId(env),
                    name,
                    params,
                    settle(problem, data) {
                        env.clearTimeout(timer);
                        signal?.removeEventListener("abort", abort);
                        if (!problem) resolve(data);
                        else reject(problem === signal?.reason ? problem : new CallError(problem));
                    },
                };
                const timer = env.setTimeout(() => settle(call, givenUp(call, `no answer within ${timeout} s`)), timeout * 1000);
                calls.set(call.call_id, call);
                if (ended) return settle(call, givenUp(call, "the connection has ended"));
                if (signal?.aborted) return abort();
                signal?.addEventListener("abort", abort);
                changed();
            });
        },

        /** @returns {Omit<Command, "id">} */
        hello: () => ({ type: "hello", version: 1, instance: session.instance, token: session.token, client: "rtbridge-js/0.1.0" }),

        /** @param {Message} message with a newer token */
        renew(message) {
            session.token = message.token ?? session.token;
            session.clientId = message.client_id ?? session.clientId;
        },

        /**
         * A `subscribed` reply or a `publications` or `gap` push.
         * @param {Channel} channel
         * @param {Message} message
         * @returns {boolean} whether to subscribe again, from the cursor
         */
        merge(channel, message) {
            const { cursor } = channel;
            if (channels.get(channel.name) !== channel) return false;
            const subscribed = message.type === "subscribed";
            if (subscribed) cursor.keep = message.keep ?? cursor.keep;
            // Asked without a position, while another link already found one: from there it must go on.
            if (subscribed && cursor.position && message.recovered === undefined) return cursor.position !== message.position;
            const { cursor: next, deliver, gap, resubscribe } = merge(cursor, message);
            const position = /** @type {string} */ (message.position);
            if (subscribed) tell(channel, "subscribed", { channel: channel.name, position, keep: next.keep });
            if (gap) {
                channel.cursor = next;
                tell(channel, "gap", { channel: channel.name, position });
            }
            if ("snapshot" in message) tell(channel, "snapshot", message.snapshot, { channel: channel.name, position });
            for (const { offset, data, cause } of deliver) {
                // Step by step, so that `feed.position` never names what a listener has not seen.
                channel.cursor = { keep: next.keep, position: `${split(position)[0]}.${offset}` };
                tell(channel, "publication", data, { offset, channel: channel.name, cause });
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
            channel.apart?.();
            channel.apart = limit && channels.get(channel.name) === channel ? followApart(channel, limit) : undefined;
        },

        /**
         * The server will not (or no longer) let us follow the channel.
         * @param {Channel} channel
         * @param {Problem} problem
         */
        refuse(channel, problem) {
            if (channels.get(channel.name) !== channel) return;
            tell(channel, "error", problem);
            tell(channel, "end", problem);
            channel.feeds.clear();
            drop(channel);
        },

        settle,
        tell,
        changed,

        /**
         * Send what waits over a link that works.
         * @param {Link} link
         */
        flush(link) {
            const commands = [];
            for (const call of [...calls.values()]) {
                if (call.link) continue;
                // The stored reply belongs to the session it was sent in. In another one it would run a second time.
                if (call.client && call.client !== session.clientId) {
                    settle(call, givenUp(call, "the session it belonged to is over"));
                    continue;
                }
                call.link = link;
                call.client = session.clientId;
                commands.push(link.ask(call));
            }
            if (commands.length) link.send(commands);
        },

        /**
         * Calls that this link carried must be sent again.
         * @param {Link} link
         */
        release(link) {
            for (const call of calls.values()) if (call.link === link) call.link = undefined;
            changed();
        },

        /** @param {Problem} problem */
        end(problem) {
            ended = problem;
            for (const channel of [...channels.values()]) {
                channel.apart?.();
                tell(channel, "end", problem);
            }
            channels.clear();
            for (const call of [...calls.values()]) settle(call, givenUp(call, "the connection has ended"));
        },
    };
    return session;
}

/** @typedef {ReturnType<typeof makeSession>} Session */
