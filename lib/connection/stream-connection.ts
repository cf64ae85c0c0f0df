import type { StreamEvent } from '../event/event.js';
import type { FlushMark } from '../source/flush.js';
import type { WireProtocol } from '../transport/transport.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import type { StreamState } from './lifecycle.js';

/**
 * The stream to one client. Inject it with `@ConnectedStream()` to set the status and headers after
 * asynchronous work, to send chunks yourself, or to be notified when the client disconnects.
 *
 * A method that injects it and returns nothing keeps the stream open until `close()`.
 *
 * @example
 * ```ts
 * @Stream('tail', { method: RequestMethod.POST, format: 'ndjson' })
 * tail(@ConnectedStream() stream: StreamConnection<LogLine>) {
 *   stream.status(202).header('X-Tail', 'on');
 *   const stop = this.log.onLine((line) => void stream.send(line));
 *   stream.hooks({ onClose: stop });
 * }
 * ```
 */
export abstract class StreamConnection<T = unknown> {
  /** Identifies the stream within its process, in logs for example. */
  abstract readonly id: string;

  /** The class and method of the handler: `Feed.prices`. */
  abstract readonly route: string;

  /** The request of the platform: Express's or Fastify's. */
  abstract readonly request: unknown;

  /** The state of the stream. */
  abstract readonly state: StreamState;

  /** The name of the format, once the route, the client or the first chunk has decided it; `undefined` before. */
  abstract readonly format: string | undefined;

  /** The protocol of the client: `http/1.1` (also for HTTP/1.0), `http/2` or `websocket`. */
  abstract readonly protocol: WireProtocol;

  /** The `Last-Event-ID` that the client sent, to resume after it. `undefined` without one. */
  abstract readonly lastEventId: string | undefined;

  /** The number of bytes that were accepted, but not yet taken by the operating system. */
  abstract readonly bufferedAmount: number;

  /**
   * The messages of a WebSocket client: text as strings, binary as bytes. Reading them opens the stream, because a client sends nothing
   * before that. The iteration ends with the stream. Over HTTP there are no messages, and it ends at once.
   *
   * Messages that wait to be read are bounded (`websocket.messages`). Once an iteration has begun, a client that exceeds the bounds is not
   * read from until there is room. Before that, messages are kept within the same bounds where `@ConnectedStream()` is injected, and
   * dropped otherwise.
   *
   * @throws {StreamStateError} when a second iteration begins
   *
   * @example
   * ```ts
   * @Stream('echo')
   * async *echo(@ConnectedStream() stream: StreamConnection) {
   *   for await (const message of stream.messages) yield message;
   * }
   * ```
   */
  abstract readonly messages: AsyncIterable<string | Uint8Array>;

  /** Aborted when the stream is over, or when the server begins to end it. Its reason is a {@link StreamCloseError}. */
  abstract readonly signal: AbortSignal;

  /**
   * Sets the status of the response. Default: that of the route, as on any Nest route.
   * @throws {StreamStateError} once the stream has opened
   */
  abstract status(code: number): this;

  /**
   * Sets a header of the response. `Set-Cookie` is added to those that are set.
   * @throws {StreamStateError} once the stream has opened
   */
  abstract header(name: string, value: string | readonly string[]): this;

  /**
   * Sends the status and headers before there is a chunk. Where the first chunk decides the format, this waits for it.
   * @throws {StreamStateError} once the stream has opened
   */
  abstract open(): this;

  /**
   * Sends a chunk. Resolves when the client can take more: await it, so that you send at the pace of the client. Chunks that are not awaited
   * wait in the queue of the stream, within its bounds (`queue`, `overflow`).
   *
   * Rejects with a {@link StreamCloseError} when the stream ends before that, and with a {@link StreamStateError} when it has
   * ended already, each time it is called, so that a loop ends. A rejection that is not handled does not count as an unhandled
   * rejection; that of an async callback which awaits it does, and ends the process: stop a timer in `onClose`.
   */
  abstract send(chunk: T | StreamEvent<T> | FlushMark): Promise<void>;

  /** Writes what was sent so far, whatever the flush policy. */
  abstract flush(): this;

  /** Ends the stream well, after what was sent so far. Resolves once it is over, at once if it already is. Do not await it in a hook. */
  abstract close(): Promise<void>;

  /**
   * Adds hooks to this stream, innermost.
   * @throws {StreamStateError} once the stream is ending
   */
  abstract hooks(hooks: StreamHooks<T>): this;
}

/**
 * Methods that are called in the course of a stream, in this order. Every method is optional, and is called in the
 * `AsyncLocalStorage` context of the request.
 *
 * Given per application (`forRoot({ hooks })`), per class or method (`@UseStreamHooks()`) or per
 * connection (`stream.hooks()`); run outermost first. A hook that throws is treated as the stream failing.
 *
 * @example
 * ```ts
 * @Injectable()
 * export class Metering implements StreamHooks {
 *   onClose(stream: StreamConnection, reason: StreamCloseReason) {
 *     this.meter.record(stream.route, reason.code);
 *   }
 * }
 * ```
 */
export interface StreamHooks<T = unknown> {
  /** The status and headers are final; nothing was sent yet. What the hook sends comes first. May return a promise: chunks wait for it. */
  onOpen?(stream: StreamConnection<T>): unknown;
  /**
   * Called with every chunk, before it is encoded. Return the chunk, another one, an array of several, or `undefined` to drop it.
   * A promise of these, or of one in the array, makes the next chunk wait. To replace a chunk by one that is an array,
   * return `[array]`.
   *
   * A chunk that is a promise has been awaited. The `data` of an event has not: if it is a promise, the hook receives that promise.
   */
  beforeChunk?(chunk: T, stream: StreamConnection<T>): unknown;
  /** The stream is about to end well. The hook may still send. May return a promise. */
  beforeClose?(stream: StreamConnection<T>): unknown;
  /**
   * The stream failed. May return a last chunk, which is sent before the error record of the format. Before the head it is not sent,
   * because an exception filter responds.
   */
  onError?(error: unknown, stream: StreamConnection<T>): unknown;
  /** The application is shutting down. May return a farewell chunk. */
  onShutdown?(stream: StreamConnection<T>): unknown;
  /** The stream is over, whatever ended it. Called exactly once for every stream whose handler was called. Its errors are logged. */
  onClose?(stream: StreamConnection<T>, reason: StreamCloseReason): unknown;
}
