/**
 * What the server says to this client or its user: letters in the channel `~me`; see "The private channel" in the
 * protocol page. Loaded when the page listens for such, or can be asked something.
 *
 * @import {Session} from "./session.js"
 */

/** What a page's function gets that answers a question, and what it may return. @typedef {(params: any) => unknown} Handler */

/**
 * @param {Session} session
 * @param {Map<string, Handler>} handlers by name
 * @param {(type: string, ...values: any[]) => void} emit
 */
export function followMe(session, handlers, emit) {
    /** @param {any} question */
    const answer = async ({ ask_id, name, params = {} }) => {
        let reply;
        try {
            const handler = handlers.get(name);
            reply = handler ? { data: await handler(params) ?? null } : { code: 105, message: `this page does not know ${name}` };
        } catch (error) {
            reply = { code: 202, message: `${name}: ${error instanceof Error ? error.message : error}`.slice(0, 500) };
            console.error(error);
        }
        // Nobody may be waiting for it any more; then it makes no difference.
        session.send({ type: "answer", ask_id, ...reply }, ask_id, name, {}).catch(() => {});
    };

    /** @type {Map<string, (letter: any, meta: any) => void>} by type */
    const letters = new Map(Object.entries({
        data: ({ data, to }, { offset, cause }) => emit("message", data, { to, offset, cause }),
        subscribe: ({ channel, position }) => emit("invitation", { channel, position }),
        unsubscribe: ({ channel }) => {
            const known = session.channels.get(channel);
            if (known) session.refuse(known, { reason: "dismissed", message: `the server took us out of ${channel}` });
            emit("dismissal", { channel });
        },
        call: answer,
    }));

    const feed = session.subscribe("~me", (letter, meta) => letters.get(letter?.type)?.(letter, meta));
    feed.on("gap", about => emit("gap", about));
    feed.on("error", problem => emit("error", problem));
}
