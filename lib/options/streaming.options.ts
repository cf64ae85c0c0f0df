import type { RequestMethod, Type } from '@nestjs/common';
import type { Broker } from '../broker/broker.js';
import type { StreamHooks } from '../connection/hooks.js';
import type { FlushPolicy } from '../connection/stream-settings.js';
import type { EventsMode } from '../event/event.js';
import type { StreamFormat } from '../format/format.js';
import type { StreamFormatName } from '../format/formats.js';
import type { ContentCoding } from '../transport/compression/encoders.js';
import type { OverflowPolicy, QueueLimits } from '../util/queue-limits.js';

/** How many streams may be open at once. Over the limit, the handler is not called. */
export interface StreamLimits {
  /** All together; over it: 503, or what `refusal` says. Default: no limit. */
  readonly connections?: number;
  /** Per client; over it: 429. Default: no limit. */
  readonly perClient?: number;
  /** Tells clients apart. Default: the `ip` of the request, which behind a proxy needs the platform's `trust proxy`. */
  readonly clientOf?: (request: unknown) => string;
  /**
   * Streams on one TCP connection (pipelined requests) or in one session of HTTP/2; over it: 429. Raise it where a proxy speaks
   * HTTP/2 to the application and so sends the streams of many clients in one session. `false`: no limit.
   * Default: 1000 for the application, no limit for a route.
   */
  readonly perConnection?: number | false;
  /** After which time a refused client may try again, in milliseconds: `Retry-After`, which is in seconds, is rounded up. Default: 5000. */
  readonly retryAfter?: number;
}

/** How bodies are compressed, for clients that accept it. Every flush is one of the encoder too: no chunk waits for the next. */
export interface StreamCompression {
  /**
   * In the order the server prefers; the weights of `Accept-Encoding` come first (RFC 9110 §12.5.3). With a hub's subscription
   * `gzip` comes first where the client accepts it: its events are then compressed once for all clients. `zstd` is left
   * out where Node.js has none (before 22.15). Default: `['zstd', 'br', 'gzip']`.
   */
  readonly encodings?: readonly ContentCoding[];
  /** A body of fewer bytes that has ended before any of it was sent stays as it is. Default: 1024. */
  readonly threshold?: number;
}

/** What is set for the application and may be overridden per route. Durations are in milliseconds, at most 2 147 483 647 (24.8 days); `false` turns one off. */
export interface StreamBehavior {
  /**
   * One format, or several of which the `Accept` header picks one (the first for a wildcard).
   * Default: all; a wildcard then gets text for strings, bytes for binary, else NDJSON, as the first chunk has it.
   */
  readonly format?: StreamFormatName | StreamFormat | readonly (StreamFormatName | StreamFormat)[];
  /**
   * When chunks leave. `auto` (default): all that comes without waiting in one write, at the latest every 16 KiB;
   * `each`: every chunk by itself; `{ bytes, ms }`: when that much is gathered or that long after the first.
   */
  readonly flush?: FlushPolicy;
  /**
   * How long a silent stream keeps its head back, so that an error can still have its status. Default: 1000.
   * `0`: not at all; `'first-chunk'`: until the first chunk. Where `format` is not set, it does not open a stream whose handler has
   * not returned yet: what it returns may be a `Response`, with a status and headers of its own.
   */
  readonly openDelay?: number | 'first-chunk';
  /** Silence on the connection after which a heartbeat is sent, in formats that have one. Default: 15 000. */
  readonly heartbeat?: number | false;
  /** A client that takes nothing for so long is given up. Default: 30 000. */
  readonly sendTimeout?: number | false;
  /** A stream is ended after it. Default: `false`. */
  readonly maxDuration?: number | false;
  /** What may wait for a client from a source that cannot be paced. Default: 65 536 chunks, 4 MiB. */
  readonly queue?: Partial<QueueLimits>;
  /**
   * When more would wait: `disconnect` (default) closes the client with a logged warning; `drop-oldest` and
   * `drop-newest` drop, and tell the client in a `lagged` event with the count, where the format has events or records.
   */
  readonly overflow?: OverflowPolicy;
  /** The `type` of the event that tells an SSE client of an error. Default: `error`. */
  readonly errorEvent?: string;
  /**
   * Which chunks are events. `shape`: what `event()` makes, and every object that looks like Nest's `MessageEvent` (all its keys are among
   * `data`, `id`, `type`, `retry` and `comment`, and it has `data`, `retry` or `comment`). `explicit`: only what `event()` makes; every
   * other object is data. Events of a hub are events in both.
   * Default: `shape` on a route whose only format is SSE, such as `@Sse()`; `explicit` on all other routes.
   */
  readonly events?: EventsMode;
  /**
   * Compression by `Accept-Encoding`; `true` for all encodings of this Node.js. Options of a route that are left out are those of the
   * application. Default: `false`.
   * @example { encodings: ['br', 'gzip'], threshold: 512 }
   */
  readonly compression?: boolean | StreamCompression;
  /**
   * Whether somebody who opens the stream in the address bar of a browser gets a page that shows the items as they come, whatever the
   * formats. For people who look, in development above all. Default: `false`; where the format is the client's choice, a browser then shows the
   * stream as plain text.
   */
  readonly browser?: boolean;
  /** Limits of this route; given for the application, of all its streams together. */
  readonly limits?: StreamLimits;
}

type StreamItemClass = Type<unknown> | readonly [Type<unknown>];
type StreamItemType = StreamItemClass | (() => StreamItemClass);
/** What a stream can be asked for over. */
export type StreamProtocol = 'http' | 'websocket';

/** Options of WebSockets, for all streams of the application. */
export interface WebSocketOptions {
  /**
   * Pages of which other origins may open one: a list such as `['https://app.example.com']`, `*` for all, or a function that is given the
   * `Origin` and the platform's request. Default: none. Pages of the host they ask and clients that are no browsers always may.
   */
  readonly origins?: '*' | readonly string[] | ((origin: string, request: unknown) => boolean);
  /** The largest message a client may send, in bytes; for a larger one the WebSocket is closed with 1009. Default: 65 536. */
  readonly maxPayload?: number;
  /**
   * How many frames a message may be sent in; with more, the WebSocket is closed with 1008. Default: 256. Browsers send a message in one frame, or
   * in a few if it is large.
   */
  readonly maxFragments?: number;
  /**
   * What may wait to be read from `stream.messages`, beside what came with it in one read from the socket: then the client is not read
   * from until there is room. Default: 64 messages, 65 536 bytes.
   */
  readonly messages?: Partial<QueueLimits>;
}

/** Options of `@Stream()`. */
export interface StreamOptions extends StreamBehavior {
  /** What it can be asked for over. Default: HTTP, and with `forRoot({ websocket })` WebSocket too where the method is `GET`. */
  readonly protocols?: StreamProtocol | readonly StreamProtocol[];
  /** The HTTP method of the route, when the decorator maps it. Default: `GET`. */
  readonly method?: RequestMethod;
  /**
   * What an item of the stream is, for the OpenAPI document that `@nestjs/swagger` makes: a class, `[Class]`, or a function that
   * returns one of them. It changes nothing of what is sent. Default: not described.
   */
  readonly type?: StreamItemType;
}

/** Options of `@Sse()`. */
export interface SseOptions extends Omit<StreamOptions, 'format'> {
  /** As in `@Sse()` of `@nestjs/common`: another way to say `queue.bytes`. `0` and `Infinity` lift the limit. */
  readonly maxPendingDataLength?: number;
}

/** Hooks, or a class of them that is resolved through DI. */
export type StreamHooksLike<T = unknown> = StreamHooks<T> | Type<StreamHooks<T>>;

/** Options of `StreamingModule.forRoot()`. */
export interface StreamingModuleOptions extends StreamBehavior {
  /** Hooks of every stream of the application, outermost first. Classes are resolved through DI. */
  readonly hooks?: StreamHooksLike | readonly StreamHooksLike[];
  /** Where the logs of hubs live that have no broker of their own. It is closed with the application. Default: the memory of the process. */
  readonly broker?: Broker;
  /**
   * The version of the OpenAPI document that stream routes are described for when `@nestjs/swagger` is installed; `false`: they are
   * not. Default: an entry with `itemSchema` for readers of 3.2 and `schema` for those of 3.0 and 3.1; a strict validator of
   * these refuses `itemSchema`, so say the version if you use one.
   */
  readonly openapi?: '3.0' | '3.1' | '3.2' | false;
  /** Whether streams can be asked for over WebSocket too, for which the package `ws` must be installed. Default: `false`. */
  readonly websocket?: boolean | WebSocketOptions;
  /**
   * How an `EventSource` is refused while the application closes, or over `limits.connections`. `retry` (default): with 200, an event of
   * type `shutdown` that says with `retry` when to come back, and a clean end, because an `EventSource` gives up for good on any other
   * status. `status`: with 503, as all others. An `EventSource` is a `GET` whose `Accept` is `text/event-stream` alone, on a route with
   * the format `sse`.
   */
  readonly refusal?: 'retry' | 'status';
  /** What `app.close()` does with open streams. Those of hubs, which have no end, are closed at once. */
  readonly shutdown?: {
    /** How long streams may take to end by themselves. Default: 5000. */
    readonly grace?: number;
    /** About how long SSE clients are told to wait before they reconnect: ±50 %, so that they do not all come at once. Default: 3000. */
    readonly retry?: number | false;
  };
}
