/**
 * The WebSocket driver: the messages as they are, both ways.
 *
 * @import {Driver, Port, Surroundings} from "./types.js"
 */

/**
 * @param {Port} port
 * @param {Surroundings} surroundings
 * @returns {Driver}
 */
export function websocket(port, { env, base, codec }) {
    /** @type {WebSocket | undefined} */
    let socket;
    /** @param {unknown} value one command or an array of them */
    const write = value => {
        if (socket?.readyState === 1) socket.send(codec.encode(value));
    };
    return {
        start() {
            port.expect(10);
            try {
                const url = base.replace(/^http/, "ws") + "ws?version=1&codec=" + codec.name;
                socket = new /** @type {any} */ (env.WebSocket)(url);
            } catch {
                return port.end(); // forbidden by the page's content security policy, for one
            }
            const mine = /** @type {WebSocket} */ (socket);
            mine.binaryType = "arraybuffer";
            mine.onopen = () => write(port.opening());
            mine.onmessage = ({ data }) => {
                port.receive(codec.decode(data));
                port.expect(port.terms.ping * 2);
            };
            mine.onclose = ({ code, reason }) => port.end({ code, reason });
        },
        // Each in a frame of its own: together they might be larger than a message may be.
        send: commands => commands.forEach(write),
        stop: () => socket?.close(1000),
    };
}
