/** The browser client of rtbridge. */

export type TransportName = "websocket" | "eventstream" | "longpoll" | "shortpoll";

export interface Options {
    /** The mount, if this module is not served from it: "/rt/". */
    url?: string;
    /** "auto" (the default), or the only transport or transports to use. */
    transport?: "auto" | TransportName | TransportName[];
    /** "json" is the default; "msgpack" loads one more module and suits channels that carry bytes. */
    codec?: "json" | "msgpack";
    /**
     * Where the site itself says who somebody is (`Bridge.token_for`): a token that stands in the page, or a function that
     * fetches one whenever it is needed. It is given the present token, to be sent along as `Rtbridge-Token`.
     */
    token?: string | ((previous?: string) => string | Promise<string>);
    /** Whether calls can be kept across a reload; loads two more modules. */
    offline?: boolean;
    /** Replaces parts of the browser; for tests. */
    environment?: Record<string, unknown>;
}

/** What went wrong. `code` and `reason` are those of the protocol page. */
export interface Problem {
    code?: number;
    reason?: string;
    message?: string;
    /** Seconds. */
    retryAfter?: number;
}

export interface Meta {
    channel: string;
    offset: number;
    /** The call that published it, if one did. */
    cause?: string;
    /** `true` where it takes the place of what was provisional, with the same `cause`. */
    replaces?: boolean;
}

/** What is not true yet. `cause` is the id of the call that will make it so. */
export interface Provisional {
    channel: string;
    cause: string;
}

/** A user with all its tabs, or one tab of somebody unknown. */
export interface Person {
    /** Tells people apart. */
    key: string;
    /** The user's id; undefined for somebody unknown. */
    user: string | undefined;
    /** What the server says of the user. */
    info: Record<string, any>;
    /** What the tabs say of themselves, the latest on top. */
    data: Record<string, any>;
    tabs: number;
}

export interface FeedEvents<T> {
    /** One publication. */
    publication: [data: T, meta: Meta];
    /**
     * Something was lost, and everything up to `position` is to be fetched anew: after `fetchAfter` seconds, where
     * everybody has to do that now.
     */
    gap: [{ channel: string; position: string; fetchAfter?: number }];
    /** The state of the channel as of `position`, at first and in place of each `gap`. Listen before you do anything else. */
    snapshot: [data: any, about: { channel: string; position: string; gap: boolean }];
    /** An optimistic call shows this at once; again after each snapshot, while it has no answer. */
    provisional: [data: T, about: Provisional];
    /**
     * What was provisional is over without a publication in its place: it failed with `error`; or, without one, the
     * channel has gone past it.
     */
    rollback: [data: T, about: Provisional & { error?: CallError }];
    /** Who is on the channel: at first, and after every change. `count` is larger where not everybody is named. */
    presence: [{ channel: string; people: Person[]; count: number; complete: boolean }];
    join: [person: Person, about: { channel: string }];
    leave: [person: Person, about: { channel: string }];
    /** The subscription stands; again after every reconnect. */
    subscribed: [{ channel: string; position: string; keep: "history" | "latest" | "volatile" | "private" }];
    error: [Problem & { channel: string }];
    /** Nothing more will come. */
    end: [Problem & { channel: string }];
}

export interface Feed<T = any> {
    readonly channel: string;
    /** Up to where publications were delivered; undefined until the first answer. */
    readonly position: string | undefined;
    /** Returns a function that stops listening. */
    on<E extends keyof FeedEvents<T>>(event: E, listener: (...values: FeedEvents<T>[E]) => void): () => void;
    /** What this page tells of itself to those who follow the channel's presence, in place of all it told before. */
    present(data: Record<string, unknown>): void;
    unsubscribe(): void;
}

export interface SubscribeOptions {
    /** How many of the newest publications to begin with. */
    recent?: number;
    /** Where to begin. */
    position?: string;
    /** What this page tells of itself; see `Feed.present`. */
    presence?: Record<string, unknown>;
}

export interface CallOptions {
    /** Seconds; 30 by default. */
    timeout?: number;
    signal?: AbortSignal;
    /** Show this in that feed at once, as "provisional". */
    optimistic?: [feed: { channel: string }, data: any];
    /** Keep the call across a reload, for so many seconds. In place of `timeout`; needs `connect({ offline: true })`. */
    offline?: number;
}

export interface Events {
    status: [Status];
    /** The application's own, for this client or for its user. */
    message: [data: any, about: { to: "client" | "user"; offset: number; cause?: string }];
    /** The server wants this page in a channel, and will let it: subscribe to it, from `position`. */
    invitation: [{ channel: string; position?: string }];
    /** The server has taken this page out of a channel; its feeds have ended. */
    dismissal: [{ channel: string }];
    /** Messages to this page may have been lost. */
    gap: [{ channel: string; position: string }];
    error: [Problem & { channel: string }];
    /** An earlier page made this call, and this one goes on with it. */
    kept: [{ name: string; params: Record<string, any>; cause: string; result: Promise<any> }];
}

export interface Status {
    state: "connecting" | "online" | "offline" | "ended";
    transport: TransportName | undefined;
}

export interface Realtime {
    /** Who the server says we are; undefined until the first answer. */
    readonly clientId: string | undefined;
    /** What carries us now, if anything does. */
    readonly transport: TransportName | undefined;
    readonly state: Status["state"];
    /**
     * Follow a channel. Feeds of one channel share one subscription; `recent` and `position` are those of the first.
     * A later feed that asks for another `position` is told of a gap.
     */
    subscribe<T = any>(
        channel: string,
        onPublication?: (data: T, meta: Meta) => void,
        options?: SubscribeOptions,
    ): Feed<T>;
    /**
     * Ask the application to do something. While there is no connection it waits, at most `timeout` seconds (30).
     * Rejects with a `CallError`, or with the reason of `signal`.
     */
    call<T = any>(
        name: string,
        params?: Record<string, unknown>,
        options?: CallOptions,
    ): Promise<T>;
    /** Returns a function that stops listening. Messages are read from the first listener on. */
    on<E extends keyof Events>(event: E, listener: (...values: Events[E]) => void): () => void;
    /** Answer what the server asks by this name: with what `handler` returns, or with its error. */
    handle(name: string, handler: (params: any) => unknown): void;
    /** Change the transport; nothing is lost. */
    use(transport: "auto" | TransportName | TransportName[]): void;
    /** End the session for good. */
    close(): void;
}

export declare class CallError extends Error {
    code: number;
    reason: string;
    fields: { field: string; reason: string }[];
    data: any;
    /** Seconds. */
    retryAfter: number | undefined;
}

export declare function connect(options?: Options): Realtime;
