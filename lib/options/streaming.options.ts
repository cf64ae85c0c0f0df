import type { RequestMethod, Type } from '@nestjs/common';
import type { Broker } from '../broker/broker.js';
import type { FlushPolicy } from '../connection/body/body-settings.js';
import type { StreamHooks } from '../connection/stream-connection.js';
import type { StreamFormat } from '../format/format.js';
import type { StreamFormatName } from '../format/formats.js';
import type { ContentCoding } from '../transport/compression/encoders.js';
import type { OverflowPolicy, QueueLimits } from '../util/queue-limits.js';

/** The largest numbers of streams that may be open at the same time. A request over a limit is refused before its handler is called. */
export interface StreamLimits {
  /** All streams together. A request over it gets 503, or what the option `refusal` says. Default: no limit. */
  readonly connections?: number;
  /** The streams of one client. A request over it gets 429. Default: no limit. */
  readonly perClient?: number;
  /**
   * Returns the name of the client that sent a request. Default: the `ip` of the request. Behind a proxy it needs the platform's setting `trust proxy`.
   */
  readonly clientOf?: (request: unknown) => string;
  /**
   * The streams on one TCP connection (pipelined requests) or in one HTTP/2 session. A request over it gets 429. Raise it where a proxy
   * speaks HTTP/2 to the application, since such a proxy sends the streams of many clients in one session. `false`: no limit.
   * Default: 1000 for the application, no limit for a route.
   */
  readonly perConnection?: number | false;
  /** After this time a refused client may try again, in milliseconds. The header `Retry-After` is in seconds, so it is rounded up. Default: 5000. */
  readonly retryAfter?: number;
}

/** How bodies are compressed for clients that accept it. Every flush also flushes the encoder: no chunk waits for the next one. */
export interface StreamCompression {
  /**
   * The encodings that the server offers, in the order of its preference. The weights of `Accept-Encoding` come first (RFC 9110 §12.5.3). For
   * a hub subscription, `gzip` comes first if the client accepts it: events are then compressed once for all clients. `zstd` is left out
   * where Node.js does not have it (before 22.15). Default: `['zstd', 'br', 'gzip']`.
   */
  readonly encodings?: readonly ContentCoding[];
  /** A body with fewer bytes is not compressed if it ends before any of it was sent. In bytes. Default: 1024. */
  readonly threshold?: number;
}

/**
 * Options that are set for the application and can be overridden for a route. Durations are in milliseconds, at most 2 147 483 647
 * (24.8 days). `false` turns a duration off.
 */
export interface StreamBehavior {
  /**
   * The format of the stream, or several formats from which the `Accept` header selects one. A wildcard selects the first of them.
   * Default: all formats. A wildcard then selects by the first chunk: `text` for a string, `bytes` for binary data, otherwise `ndjson`.
   */
  readonly format?: StreamFormatName | StreamFormat | readonly (StreamFormatName | StreamFormat)[];
  /**
   * When chunks are sent.
   * - `auto` (default): chunks that the source yields without waiting are sent in one write, at the latest once 16 KiB are gathered
   * - `each`: every chunk is sent in a write of its own
   * - `{ bytes, ms }`: chunks are sent once this number of bytes is gathered, or this time after the first of them
   */
  readonly flush?: FlushPolicy;
  /**
   * How long the head of a silent stream is held back. Until the head is sent, an error still gets a status of its own. In milliseconds.
   * `0`: the head is sent at once. `'first-chunk'`: the head is sent with the first chunk. Where `format` is not set, the head is also held
   * back until the handler has returned, because it may return a `Response` with a status and headers of its own. Default: 1000.
   */
  readonly openDelay?: number | 'first-chunk';
  /** A heartbeat is sent after this time of silence on the connection, in formats that have heartbeats. In milliseconds. Default: 15 000. */
  readonly heartbeat?: number | false;
  /** A client that reads nothing for this time is disconnected. In milliseconds. Default: 30 000. */
  readonly sendTimeout?: number | false;
  /** The maximum lifetime of a stream. It is then closed with the code `deadline`. In milliseconds. Default: `false`. */
  readonly maxDuration?: number | false;
  /** What may wait for a client from a source that cannot be paced. Default: 65 536 chunks, 4 MiB. */
  readonly queue?: Partial<QueueLimits>;
  /**
   * What happens when more waits for a client than `queue` allows.
   * - `disconnect` (default): the client is disconnected, and a warning is logged
   * - `drop-oldest`, `drop-newest`: chunks are dropped. Formats with events or records send their number in a `lagged` event
   */
  readonly overflow?: OverflowPolicy;
  /** The `type` of the event by which an SSE client learns of an error. Default: `error`. */
  readonly errorEvent?: string;
  /**
   * Which chunks are events.
   * - `shape`: what `event()` returns, and every object that looks like Nest's `MessageEvent`: all its keys are among `data`, `id`, `type`,
   *   `retry` and `comment`, and it has `data`, `retry` or `comment`
   * - `explicit`: only what `event()` returns. Every other object is data
   *
   * The events of a hub are events in both cases.
   * Default: `shape` on a route whose only format is SSE, such as `@Sse()`; `explicit` on all other routes.
   */
  readonly events?: 'shape' | 'explicit';
  /**
   * Compression by `Accept-Encoding`. `true`: with all encodings of this Node.js. A route uses the options of the application for those that
   * it leaves out. Default: `false`.
   * @example { encodings: ['br', 'gzip'], threshold: 512 }
   */
  readonly compression?: boolean | StreamCompression;
  /**
   * Whether a browser that opens the stream in its address bar gets a page that shows the items as they arrive, whatever the formats of the
   * route. It is meant for development. Default: `false`. Where the client selects the format, a browser then shows the stream as plain text.
   */
  readonly browser?: boolean;
  /** Limits of this route. For the application: limits of all its streams together. */
  readonly limits?: StreamLimits;
}

type StreamItemClass = Type<unknown> | readonly [Type<unknown>];
type StreamItemType = StreamItemClass | (() => StreamItemClass);
/** The protocols over which clients can request a stream. */
export type StreamProtocol = 'http' | 'websocket';

/** Options of WebSockets, for all streams of the application. */
export interface WebSocketOptions {
  /**
   * The other origins whose pages may open a WebSocket: a list such as `['https://app.example.com']`, `*` for all, or a function that is called
   * with the `Origin` header and the platform's request. Pages of the origin of the server itself, and clients that are not browsers, are always allowed.
   * Default: none.
   */
  readonly origins?: '*' | readonly string[] | ((origin: string, request: unknown) => boolean);
  /** The largest message that a client may send, in bytes. A larger one closes the WebSocket with 1009. Default: 65 536. */
  readonly maxPayload?: number;
  /**
   * The largest number of frames in one message. More frames close the WebSocket with 1008. Browsers send a message in one frame, or in a few
   * frames if it is large. Default: 256.
   */
  readonly maxFragments?: number;
  /**
   * What may wait to be read from `stream.messages`. Over it, nothing more is read from the client until there is room. Messages that arrived
   * in the same read from the socket are kept in addition. Default: 64 messages, 65 536 bytes.
   */
  readonly messages?: Partial<QueueLimits>;
}

/** Options of `@Stream()`. */
export interface StreamOptions extends StreamBehavior {
  /**
   * The protocols over which clients can request the route. Default: HTTP, and with `forRoot({ websocket })` also WebSocket where the method is `GET`.
   */
  readonly protocols?: StreamProtocol | readonly StreamProtocol[];
  /** The HTTP method of the route, if the decorator maps it. Default: `GET`. */
  readonly method?: RequestMethod;
  /**
   * The type of an item of the stream, for the OpenAPI document that `@nestjs/swagger` makes: a class, `[Class]`, or a function that returns one
   * of them. It does not change what is sent. Default: items are not described.
   */
  readonly type?: StreamItemType;
}

/** Options of `@Sse()`. */
export interface SseOptions extends Omit<StreamOptions, 'format'> {
  /** As in `@Sse()` of `@nestjs/common`: another name of `queue.bytes`. `0` and `Infinity` remove the limit. */
  readonly maxPendingDataLength?: number;
}

/** Hooks, or a class of hooks that is resolved through dependency injection. */
export type StreamHooksLike<T = unknown> = StreamHooks<T> | Type<StreamHooks<T>>;

/** Options of `StreamingModule.forRoot()`. */
export interface StreamingModuleOptions extends StreamBehavior {
  /** Hooks of every stream of the application, outermost first. Classes are resolved through dependency injection. */
  readonly hooks?: StreamHooksLike | readonly StreamHooksLike[];
  /**
   * Where the logs of those hubs are kept that have no broker of their own. It is closed with the application. Default: the memory of the process.
   */
  readonly broker?: Broker;
  /**
   * The OpenAPI version for which stream routes are described when `@nestjs/swagger` is installed. `false`: they are not described.
   * Default: an entry with `itemSchema` for readers of 3.2, and with `schema` for readers of 3.0 and 3.1. A strict validator of 3.0 or 3.1 refuses
   * `itemSchema`: set the version if you use one.
   */
  readonly openapi?: '3.0' | '3.1' | '3.2' | false;
  /** Whether clients can request streams over WebSocket too. The package `ws` must be installed. Default: `false`. */
  readonly websocket?: boolean | WebSocketOptions;
  /**
   * How an `EventSource` is refused while the application closes, or over `limits.connections`. An `EventSource` is a `GET` request whose `Accept`
   * header is `text/event-stream` alone, on a route with the format `sse`.
   * - `retry` (default): with 200, an event of type `shutdown` whose `retry` says when to reconnect, and a clean end. An `EventSource` never
   *   reconnects after any other status
   * - `status`: with 503, as all other clients
   */
  readonly refusal?: 'retry' | 'status';
  /** What `app.close()` does with open streams. Those that send the events of a hub never end by themselves, so they are closed at once. */
  readonly shutdown?: {
    /** How long streams may take to end by themselves, in milliseconds. Default: 5000. */
    readonly grace?: number;
    /**
     * After which time SSE clients reconnect, in milliseconds: ± 50 %, so that they do not all reconnect at once. `false`: clients are not told. Default: 3000.
     */
    readonly retry?: number | false;
  };
}
