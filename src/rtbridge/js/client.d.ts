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
    /** The subscription stands; again after every reconnect. */
    subscribed: [{ channel: string; position: string; keep: "history" | "latest" | "volatile" }];
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
    unsubscribe(): void;
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
        options?: { recent?: number; position?: string },
    ): Feed<T>;
    /**
     * Ask the application to do something. While there is no connection it waits, at most `timeout` seconds (30).
     * Rejects with a `CallError`, or with the reason of `signal`.
     */
    call<T = any>(
        name: string,
        params?: Record<string, unknown>,
        options?: { timeout?: number; signal?: AbortSignal },
    ): Promise<T>;
    on(event: "status", listener: (status: Status) => void): () => void;
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
