import type { CanActivate, RequestMethod, Type } from '@nestjs/common';
import type { Broker } from '../broker/broker.js';
import type { StreamHooks } from '../connection/stream-connection.js';
import type { StreamFormat } from '../format/format.js';
import type { StreamFormatName } from '../format/formats.js';
import type { RunBehavior, RunDisconnect } from '../run/run.options.js';
import type { ContentCoding } from '../transport/compression/encoders.js';
import type { FlushPolicy } from '../util/flush-policy.js';
import type { StreamLabels } from '../util/labels.js';
import type { OverflowPolicy, QueueLimits } from '../util/queue-limits.js';

/** Limits for the number of streams that are open at the same time. A request over a limit is refused before its handler is called. */
export interface StreamLimits {
  /** The maximum number of streams in total. A request over this limit gets 503, or the response that the option `refusal` selects. Default: no limit. */
  readonly connections?: number;
  /** The maximum number of streams of one client. A request over this limit gets 429. Default: no limit. */
  readonly perClient?: number;
  /**
   * Returns a string that identifies the client of a request. Default: the `ip` of the request. Behind a proxy, the `ip` is that of the
   * proxy unless the setting `trust proxy` (Express) or `trustProxy` (Fastify) is on.
   */
  readonly clientOf?: (request: unknown) => string;
  /**
   * The maximum number of streams on one TCP connection (pipelined requests) or in one HTTP/2 session. A request over this limit gets 429.
   * Raise it behind a proxy that uses HTTP/2 to the application, since it sends the streams of many clients in one session. `false`: no limit.
   * Default: 1000 for the application, no limit for a route.
   */
  readonly perConnection?: number | false;
  /** The time after which a refused client may try again, in milliseconds. It is rounded up to seconds for the header `Retry-After`. Default: 5000. */
  readonly retryAfter?: number;
}

/** Options for the compression of bodies. Every flush also flushes the encoder, so that no chunk waits for the next one. */
export interface StreamCompression {
  /**
   * The encodings that the server offers, in order of preference. They are compared after the weights in `Accept-Encoding` (RFC 9110 §12.5.3).
   * For a hub subscription, `gzip` is used whenever the client accepts it: events are then compressed once for all clients. `zstd` needs
   * Node.js ≥ 22.15, and is left out in earlier versions. Default: `['zstd', 'br', 'gzip']`.
   */
  readonly encodings?: readonly ContentCoding[];
  /** A body with fewer bytes than this is not compressed, if it ends before any of it was sent. Default: 1024. */
  readonly threshold?: number;
}

/**
 * Options for the application that can be overridden for a route. Durations are in milliseconds, and at most 2 147 483 647
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
   * - `each`: every chunk is sent in a separate write
   * - `{ bytes, ms }`: chunks are sent once this number of bytes is gathered, or this number of milliseconds after the first chunk
   * - `{ bytes, ms, leading: true }`: a chunk after a pause of at least `ms` is sent at once, and those within `ms` after it are gathered
   *
   * If it is left out, a format may have a policy of its own, such as those of `nestjs-streaming/ai`.
   */
  readonly flush?: FlushPolicy;
  /**
   * How long the head of a stream waits for the first chunk, in milliseconds. Until the head is sent, an exception filter can still respond to
   * an error with another status. `0`: the head is sent immediately. `'first-chunk'`: the head always waits for the first chunk. If `format` is
   * not set, the head also waits for the promise of the handler, which may resolve to a `Response` with its own status and headers. Default: 1000.
   */
  readonly openDelay?: number | 'first-chunk';
  /** A heartbeat is sent after this time without a write, in formats that have heartbeats. In milliseconds. Default: 15 000. */
  readonly heartbeat?: number | false;
  /** A client that reads nothing for this time, although bytes wait for it, is disconnected. In milliseconds. Default: 30 000. */
  readonly sendTimeout?: number | false;
  /** The maximum lifetime of a stream, in milliseconds. The stream is then closed with the code `deadline`. A client that can resume is asked to come back, as in a shutdown. Default: `false`. */
  readonly maxDuration?: number | false;
  /** The limits of the queue of chunks from a source that cannot be paced, such as an Observable or `send()`. Default: 65 536 chunks, 4 MiB. */
  readonly queue?: Partial<QueueLimits>;
  /**
   * The policy when the queue of a client is full.
   * - `disconnect` (default): the client is disconnected, and a warning is logged
   * - `drop-oldest`, `drop-newest`: chunks are dropped. Formats with events or records report their number in a `lagged` event
   */
  readonly overflow?: OverflowPolicy;
  /** The `type` of the event that reports an error to an SSE client. Default: `error`. */
  readonly errorEvent?: string;
  /**
   * Which chunks are events.
   * - `shape`: objects that `event()` returns, and every object that looks like Nest's `MessageEvent`: it has no keys other than `data`, `id`,
   *   `type`, `retry` and `comment`, and at least one of `data`, `retry` and `comment`
   * - `explicit`: only objects that `event()` returns. Every other object is data
   *
   * The events of a hub are events in both cases.
   * Default: `shape` on a route whose only format has the fields of an event, such as `@Sse()`; `explicit` on all other routes.
   */
  readonly events?: 'shape' | 'explicit';
  /**
   * Compresses bodies as `Accept-Encoding` allows. `true`: with all encodings of the running version of Node.js. For options that a route leaves out,
   * those of the application are used. Default: `false`.
   * @example { encodings: ['br', 'gzip'], threshold: 512 }
   */
  readonly compression?: boolean | StreamCompression;
  /**
   * Whether a browser that navigates to the stream receives an HTML page, which shows the chunks as they arrive. It takes precedence over the
   * formats of the route, and is meant for development. Default: `false`. On a route with several formats, the browser then shows plain text.
   */
  readonly browser?: boolean;
  /** Limits for the streams of the route, or for all streams of the application together. */
  readonly limits?: StreamLimits;
  /**
   * Returns the labels of a stream, by which {@link StreamRegistry} can close it, or `undefined` for none. Called with the request of the platform, after the guards and
   * before the handler. The labels of a route are added to those of the application. See also `stream.label()`. Default: none.
   * @example labels: (request: AuthenticatedRequest) => ({ user: request.user.id })
   */
  labels?(request: unknown): StreamLabels | undefined;
  /**
   * Returns when the access of a client expires: in milliseconds since the epoch, as a `Date`, or `undefined` if it does not. Called with the request of the
   * platform, after the guards and before the handler. A request whose access has expired already gets 401. Otherwise, the stream ends with the code `expired`, at
   * most a second later. `stream.expire()` replaces the time. Default: access does not expire.
   * @example expiresAt: (request: AuthenticatedRequest) => request.user.exp * 1000
   */
  expiresAt?(request: unknown): number | Date | undefined;
  /**
   * Calls guards again while a stream is open, with the same `ExecutionContext` and the request as it is now. If one of them refuses the client, the stream ends
   * with the code `revoked`. A guard refuses by returning `false`, or by throwing an exception with a status from 400 to 499, except 408, 425 and 429.
   * While the guards of a stream run, nothing is sent to its client: chunks wait in its queue. `false`: not for this route. Default: guards run once, before the stream opens.
   *
   * - `every`: the longest time between two checks of a stream, in milliseconds, at least 1000. The time is random, and at least half of it
   * - `guards`: guards, or classes of guards, which are resolved through dependency injection. They must not set headers of the response
   * - `onFault`: what happens if a guard throws another error, or has not answered within 5 seconds, so that it is not known whether the client may go on. `keep` (default): the
   *   stream goes on, but for five checks in a row at most. `close`: it ends. A client that can resume is asked to come back, as in a shutdown. For others, the stream fails
   * @example { every: 30_000, guards: [SessionGuard] }
   */
  readonly reauthorize?:
    | false
    | {
        readonly every: number;
        readonly guards: readonly (CanActivate | Type<CanActivate>)[];
        readonly onFault?: 'keep' | 'close';
      };
}

type StreamItemClass = Type<unknown> | readonly [Type<unknown>];
type StreamItemType = StreamItemClass | (() => StreamItemClass);
/** The protocols over which clients can request a stream. */
export type StreamProtocol = 'http' | 'websocket';

/** Options of WebSockets, for all streams of the application. */
export interface WebSocketOptions {
  /**
   * The origins, other than that of the server, whose pages may open a WebSocket: a list such as `['https://app.example.com']`, `*` for all, or
   * a function that receives the header `Origin` and the request of the platform. Pages of the server's own origin, and clients that are not
   * browsers, are always allowed. Default: none.
   */
  readonly origins?: '*' | readonly string[] | ((origin: string, request: unknown) => boolean);
  /** The maximum size of a message of a client, in bytes. A larger message closes the WebSocket with the code 1009. Default: 65 536. */
  readonly maxPayload?: number;
  /**
   * The maximum number of frames of a message. More frames close the WebSocket with the code 1008. Browsers send a message in one frame, or in a
   * few frames if it is large. Default: 256.
   */
  readonly maxFragments?: number;
  /**
   * The limits of the queue of messages that wait to be read from `stream.messages`. While the queue is full, the socket is not read. Messages
   * that were read from the socket at the same time are kept in addition. Default: 64 messages, 65 536 bytes.
   */
  readonly messages?: Partial<QueueLimits>;
}

/** Options of `@Stream()`. */
export interface StreamOptions extends StreamBehavior {
  /**
   * The protocols over which clients can request the route. Default: HTTP; with `forRoot({ websocket })`, also WebSocket if the method is `GET`.
   */
  readonly protocols?: StreamProtocol | readonly StreamProtocol[];
  /**
   * Makes the method the producer of a run, which can outlive the request that has started it, and says what becomes of the run when its last client
   * leaves: see `onDisconnect` of `registerRuns()`. The settings of these runs are the option `runs` of `StreamingModule.forRoot()`.
   *
   * The header `Content-Location` of the response is a URL at which the run can be joined, with the same HTTP method. A client that reconnects with
   * the `Last-Event-ID` of a chunk receives the chunks that follow. Guards run for every request. The method and its interceptors are called once, by the first request.
   * `@StreamSignal()` is the signal of the run, and `@ConnectedStream()` is not possible. If there is no such run, or it is over and the client
   * has received all of it, the status is 204. Default: the method is called for every request, and its stream ends with the response.
   */
  readonly onDisconnect?: RunDisconnect;
  /** The HTTP method of the route, if no other decorator maps it. Default: `GET`. */
  readonly method?: RequestMethod;
  /**
   * The type of a chunk, for the OpenAPI document of `@nestjs/swagger`: a class, `[Class]` for an array of it, or a function that returns one
   * of these. It does not change the stream. Default: chunks are not described.
   */
  readonly type?: StreamItemType;
}

/** Options of `@Sse()`. */
export interface SseOptions extends Omit<StreamOptions, 'format'> {
  /** Another name for `queue.bytes`, as in `@Sse()` of `@nestjs/common`. `0` and `Infinity`: no limit. */
  readonly maxPendingDataLength?: number;
}

/** Hooks, or a class of hooks that is resolved through dependency injection. */
export type StreamHooksLike<T = unknown> = StreamHooks<T> | Type<StreamHooks<T>>;

/** Options of `StreamingModule.forRoot()`. */
export interface StreamingModuleOptions extends StreamBehavior {
  /** Hooks for all streams of the application, outermost first. Classes are resolved through dependency injection. */
  readonly hooks?: StreamHooksLike | readonly StreamHooksLike[];
  /**
   * Stores the logs of all hubs without the option `broker`. It is closed with the application. Default: a {@link MemoryBroker}.
   */
  readonly broker?: Broker;
  /**
   * The OpenAPI version in which stream routes are described if `@nestjs/swagger` is installed. `false`: they are not described.
   * Default: with `itemSchema` for tools that support 3.2, and with `schema` for tools that support 3.0 or 3.1. A strict validator for 3.0 or 3.1
   * refuses `itemSchema`: if you use one, set the version.
   */
  readonly openapi?: '3.0' | '3.1' | '3.2' | false;
  /**
   * Settings of the runs of routes with the option `onDisconnect`. They have no owner, and so no `limits.perOwner`. The settings of runs with a name are the
   * options of `StreamingModule.registerRuns()`.
   */
  readonly runs?: Omit<RunBehavior, 'onDisconnect'>;
  /** Whether clients can also request streams over WebSocket. The package `ws` must be installed. Default: `false`. */
  readonly websocket?: boolean | WebSocketOptions;
  /**
   * How an `EventSource` is refused while the application closes, or over `limits.connections`. Any `GET` request whose header `Accept` is
   * exactly `text/event-stream` counts as an `EventSource`, on a route with the format `sse`.
   * - `retry` (default): with the status 200, an event of type `shutdown` whose `retry` is the time until it reconnects, and a clean end. After
   *   any other status, an `EventSource` does not reconnect
   * - `status`: with the status 503, like all other clients
   */
  readonly refusal?: 'retry' | 'status';
  /** How `app.close()` ends open streams. Streams of hubs never end by themselves, so they are closed without waiting for `grace`. */
  readonly shutdown?: {
    /** How long streams may take to end by themselves, in milliseconds. `0`: they are closed immediately. Default: 5000. */
    readonly grace?: number;
    /**
     * The time after which SSE clients reconnect, in milliseconds. It varies by ± 50 %, so that they do not all reconnect at once. `false`: no time is sent.
     * Default: 3000.
     */
    readonly retry?: number | false;
  };
}
