/**
 * One connection of the session: it numbers commands, knows what is followed over *this* connection, and takes each
 * message to where it belongs. Which connection is used, and what comes after it, is the ladder's affair.
 *
 * @import {Call, Channel, Command, Driver, Environment, Link, Message, Problem, Rung} from "./types.js"
 * @import {Session} from "./session.js"
 */
import { isFinal, problemOf } from "./http.js";
import { split } from "./merge.js";

/**
 * How a channel stands on this connection: asked for; pushed here; or not here (followed apart, or to be tried later).
 * @typedef {"asked" | "on" | "off"} Standing
 */

/**
 * @param {Rung} rung
 * @param {Environment} env
 * @param {Session} session
 * @param {(link: Link) => Driver} drive
 * @param {(link: Link, message: Message) => void} greeted a hello was answered
 * @param {(link: Link, problem: Problem) => void} ended
 * @returns {Link}
 */
export function makeLink(rung, env, session, drive, greeted, ended) {
    const duplex = rung === "websocket";
    /** @type {Map<Channel, Standing>} */
    const followed = new Map();
    /** What we said of ourselves over this connection. @type {Map<Channel, unknown>} */
    const told = new Map();
    /** Where this connection stands, while another may have brought the cursor further. @type {Map<Channel, string | undefined>} */
    const stood = new Map();
    /** Whose command had this id. @type {Map<unknown, Channel | Call>} */
    const asked = new Map();
    let lastId = 1;
    let opened = false;
    let over = false;

    /** @param {Channel | Call} target */
    const newId = target => {
        asked.set(++lastId, target);
        return lastId;
    };

    /**
     * @param {Channel} channel
     * @returns {Command}
     */
    const subscribe = channel => {
        const { name, cursor: { position }, recent, snapshot, presence } = channel;
        told.set(channel, presence);
        stood.set(channel, position);
        // Once confirmed, a poll repeats it without an id, and may be parked.
        const id = followed.get(channel) === "on" ? undefined : newId(channel);
        if (id) followed.set(channel, "asked");
        return { type: "subscribe", id, channel: name, position, recent: position ? undefined : recent, snapshot, presence };
    };

    /** @param {Channel} channel */
    const present = channel => {
        told.set(channel, channel.presence);
        return { type: "presence", channel: channel.name, data: channel.presence };
    };

    /** @param {Channel} channel */
    const unsubscribe = channel => {
        followed.delete(channel);
        return { type: "unsubscribe", channel: channel.name };
    };

    /**
     * The server does not let us follow the channel: now, or at all.
     * @param {Channel} channel
     * @param {Problem} problem
     */
    const refused = (channel, problem) => {
        if (/** @type {number} */ (problem.code) < 200) {
            followed.delete(channel);
            return session.refuse(channel, problem);
        }
        session.tell(channel, "error", problem);
        followed.set(channel, "off");
        env.setTimeout(() => {
            followed.delete(channel);
            link.sync();
        }, (problem.retryAfter ?? 5) * 1000);
    };

    /**
     * Whether it is a gap of this connection only: it was behind another one in the same log, where what comes after the
     * cursor may well be there still.
     * @param {Channel} channel
     * @param {Message} message
     */
    const isLate = ({ cursor: { position: own } }, { type, position, recovered }, /** @type {string | undefined} */ after) => {
        if (!own || own === after || type === "snapshot" || type !== "gap" && recovered !== false) return false;
        const [epoch, offset] = split(/** @type {string} */ (position));
        const [ownEpoch, ownOffset] = split(own);
        return epoch === ownEpoch && ownOffset < offset;
    };

    /** @param {Message} message */
    const receive = message => {
        const { type, id, limit } = message;
        const target = asked.get(id);
        const problem = problemOf(message);
        asked.delete(id);
        // Requests with calls outlive their link.
        if (type === "error" && target) return "feeds" in target ? refused(target, problem) : session.deny(target, problem);
        if (target && "key" in target) return session.settle(target, undefined, message);
        if (over) return;
        if (type === "hello") {
            link.terms = { ...link.terms, ...message };
            session.renew(message);
            greeted(link, message);
        } else if (type === "token") session.renew(message);
        else if (type === "ping") {
            if (duplex) driver.send([{ type: "pong" }]);
        } else if (type === "disconnect" || type === "error" && id === 1) link.end(problem);
        else {
            const channel = /** @type {Channel} */ (target ?? session.channels.get(/** @type {string} */ (message.channel)));
            // Otherwise it is of a subscription that is no more.
            if (!channel || followed.get(channel) !== (id ? "asked" : "on")) return;
            if (type === "unsubscribed") return refused(channel, problem);
            if (id) followed.set(channel, limit ? "off" : "on");
            const after = stood.get(channel);
            stood.set(channel, message.position);
            const hole = isLate(channel, message, after) || session.merge(channel, message);
            if (id) session.limit(channel, limit);
            if (!hole || limit) return;
            if (duplex) driver.send([unsubscribe(channel), subscribe(channel)]);
            else driver.start();
        }
    };

    const wanted = () => [...session.channels.values()];

    /** @type {Link} */
    const link = {
        rung,
        terms: { type: "hello", ping: 25, wait: 25, interval: 5 },
        since: env.now(),
        deadline: Infinity,
        greeted: false,
        receive,
        hello: session.hello,
        opening() {
            opened = true;
            return [session.hello(), ...wanted().filter(channel => followed.get(channel) !== "off").map(subscribe)];
        },
        expect(seconds) { link.deadline = env.now() + seconds * 1000; },
        start: () => driver.start(),
        call(calls) {
            return link.send(calls.map(call => ({ ...call.command, id: newId(call) })), calls);
        },
        async send(commands, calls = []) {
            try {
                await driver.send(commands);
            } catch (error) {
                const problem = /** @type {Problem} */ (error);
                if (isFinal(problem)) for (const call of calls) session.settle(call, problem);
                else link.end(problem);
            }
            if (!duplex) session.release(link, calls);
        },
        /** Make what is followed here agree with what the session follows. */
        sync() {
            if (!opened || over) return;
            const gone = [...followed.keys()].filter(channel => !channel.feeds.size).map(unsubscribe);
            const fresh = wanted().filter(channel => !followed.has(channel));
            const news = wanted().filter(channel => /on|asked/.test(followed.get(channel) ?? "") && told.get(channel) !== channel.presence);
            if (!gone[0] && !fresh[0] && !news[0]) return;
            if (duplex) driver.send([...gone, ...fresh.map(subscribe), ...news.map(present)]);
            else driver.start();
        },
        /** Find out soon whether this connection is still alive. */
        probe() {
            if (!duplex) return driver.start();
            driver.send([{ type: "ping", id: ++lastId }]);
            link.expect(3);
        },
        end(problem = {}) {
            if (over) return;
            link.stop();
            ended(link, problem);
        },
        stop() {
            over = true;
            driver.stop();
            // What a socket carried is to be sent again; requests with calls go on to their end.
            if (duplex) session.release(link);
        },
    };
    const driver = drive(link);
    return link;
}
