/** The URL of a stream, or a function that returns it, which is called for every attempt. */
export type StreamUrl = string | URL | (() => string | URL | Promise<string | URL>);

/** How a stream is received. */
export type StreamTransport = 'sse' | 'ndjson' | 'json-seq' | 'ws' | 'poll';

/** `connecting`, `open`, `waiting` for the next attempt or until the page is visible, or `closed` for good. */
export type ClientState = 'connecting' | 'open' | 'waiting' | 'closed';

/** One item of a stream. */
export interface StreamItem<T = unknown> {
  /** The id of the event. `undefined` if it has none, and in formats without ids. */
  readonly id: string | undefined;
  /** The type of the event. `undefined` if it has none: an `EventSource` calls such an event a `message`. */
  readonly type: string | undefined;
  readonly data: T;
}

/** Items are missing: the state that was built from earlier ones may be out of date. */
export interface StreamReset {
  /**
   * - `evicted`, `epoch`, `hub`, `malformed`: the hub cannot resume after the id
   * - `no-id`: the connection was lost, and the stream has no ids: it has begun again
   */
  readonly reason: string;
  /** The id of the oldest event that the server has, or `null`. */
  readonly oldest: string | null;
  /** The topics with missing events, if the hub has a history for each topic. Absent if events of all topics of the stream may be missing. */
  readonly topics?: readonly string[];
}

/** The server has dropped items, because the client has read too slowly. */
export interface StreamLagged {
  readonly dropped: number;
}

/** The listeners of a stream, by what they listen to. */
export interface StreamListeners {
  reset(reset: StreamReset): void;
  lagged(lagged: StreamLagged): void;
  /** `error`: why it is `waiting` or `closed`. `undefined` if the server or the user wants it. */
  state(state: ClientState, error?: unknown): void;
  /** The option `resume` has thrown this error. The id is only remembered in memory. */
  warning(error: unknown): void;
}

/** Where the id of the last item is kept, beyond the life of this stream. */
export type ResumeStore =
  | { getItem(key: string): string | null; setItem(key: string, id: string): void }
  | {
      /** Returns the id, if there is one. */
      get(key: string): string | null | undefined | Promise<string | null | undefined>;
      /** An empty id: the stream has ended, and the next one begins at the beginning. */
      set(key: string, id: string): unknown;
    };

/** What `headers` of a request may be. */
export type StreamHeaders = Headers | Readonly<Record<string, string>> | [string, string][];

/** When to connect again. */
export interface RetryOptions {
  /** The longest wait before the second attempt, in milliseconds. It doubles with each attempt that fails. Default: 500. */
  readonly base?: number;
  /** The longest wait, in milliseconds, unless the server asks for more. Default: 30 000. */
  readonly max?: number;
  /** How many attempts in a row may fail after the first. Default: `Infinity`. */
  readonly attempts?: number;
  /** Whether a request whose method is not safe, such as `POST`, may be sent again although there is no id to resume after. Default: `false`. */
  readonly unsafe?: boolean;
}

/** Options of {@link connect}. */
export interface ConnectOptions {
  /** Default: `GET`. */
  readonly method?: string;
  /** The body of the request. A plain object or an array is sent as JSON. A `ReadableStream` is refused, as it can be sent only once. */
  readonly body?: unknown;
  /** The headers, or a function that returns them, which is called for every attempt. Not possible over WebSocket. */
  readonly headers?: StreamHeaders | (() => StreamHeaders | Promise<StreamHeaders>);
  /** As in `fetch()`: whether cookies are sent to another origin. */
  readonly credentials?: 'omit' | 'same-origin' | 'include';
  /** How to receive the stream, or a list: the first that works. Default: `sse`. */
  readonly as?: StreamTransport | readonly StreamTransport[];
  /** Where the id of the last item is kept, such as `sessionStorage`. Default: in memory. `false`: ids are not sent back. */
  readonly resume?: ResumeStore | false;
  /** When to connect again. */
  readonly retry?: RetryOptions;
  /** How long nothing may be received, heartbeats included, before the client connects again, in milliseconds. Default: 45 000. */
  readonly idle?: number;
  /** `pause`: disconnect while the page is hidden, and resume when it is visible. Default: `keep`. */
  readonly hidden?: 'keep' | 'pause';
  /** Ends the stream: the iteration throws the reason of the signal. */
  readonly signal?: AbortSignal;
  /** Converts the data of an event of Server-Sent Events. Default: as JSON, or as text if it is not JSON. Use `String` for streams of text. An event for which it returns `undefined` is left out. */
  readonly parse?: (data: string) => unknown;
  /** The type of the events with which the server reports an error: its option `errorEvent`. Default: `error`. */
  readonly errorEvent?: string;
  /** How long an event may be, in characters. Default: 16 777 216. */
  readonly maxEventLength?: number;
  /** Used in place of the global `fetch`. */
  readonly fetch?: typeof fetch;
  /** Used in place of the global `WebSocket`, which Node.js 20 does not have: `import { WebSocket } from 'ws'`. */
  readonly WebSocket?: new (
    url: string,
    protocols: string[],
  ) => object;
}

/**
 * A stream, as {@link connect} returns it. It connects when its first item is asked for, and reads only when the next one is: a slow reader slows
 * down the server. Read it with one `for await` loop: leaving the loop closes the stream.
 */
export interface ClientStream<T = unknown> extends AsyncIterableIterator<StreamItem<T>, undefined, undefined> {
  /** The state now. */
  readonly state: ClientState;
  /** The id after which the stream would resume now. Empty: there is none. */
  readonly lastEventId: string;
  /** Adds a listener. Returns a function that removes it. A listener that throws ends the stream with its error. */
  on<K extends keyof StreamListeners>(name: K, listener: StreamListeners[K]): () => void;
  /**
   * Sends a message over the WebSocket: text or bytes as they are, everything else as JSON.
   * @throws {@link StreamClientError} with the code `invalid-state` if no WebSocket is open: messages are not kept until one is
   */
  send(message: unknown): void;
  /** Ends the stream. Its loop ends without an error. */
  close(): void;
}

/** The options, with defaults. */
export interface Settings extends ConnectOptions {
  readonly url: StreamUrl;
  readonly as: readonly StreamTransport[];
  readonly WebSocket: NonNullable<ConnectOptions['WebSocket']>;
  readonly idle: number;
  readonly maxEventLength: number;
  readonly base: number;
  readonly max: number;
  readonly attempts: number;
}
