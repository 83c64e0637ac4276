/**
 * One connection of the session: it numbers commands, knows what is followed over *this* connection, and takes each
 * message to where it belongs. Which connection is used, and what comes after it, is the ladder's affair.
 *
 * @import {Call, Channel, Command, Driver, Environment, Link, Message, Port, Problem, Rung} from "./types.js"
 * @import {Session} from "./session.js"
 */
import { problemOf } from "./http.js";

/**
 * How a channel stands on this connection.
 * @typedef {"asked" | "on" | "apart" | "later"} Standing
 */

/**
 * @param {object} made
 * @param {Rung} made.rung
 * @param {Environment} made.env
 * @param {Session} made.session
 * @param {(port: Port) => Driver} made.drive
 * @param {(link: Link, message: Message) => void} made.greeted a hello was answered
 * @param {(link: Link, problem: Problem) => void} made.ended
 * @returns {Link}
 */
export function makeLink({ rung, env, session, drive, greeted, ended }) {
    const duplex = rung === "websocket";
    /** @type {Map<Channel, Standing>} */
    const followed = new Map();
    /** What a reply's id was given to. @type {Map<number, Channel | Call>} */
    const asked = new Map();
    /** @type {Message} */
    let terms = { type: "hello" };
    let lastId = 1;
    let opened = false;
    let over = false;

    const hello = () => ({ ...session.hello(), type: "hello", id: 1 });

    /**
     * @param {Channel} channel
     * @returns {Command}
     */
    const subscribe = channel => {
        const { name, cursor: { position }, recent } = channel;
        const command = { type: "subscribe", channel: name, ...(position ? { position } : { recent }) };
        // Once confirmed, a poll repeats it without an id, and may be parked.
        if (followed.get(channel) === "on") return command;
        followed.set(channel, "asked");
        asked.set(++lastId, channel);
        return { ...command, id: lastId };
    };

    /** @param {Channel} channel */
    const again = channel => {
        if (duplex) driver.send([{ type: "unsubscribe", channel: channel.name }, (followed.delete(channel), subscribe(channel))]);
        else driver.start();
    };

    /**
     * @param {Channel} channel
     * @param {Message} message
     */
    const follow = (channel, message) => {
        if (message.type === "subscribed") {
            followed.set(channel, message.limit ? "apart" : "on");
        } else if (followed.get(channel) !== "on") return; // of a subscription that is no more
        const hole = session.merge(channel, message);
        if (message.type === "subscribed") session.limit(channel, message.limit);
        if (hole && !message.limit) again(channel);
    };

    /**
     * The server does not let us follow the channel: now, or at all.
     * @param {Channel} channel
     * @param {Problem} problem
     */
    const refused = (channel, problem) => {
        const { code = 0, retryAfter = 5 } = problem;
        if (code < 200) {
            followed.delete(channel);
            return session.refuse(channel, problem);
        }
        session.tell(channel, "error", problem);
        followed.set(channel, "later");
        env.setTimeout(() => {
            followed.delete(channel);
            link.sync();
        }, retryAfter * 1000);
    };

    /**
     * An error reply.
     * @param {number} id
     * @param {Problem} problem
     */
    const fail = (id, problem) => {
        const target = asked.get(id);
        asked.delete(id);
        if (!target) return id === 1 ? link.end(problem) : undefined;
        if ("call_id" in target) session.settle(target, problem);
        else refused(target, problem);
    };

    /** @type {Port["receive"]} */
    const receive = message => {
        const { type, id = 0 } = message;
        const target = asked.get(id);
        const channel = target && "feeds" in target ? target : session.channels.get(message.channel ?? "");
        if (type === "result") {
            asked.delete(id);
            return session.settle(session.calls.get(message.call_id), undefined, message.data);
        }
        if (type === "error" && (!over || target)) return fail(id, problemOf(/** @type {any} */ (message)));
        if (over) return;
        link.heard = env.now();
        if (type === "hello") {
            terms = message;
            session.renew(message);
            greeted(link, message);
        } else if (type === "token") session.renew(message);
        else if (type === "ping") {
            if (duplex) driver.send([{ type: "pong" }]);
        } else if (type === "disconnect") link.end(problemOf(/** @type {any} */ (message)));
        else if (!channel) return;
        else if (type === "unsubscribed") {
            if (followed.get(channel) === "on") refused(channel, problemOf(/** @type {any} */ (message)));
        } else if (message.position) {
            asked.delete(id);
            follow(channel, message);
        }
    };

    /** @type {Link} */
    const link = {
        rung,
        since: env.now(),
        heard: env.now(),
        deadline: env.now() + 10000,
        greeted: false,
        start: () => driver.start(),
        /** Make what is followed here agree with what the session follows. */
        sync() {
            if (!opened || over) return;
            const gone = [...followed.keys()].filter(channel => session.channels.get(channel.name) !== channel);
            const fresh = [...session.channels.values()].filter(channel => !followed.has(channel));
            for (const channel of gone) followed.delete(channel);
            if (!gone.length && !fresh.length) return;
            if (duplex) driver.send([...gone.map(({ name }) => ({ type: "unsubscribe", channel: name })), ...fresh.map(subscribe)]);
            else driver.start();
        },
        send: commands => driver.send(commands),
        ask(call) {
            const { call_id, name, params } = call;
            asked.set(++lastId, call);
            return { type: "call", id: lastId, call_id, name, params };
        },
        /** Find out soon whether this connection is still alive. */
        probe() {
            if (!duplex) return driver.start();
            driver.send([{ type: "ping", id: ++lastId }]);
            link.deadline = Math.min(link.deadline, env.now() + 3000);
        },
        end(problem = {}) {
            if (over) return;
            link.stop();
            ended(link, problem);
        },
        stop() {
            over = true;
            driver.stop();
            // Requests that carry calls go on to their end; what a socket carried is to be sent again.
            if (duplex) session.release(link);
        },
    };

    const driver = drive({
        receive,
        hello,
        opening() {
            opened = true;
            for (const [channel] of followed) if (session.channels.get(channel.name) !== channel) followed.delete(channel);
            const wanted = [...session.channels.values()].filter(channel => !/apart|later/.test(followed.get(channel) ?? ""));
            return [hello(), ...wanted.map(subscribe)];
        },
        expect(seconds) { link.deadline = env.now() + seconds * 1000; },
        end: link.end,
        unanswered(commands) {
            for (const { id } of commands) {
                const call = asked.get(/** @type {number} */ (id));
                asked.delete(/** @type {number} */ (id));
                if (call && "call_id" in call && call.link === link) call.link = undefined;
            }
            session.changed();
        },
        terms: () => terms,
    });
    return link;
}
