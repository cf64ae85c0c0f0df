import type { StreamEvent } from '../event/event.js';
import type { FlushMark } from '../source/flush.js';
import type { WireProtocol } from '../transport/transport.js';
import type { StreamState } from './connection-state.js';
import type { StreamHooks } from './hooks.js';

/**
 * One client being streamed to. Inject it with `@ConnectedStream()` to set the status and headers after
 * asynchronous work, to send chunks yourself, or to hear of the client's going.
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
  /** Tells streams of one process apart, in logs for example. */
  abstract readonly id: string;

  /** The class and method that serve it: `Feed.prices`. */
  abstract readonly route: string;

  /** The request as the platform gives it: Express's or Fastify's. */
  abstract readonly request: unknown;

  /** Where the stream is in its life. */
  abstract readonly state: StreamState;

  /** The name of the format, once it is decided: by the route, by the client, or by the first chunk. */
  abstract readonly format: string | undefined;

  /** What the client speaks: `http/1.1` (also for HTTP/1.0), `http/2` or `websocket`. */
  abstract readonly protocol: WireProtocol;

  /** The `Last-Event-ID` of the client, if it has one: where it wants to go on. */
  abstract readonly lastEventId: string | undefined;

  /** Bytes accepted, but not yet taken by the operating system. */
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
   * Sets the status of the response. Default: the one of the route, as on any Nest route.
   * @throws {StreamStateError} once the stream has opened
   */
  abstract status(code: number): this;

  /**
   * Sets a header of the response. `Set-Cookie` is added to those there are.
   * @throws {StreamStateError} once the stream has opened
   */
  abstract header(name: string, value: string | readonly string[]): this;

  /**
   * Sends the status and headers although there is no chunk yet. Where the first chunk decides on the format, it is waited for.
   * @throws {StreamStateError} once the stream has opened
   */
  abstract open(): this;

  /**
   * Sends a chunk. Resolves when the client can take more: wait for it, and a slow client slows you down. What you do
   * not wait for is held in the stream's queue, within its bounds (`queue`, `overflow`).
   *
   * Rejects with a {@link StreamCloseError} when the stream ends before that, and with a {@link StreamStateError} when it has
   * ended already, each time it is called, so that a loop ends. A rejection that is not handled does not count as an unhandled
   * rejection; that of an async callback which awaits it does, and ends the process: stop a timer in `onClose`.
   */
  abstract send(chunk: T | StreamEvent<T> | FlushMark): Promise<void>;

  /** Hands over what was sent so far, whatever the flush policy. */
  abstract flush(): this;

  /** Ends the stream well, after what was sent so far. Resolves when it is over, also if it was already. Do not wait for it in a hook. */
  abstract close(): Promise<void>;

  /**
   * Adds hooks to this stream, innermost.
   * @throws {StreamStateError} once the stream is ending
   */
  abstract hooks(hooks: StreamHooks<T>): this;
}
