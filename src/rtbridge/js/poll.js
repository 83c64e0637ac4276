/**
 * The drivers over plain HTTP: short poll, long poll and event stream. All three send the same request; they differ in
 * how long the answer may take and in how it is read.
 *
 * One request at a time asks what is new (`current`). It is given up and sent anew when what is followed has changed.
 * Calls go out beside it in requests of their own, which are never given up: they might have been carried out.
 *
 * @import {Command, Driver, Message, Port, Problem, Rung, Surroundings} from "./types.js"
 */
import { answer, HIDDEN_FACTOR } from "./http.js";
import { json } from "./data.js";

/** How much longer than its `wait` a poll may take, in seconds. */
const PATIENCE = 10;

/**
 * @param {Port} port
 * @param {Surroundings} surroundings
 * @param {Rung} rung
 * @returns {Driver}
 */
export function poll(port, { env, base, codec }, rung) {
    /** @type {AbortController | undefined} */
    let current;
    /** @type {unknown} */
    let timer;
    const streamed = rung === "eventstream";

    /**
     * @param {Command[]} commands
     * @param {number} wait
     * @param {RequestInit} init
     */
    const post = (commands, wait, init = {}) => env.fetch(base + "poll", {
        method: "POST",
        credentials: "same-origin",
        cache: "no-store",
        headers: { "Content-Type": codec.type, Accept: codec.type },
        body: /** @type {any} */ (codec.encode({ wait, commands })),
        ...init,
    });

    /**
     * Ask what is new.
     * @param {boolean} [soon] have an answer at once, whether there is something or not
     */
    const ask = async soon => {
        env.clearTimeout(timer);
        const mine = new AbortController();
        const superseded = current;
        current = mine;
        if (!streamed) superseded?.abort();
        const began = env.now();
        const wait = rung === "longpoll" && !soon ? port.terms().wait ?? 25 : 0;
        port.expect(wait + PATIENCE);
        try {
            if (streamed) {
                const headers = { "Content-Type": codec.type, Accept: "text/event-stream" };
                const response = await post(port.opening(), 0, { headers, signal: mine.signal });
                if (!response.ok || !response.body) await answer(response, codec);
                await readStream(/** @type {any} */ (response.body), message => {
                    if (current !== mine) return mine.abort();
                    superseded?.abort(); // the new one is there: only now the old one may go
                    port.receive(message);
                    port.expect((port.terms().ping ?? 25) * 2);
                });
                if (current === mine) port.end();
                return;
            }
            const { messages, interval } = await answer(await post(port.opening(), wait, { signal: mine.signal }), codec);
            if (current !== mine) return;
            port.expect(Infinity);
            messages.forEach(port.receive);
            if (current !== mine) return; // what was received made us stop, or ask anew
            const more = messages.some((/** @type {Message} */ message) => message.more);
            // A server that answers empty long polls at once would otherwise be asked without a pause.
            const parked = rung === "longpoll" && (soon || messages.length > 1 || env.now() - began > 1000);
            const pause = interval ?? (more || parked ? 0 : (port.terms().interval ?? 5) * (env.hidden() ? HIDDEN_FACTOR : 1));
            timer = env.setTimeout(() => void ask(), pause * 1000);
        } catch (problem) {
            if (current === mine) port.end(/** @type {Problem} */ (problem));
        }
    };

    return {
        start: () => void ask(true),
        async send(commands) {
            try {
                const wait = port.terms().wait ?? 25;
                const { messages } = await answer(await post([port.hello(), ...commands], wait), codec);
                messages.forEach(port.receive);
                env.setTimeout(() => port.unanswered(commands), 1000);
            } catch (problem) {
                const { code = 0 } = /** @type {Problem} */ (problem);
                // The request itself is at fault: no use in sending these commands again.
                if (code >= 100 && code < 200) {
                    for (const { id } of commands) port.receive({ .../** @type {any} */ (problem), type: "error", id });
                }
                port.unanswered(commands);
                port.end(/** @type {Problem} */ (problem));
            }
        },
        stop() {
            env.clearTimeout(timer);
            current?.abort();
            current = undefined;
        },
    };
}

/**
 * Read an event stream to its end.
 * @param {ReadableStream<Uint8Array>} body
 * @param {(message: Message) => void} receive
 */
async function readStream(body, receive) {
    const reader = body.getReader();
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += decoder.decode(value, { stream: true });
        const events = text.split(/\r?\n\r?\n/);
        text = /** @type {string} */ (events.pop());
        for (const event of events) {
            const data = event.split(/\r?\n/).filter(line => line.startsWith("data:")).map(line => line.slice(5)).join("\n");
            if (data) receive(json.decode(data));
        }
    }
}
