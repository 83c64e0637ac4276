/**
 * Types of what travels on the wire and of what the modules hand each other. Nothing here exists at run time; what an
 * app author sees is in client.d.ts.
 */

export type Rung = "websocket" | "eventstream" | "longpoll" | "shortpoll";
export type Keep = "history" | "latest" | "volatile" | "private";

/** Everything the client takes from its surroundings, so that a test can put fakes in their place. Times are in ms. */
export interface Environment {
    WebSocket?: (new (url: string) => WebSocket) | undefined;
    /** Whether response bodies can be read while they arrive. */
    streams: boolean;
    fetch(url: string, init: RequestInit): Promise<Response>;
    setTimeout(callback: () => void, ms: number): unknown;
    clearTimeout(timer: unknown): void;
    /** Wall clock: it must go on while the machine sleeps. */
    now(): number;
    /** From 0 up to 1. */
    random(): number;
    storage?: Pick<Storage, "getItem" | "setItem"> | undefined;
    addEventListener(type: string, listener: (event: any) => void, signal: AbortSignal): void;
    /** What the browser believes of the network. */
    onLine(): boolean;
    hidden(): boolean;
    /** In place of IndexedDB. */
    openVault?(name: string): Promise<Vault>;
}

/** What one tab of somebody says. */
export interface Tab {
    user?: string;
    info?: Record<string, any>;
    data?: Record<string, any>;
    /** Unix seconds. */
    at: number;
}

/** What one holder tells of its tabs; see "Presence" in the protocol page. */
export interface Telling {
    holder: string;
    ended?: boolean;
    count?: number;
    all?: Record<string, Tab>;
    set?: Record<string, Tab>;
    gone?: string[];
}

/** One user, or somebody unknown in one tab. */
export interface Person {
    key: string;
    user: string | undefined;
    info: Record<string, any>;
    data: Record<string, any>;
    tabs: number;
}

export interface Publication {
    offset: number;
    data: any;
    cause?: string;
}

export interface Command {
    type: string;
    [field: string]: unknown;
}

/** Any message from the server; which fields are there depends on `type`. See docs/reference/protocol.md. */
export interface Message {
    type: string;
    id?: number;
    channel?: string;
    position?: string;
    publications?: Publication[];
    recovered?: boolean;
    more?: boolean;
    keep?: Keep;
    limit?: Limit;
    /** In a `subscribed` reply: the snapshot follows. In the answer to a GET: the state itself. */
    snapshot?: any;
    [field: string]: any;
}

/** The channel must be followed apart, by GET. */
export interface Limit {
    transport: Rung;
    every?: number;
    public?: boolean;
}

/** What went wrong: an error reply, an `unsubscribed` push, a refused request, a closed socket. */
export interface Problem {
    code?: number | undefined;
    reason?: string;
    message?: string;
    retryAfter?: number | undefined;
}

export interface Cursor {
    keep?: Keep | undefined;
    position?: string | undefined;
}

export interface Codec {
    name: string;
    type: string;
    encode(value: unknown): string | Uint8Array<ArrayBuffer>;
    decode(raw: any): any;
}

/** Carries messages; one per transport. It knows nothing of channels, calls, retries. */
export interface Driver {
    /** Begin; on a driver that is not duplex again whenever what is followed has changed. */
    start(): void;
    /** Carry these commands now. In a request of their own: until no further reply will come; it throws a `Problem`. */
    send(commands: Command[]): void | Promise<void>;
    stop(): void;
}

/** What a driver sees of the floor above it. */
export interface Port {
    /** The commands that open a connection, or one poll: hello first. */
    opening(): Command[];
    hello(): Command;
    receive(message: Message): void;
    /** Something must arrive within so many seconds, or the link is dead. */
    expect(seconds: number): void;
    /** The connection is over. Called once; later calls are ignored. */
    end(problem?: Problem): void;
    /** The newest hello reply. */
    terms: Message;
}

/** What all drivers are made with. */
export interface Surroundings {
    env: Environment;
    base: string;
    codec: Codec;
}

export interface Feed {
    emit(type: string, ...values: any[]): void;
}

/** One subscription of this client, shared by all feeds of the channel. */
export interface Channel {
    name: string;
    feeds: Set<Feed>;
    cursor: Cursor;
    recent?: number | undefined;
    /** Whether a feed listens for snapshots. */
    snapshot?: boolean;
    /** The limit under which it is followed apart, if it is. */
    apart?: Limit | undefined;
    /** What this page tells of itself. */
    presence?: Record<string, unknown> | undefined;
    /** Stop following who is on it; there only if somebody wants to know that. */
    leave?(): void;
    /** Tell all feeds who is on it, as far as is known. */
    callRoll?(): void;
}

/** A call, or another command that is sent again until it is answered. */
export interface Call {
    /** Its own, the same in every retry: the id of the call. */
    key: string;
    command: Command;
    name: string;
    /** The link that carries it; none while it waits. */
    link?: Link | undefined;
    /** Whether the server asked us to come later. */
    waits?: boolean;
    /** The session it must be sent in: the one it was sent in first. */
    client?: string | undefined;
    /** Whether it ever was. */
    sent?: boolean | undefined;
    /** When it is given up, in ms. */
    deadline: number;
    /** Give it up after so many seconds from now. */
    expire(seconds: number): void;
    /** It is about to be sent. */
    sending?: ((call: Call) => void) | undefined;
    settle(error?: Error, data?: any): void;
}

export interface SendOptions {
    timeout?: number | undefined;
    signal?: AbortSignal | undefined;
    optimistic?: [feed: { channel: string }, data: any] | undefined;
    call_id?: string;
    client?: string | undefined;
    sent?: boolean;
    sending?: (call: Call) => void;
}

/** Something shown before it is true. */
export interface Shown {
    name: string;
    data: any;
    /** Where the call has published in that channel, once that is known. */
    position?: string | undefined;
}

/** A call that outlives its page. */
export interface Kept {
    call_id: string;
    /** The page that made it, or went on with it. */
    owner: string;
    name: string;
    params: Record<string, unknown>;
    optimistic?: [feed: { channel: string }, data: any] | undefined;
    /** The session it belongs to, and the proof of that. */
    client?: string | undefined;
    token?: string | undefined;
    /** In ms. */
    until: number;
    /** When it was first sent, in ms. */
    sent?: number;
}

/** Where calls are kept. */
export interface Vault {
    all(): Promise<Kept[]>;
    put(kept: Kept): Promise<unknown>;
    remove(call_id: string): Promise<unknown>;
    /** Whether no page that is alive has this name; from now on it is ours. */
    own(owner: string): Promise<boolean>;
}

/** One connection of the session, whatever carries it. */
export interface Link extends Port {
    rung: Rung;
    since: number;
    deadline: number;
    greeted: boolean;
    start(): void;
    send(commands: Command[], calls?: Call[]): void;
    call(calls: Call[]): void;
    sync(): void;
    probe(): void;
    stop(): void;
}
