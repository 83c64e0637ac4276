/**
 * A server in memory that speaks docs/reference/protocol.md, and the network before it, which can be made as bad as a
 * test likes: `blocked` transports fail, `silent` ones never answer, `down` refuses everything, `faults` decides per request.
 */
import { json } from "../../../src/rtbridge/js/data.js";
import { msgpack } from "../../../src/rtbridge/js/msgpack.js";

const OFFERS = ["websocket", "eventstream", "longpoll", "shortpoll"];
const REASONS = {
    102: "unsupported_version", 103: "hello_expected", 104: "no_such_channel", 105: "no_such_call",
    109: "already_subscribed", 110: "not_subscribed", 200: "unavailable", 202: "failed",
};
const codecOf = text => /msgpack/.test(text) ? msgpack : json;
const parse = position => {
    const dot = position.lastIndexOf(".");
    return [position.slice(0, dot), +position.slice(dot + 1)];
};

export class Server {
    latency = 10;
    offers = OFFERS;
    blocked = new Set();
    silent = new Set();
    down = false;
    wait = 25;
    interval = 5;
    ping = 25;
    room = true;
    /** Publications in one answer. */
    page = 100;
    channels = new Map();
    handlers = new Map();
    calls = new Map();
    connections = new Set();
    /** Everything asked over HTTP, and every command. */
    requests = [];
    commands = [];
    sockets = 0;
    /** What each call has published: its last position, by channel. */
    caused = new Map();
    /** Answers to what was asked, by its id. */
    answers = new Map();
    /** How often each call_id was carried out. */
    ran = new Map();
    /** (what: "request" | "answer" | "message" | "push", transport) => undefined | "drop" | extra ms */
    faults = () => undefined;
    /** (command) => an error to answer it with */
    refuse = () => undefined;
    /** (request) => {status, body, headers} of a request that fails as a whole */
    fail = () => undefined;
    #clients = 0;
    #epochs = 0;

    constructor(clock) {
        this.clock = clock;
        const server = this;
        this.WebSocket = class extends FakeSocket {
            constructor(url) { super(server, url); }
        };
    }

    channel(name, { keep = "history", size = 100, ...rest } = {}) {
        const channel = { name, keep, size, epoch: "E" + ++this.#epochs, offset: 0, log: [], limit: undefined, ...rest };
        this.channels.set(name, channel);
        return channel;
    }

    /** The log forgets everything, and says so with a new epoch. */
    forget(name) {
        Object.assign(this.channels.get(name), { epoch: "E" + ++this.#epochs, offset: 0, log: [] });
    }

    position(name) {
        const { epoch, offset } = this.channels.get(name);
        return `${epoch}.${offset}`;
    }

    publish(name, data, cause) {
        const channel = this.channels.get(name);
        if (cause) this.caused.set(cause, { ...this.caused.get(cause), [name]: `${channel.epoch}.${channel.offset + 1}` });
        channel.log.push({ offset: ++channel.offset, data, ...(cause && { cause }) });
        const size = { history: channel.size, latest: 1, volatile: channel.size }[channel.keep];
        if (channel.log.length > size) channel.log.shift();
        for (const connection of [...this.connections]) connection.pump(name);
        return this.position(name);
    }

    /** What comes after a position: {position, publications, recovered, more}. */
    read(name, position) {
        const channel = this.channels.get(name);
        const current = this.position(name);
        const [epoch, offset] = parse(position);
        const first = channel.log[0]?.offset ?? channel.offset + 1;
        if (channel.keep === "history" && (epoch !== channel.epoch || offset > channel.offset || offset + 1 < first)) {
            return { position: current, publications: [], recovered: false };
        }
        const fresh = channel.log.filter(p => epoch !== channel.epoch || p.offset > offset);
        const publications = fresh.slice(0, this.page);
        const more = fresh.length > publications.length;
        return {
            position: more ? `${channel.epoch}.${publications.at(-1).offset}` : current,
            publications, recovered: true, ...(more && { more }),
        };
    }

    session(token) {
        const known = /^token-(c\d+)-/.exec(token ?? "");
        return { clientId: known ? known[1] : "c" + ++this.#clients, resumed: !!known };
    }

    dropConnections(code = 1006, kinds = OFFERS, reason = "") {
        for (const connection of [...this.connections]) if (kinds.includes(connection.kind)) connection.cut(code, reason);
    }

    fetch = (url, { method = "GET", headers = {}, body, signal } = {}) => new Promise((resolve, reject) => {
        const request = { url, method, headers, body: body && codecOf(headers["Content-Type"]).decode(body), at: this.clock.now() };
        const kind = /stream/.test(headers.Accept) ? "eventstream"
            : method === "GET" ? "get" : request.body.wait ? "longpoll" : "shortpoll";
        request.kind = kind;
        this.requests.push(request);
        let over = false;
        const fail = () => {
            over = true;
            reject(signal?.aborted ? signal.reason : new TypeError("fetch failed"));
        };
        if (signal?.aborted) return fail();
        signal?.addEventListener("abort", () => { if (!over) fail(); });
        const lost = this.faults("request", kind);
        if (this.silent.has(kind)) return;
        this.clock.setTimeout(() => {
            if (over) return;
            if (this.down || lost === "drop" || this.blocked.has(kind)) return fail();
            const answer = (status, value, extra = {}) => {
                const late = this.faults("answer", kind);
                this.clock.setTimeout(() => {
                    if (over) return;
                    if (late === "drop" || this.down) return fail();
                    over = true;
                    const codec = codecOf(headers.Accept);
                    const raw = typeof value === "string" ? value : codec.encode(value);
                    resolve({
                        ok: status < 300, status, text: async () => raw, arrayBuffer: async () => raw,
                        headers: new Headers({ "Content-Type": codec.type, ...extra }),
                    });
                }, this.latency + (late > 0 ? late : 0));
            };
            const stream = body => {
                over = true;
                resolve({ ok: true, status: 200, body, headers: new Headers({ "Content-Type": "text/event-stream" }) });
            };
            const failure = this.fail(request);
            if (failure) answer(failure.status, failure.body ?? "", failure.headers);
            else if (method === "GET") this.#get(request, answer, signal);
            else if (kind === "eventstream") this.#stream(request, stream, signal);
            else this.#poll(request, answer, signal);
        }, this.latency + (lost > 0 ? lost : 0));
    });

    #get({ url, headers }, answer, signal) {
        const [, name, query] = /channels\/([^?]+)\??(.*)$/.exec(url);
        const options = new URLSearchParams(query);
        const channel = this.channels.get(name);
        if (!channel) return answer(404, { error: { code: 104, reason: "no_such_channel", message: name } });
        const after = options.get("after");
        const page = () => {
            const { recovered, ...rest } = after ? this.read(name, after)
                : { position: this.position(name), publications: channel.log.slice(-Number(options.get("recent") ?? 20)) };
            if (options.get("snapshot") && channel.snapshot && (!after || recovered === false)) {
                const snapshot = channel.snapshot();
                return { channel: name, position: rest.position, snapshot, publications: [], ...(after && { recovered }) };
            }
            return { channel: name, ...rest, ...(recovered === false && { recovered }) };
        };
        const extra = !channel.public && { "Rtbridge-Token": headers["Rtbridge-Token"] ?? "token-c0-0" };
        const now = page();
        if (!options.get("wait") || "snapshot" in now || now.publications.length || now.recovered === false) return answer(200, now, extra);
        const done = () => {
            this.connections.delete(parked);
            this.clock.clearTimeout(timer);
            if (!signal?.aborted) answer(200, page(), extra);
        };
        const parked = { kind: "get", pump: changed => changed === name && done(), cut: done };
        const timer = this.clock.setTimeout(done, options.get("wait") * 1000);
        this.connections.add(parked);
    }

    #poll({ body: { commands, wait } }, answer, signal) {
        const messages = [];
        let timer;
        const done = () => {
            connection.close();
            this.clock.clearTimeout(timer);
            if (!signal?.aborted) answer(200, { messages, ...(!this.room && { interval: this.interval }) });
        };
        let handling = true;
        const connection = new Connection(this, wait ? "longpoll" : "shortpoll", message => {
            messages.push(message);
            if (!handling && message.type !== "hello") done();
        }, done);
        connection.polled = true;
        const running = commands.map(command => connection.handle(command)).filter(Boolean);
        handling = false;
        const finish = () => {
            if (!wait || !this.room || messages.length > 1) return done();
            timer = this.clock.setTimeout(done, Math.min(wait, this.wait) * 1000);
        };
        if (running.length) Promise.all(running).then(() => connection.open && done());
        else finish();
    }

    #stream({ body: { commands } }, resolve, signal) {
        let controller;
        const body = new ReadableStream({ start(made) { controller = made; } });
        const encoder = new TextEncoder();
        const write = message => this.clock.setTimeout(() => {
            if (connection.open && !this.silent.has("eventstream")) {
                controller.enqueue(encoder.encode(`: comment\n\ndata: ${json.encode(message)}\n\n`));
            }
        }, this.latency);
        const connection = new Connection(this, "eventstream", write, code => {
            if (code >= 4000) controller.enqueue(encoder.encode(`data: ${json.encode({ type: "disconnect", code })}\n\n`));
            connection.close();
            try {
                if (code === 1006) controller.error(new TypeError("network"));
                else controller.close();
            } catch { /* cancelled by the reader */ }
        });
        signal?.addEventListener("abort", () => {
            connection.close();
            try { controller.error(signal.reason); } catch { /* over already */ }
        });
        this.clock.setTimeout(() => resolve(body), this.latency);
        for (const command of commands) connection.handle(command);
    }
}

/** One connection or poll, as the server sees it. */
class Connection {
    open = true;
    cursors = new Map();

    constructor(server, kind, write, cut) {
        Object.assign(this, { server, kind, write, cut });
        server.connections.add(this);
    }

    close() {
        this.open = false;
        this.server.connections.delete(this);
    }

    handle(command) {
        const { server } = this;
        const { type, id } = command;
        server.commands.push({ ...command, over: this.kind });
        const fail = (code, more) => { this.write({ type: "error", ...(id && { id }), code, reason: REASONS[code], message: "" + code, ...more }); };
        const refused = server.refuse(command);
        if (refused) return fail(refused.code, refused);
        if (type !== "hello" && !this.session) return fail(103);
        if (type === "hello") {
            this.session = server.session(command.token);
            this.instance = command.instance;
            for (const other of server.connections) {
                if (other !== this && other.instance === this.instance && /socket|stream/.test(other.kind) && /socket|stream/.test(this.kind)) {
                    other.cut(4005, "replaced");
                }
            }
            this.write({
                type, id, version: 1, client_id: this.session.clientId, resumed: this.session.resumed, expires_in: 300,
                token: `token-${this.session.clientId}-${server.clock.now()}`, transport: this.kind,
                offers: server.offers, ping: server.ping, wait: server.wait, interval: server.interval,
            });
        } else if (type === "subscribe") this.subscribe(command, fail);
        else if (type === "unsubscribe") {
            if (!this.cursors.delete(command.channel)) return fail(110);
            if (id) this.write({ type: "unsubscribed", id, channel: command.channel });
        } else if (type === "ping") this.write({ type: "pong", id });
        else if (type === "call") return this.call(command, fail);
        else if (type === "answer") {
            server.answers.set(command.ask_id, command);
            if (id) this.write({ type: "done", id });
        } else if (type === "presence") {
            if (!this.cursors.has(command.channel)) return fail(110);
            if (id) this.write({ type: "done", id });
        } else if (type === "bye") server.byes = (server.byes ?? 0) + 1;
    }

    subscribe({ id, channel: name, position, recent, snapshot }, fail) {
        const { server } = this;
        const channel = server.channels.get(name);
        if (!channel) {
            if (id) return fail(104);
            return this.write({ type: "unsubscribed", channel: name, code: 104, reason: "no_such_channel", message: name });
        }
        if (this.cursors.has(name)) return fail(109);
        const limit = channel.limit && server.offers.indexOf(this.kind) < server.offers.indexOf(channel.limit.transport) ? channel.limit : undefined;
        const page = position ? server.read(name, position)
            : { position: server.position(name), publications: recent ? channel.log.slice(-recent) : [] };
        const state = snapshot && channel.snapshot && (!position || page.recovered === false);
        if (state) {
            page.publications = [];
            page.snapshot = true;
        } else if (!limit) this.cursors.set(name, page.position);
        if (state && !id) return this.snapshot(channel, page);
        if (id) this.write({ type: "subscribed", id, channel: name, keep: channel.keep, ...page, ...(limit && { limit }) });
        else if (page.recovered === false) this.write({ type: "gap", channel: name, position: page.position });
        else if (page.publications.length) {
            const { recovered, ...rest } = page;
            this.write({ type: "publications", channel: name, ...rest });
        }
        if (state && !limit) this.snapshot(channel, page);
        if (page.more && !this.polled) this.pump(name);
    }

    /** Pin the position, then the data; it takes a moment, in which more may be published. */
    snapshot(channel, { position, recovered }) {
        const data = channel.snapshot();
        const push = () => {
            this.cursors.set(channel.name, position);
            this.write({ type: "snapshot", channel: channel.name, position, data, ...(recovered === false && { recovered }) });
            this.pump(channel.name);
        };
        if (this.polled) push();
        else this.server.clock.setTimeout(() => this.open && push(), 50);
    }

    /** There is something new in a channel. */
    pump(name) {
        const cursor = this.cursors.get(name);
        if (!cursor) return;
        for (let from = cursor, more = true; more && this.open;) {
            const page = this.server.read(name, from);
            this.cursors.set(name, from = page.position);
            more = page.more && !this.polled;
            if (page.recovered === false) this.write({ type: "gap", channel: name, position: page.position });
            else if (this.server.faults("push", this.kind) === "drop") continue; // the server lost it: what follows has a hole
            else if (page.publications.length) {
                const { recovered, more: cutShort, ...rest } = page;
                this.write({ type: "publications", channel: name, ...rest, ...(this.polled && cutShort && { more: true }) });
            }
        }
    }

    async call({ id, call_id, name, params = {} }, fail) {
        const { server } = this;
        const handler = server.handlers.get(name);
        if (!handler) return fail(105);
        const key = `${this.session.clientId} ${call_id}`;
        if (!server.calls.has(key)) {
            server.ran.set(call_id, (server.ran.get(call_id) ?? 0) + 1);
            server.calls.set(key, (async () => handler(params, call_id))());
        }
        try {
            const data = await server.calls.get(key);
            this.write({ type: "result", id, call_id, data, positions: server.caused.get(call_id) ?? {} });
        } catch (error) {
            fail(error.code ?? 202, error);
        }
    }
}

class FakeSocket {
    readyState = 0;
    onopen = this.onmessage = this.onclose = null;

    constructor(server, url) {
        this.server = server;
        this.url = url;
        this.codec = codecOf(url);
        server.sockets++;
        if (server.silent.has("websocket")) return;
        server.clock.setTimeout(() => {
            if (this.readyState) return;
            if (server.down || server.blocked.has("websocket")) return this.#closed(1006, "");
            this.readyState = 1;
            this.connection = new Connection(server, "websocket", message => this.#deliver(message), (code, reason) => this.#closed(code, reason));
            this.connection.socket = this;
            this.onopen?.();
        }, server.latency);
    }

    /** In order, or not at all: a message that is lost takes the connection with it. */
    #deliver(message) {
        const { server } = this;
        const fault = server.faults("message", "websocket");
        this.arrives = Math.max(this.arrives ?? 0, server.clock.now() + server.latency + (fault > 0 ? fault : 0));
        server.clock.setTimeout(() => {
            if (this.readyState !== 1 || server.silent.has("websocket")) return;
            if (fault === "drop" || server.down) return this.#closed(1006, "");
            this.onmessage?.({ data: this.codec.encode(message) });
        }, this.arrives - server.clock.now());
    }

    #closed(code, reason) {
        this.readyState = 3;
        this.connection?.close();
        this.onclose?.({ code, reason });
    }

    send(text) {
        if (this.readyState !== 1) throw new Error("not open");
        const { server } = this;
        const fault = server.faults("message", "websocket");
        server.clock.setTimeout(() => {
            if (server.silent.has("websocket") || !this.connection.open) return;
            if (fault === "drop" || server.down) return this.#closed(1006, "");
            for (const command of [this.codec.decode(text)].flat()) this.connection.handle(command);
        }, server.latency);
    }

    close() {
        this.readyState = 3;
        const { connection } = this;
        this.server.clock.setTimeout(() => connection?.close(), this.server.latency);
    }
}
