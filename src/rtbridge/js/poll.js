/**
 * The drivers over plain HTTP: short poll, long poll and event stream. All three send the same request; they differ in
 * how long the answer may take and in how it is read.
 *
 * One request at a time asks what is new (`current`). It is given up and sent anew when what is followed has changed.
 * Calls go out beside it in requests of their own, which are never given up: they might have been carried out.
 *
 * @import {Command, Driver, Message, Port, Problem, Rung, Surroundings} from "./types.js"
 */
import { json } from "./data.js";
import { pause, read, request } from "./http.js";

/** How much longer than its `wait` a poll may take, in seconds. */
const PATIENCE = 10;

/**
 * @param {Port} port
 * @param {Surroundings} surroundings
 * @param {Rung} rung
 * @returns {Driver}
 */
export function poll(port, surroundings, rung) {
    const { env, codec } = surroundings;
    /** @type {AbortController | undefined} */
    let current;
    /** @type {unknown} */
    let timer;
    const streamed = rung === "eventstream";

    /**
     * @param {Command[]} commands
     * @param {number} wait
     * @param {AbortSignal} [signal]
     */
    const post = (commands, wait, signal) => request(surroundings, "poll", {
        method: "POST",
        headers: { "Content-Type": codec.type, Accept: signal && streamed ? "text/event-stream" : codec.type },
        body: /** @type {any} */ (codec.encode({ wait, commands })),
        signal,
    });

    /**
     * Ask what is new.
     * @param {boolean} [soon] have an answer at once, whether there is something or not
     */
    const ask = async soon => {
        env.clearTimeout(timer);
        const began = env.now();
        const mine = new AbortController();
        const superseded = current;
        current = mine;
        if (!streamed) superseded?.abort();
        const wait = rung === "longpoll" && !soon ? port.terms.wait : 0;
        port.expect(wait + PATIENCE);
        try {
            const response = await post(port.opening(), wait, mine.signal);
            if (streamed) {
                await readStream(/** @type {any} */ (response.body), message => {
                    if (current !== mine) return;
                    superseded?.abort(); // the new one is there: only now the old one may go
                    port.receive(message);
                    port.expect(port.terms.ping * 2);
                });
                throw {}; // a stream has no end
            }
            const { messages, interval } = await read(response, codec);
            if (current !== mine) return;
            port.expect(Infinity);
            messages.forEach(port.receive);
            if (current !== mine) return; // what was received made us stop, or ask anew
            const more = messages.some((/** @type {Message} */ message) => message.more);
            // A server that answers empty long polls at once would otherwise be asked without a pause.
            const parked = rung === "longpoll" && interval == null && (soon || messages.length > 1 || env.now() - began > 1000);
            timer = env.setTimeout(ask, pause(env, more || parked, interval ?? port.terms.interval));
        } catch (problem) {
            if (current === mine) port.end(/** @type {Problem} */ (problem));
        }
    };

    return {
        start: () => void ask(true),
        async send(commands) {
            const { messages } = await read(await post([port.hello(), ...commands], commands[0].id ? port.terms.wait : 0), codec);
            messages.forEach(port.receive);
            // What had no reply in time is then sent again, but not at once.
            await new Promise(resolve => env.setTimeout(() => resolve(0), 1000));
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
    const reader = body.pipeThrough(/** @type {any} */ (new TextDecoderStream())).getReader();
    let text = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        const lines = (text + value).split(/\r?\n/);
        text = /** @type {string} */ (lines.pop());
        // Each message is one line.
        for (const line of lines) if (line.startsWith("data:")) receive(json.decode(line.slice(5)));
    }
}
