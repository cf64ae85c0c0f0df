import type { StreamEvent } from '../event/event.js';
import type { FlushMark } from '../source/flush.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import type { StreamLabels } from '../util/labels.js';
import type { StreamState } from './lifecycle.js';

/**
 * The stream to one client. Inject it with `@ConnectedStream()` to set the status and headers after asynchronous work, to send chunks
 * yourself, or to be notified when the client disconnects.
 *
 * If a method injects it and returns `undefined`, the stream stays open until `close()` is called.
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
  /** Identifies the stream within its process, for example in logs. */
  abstract readonly id: string;

  /** The class and method of the handler: `Feed.prices`. */
  abstract readonly route: string;

  /** The request object of the platform, Express or Fastify. */
  abstract readonly request: unknown;

  /** The state of the stream. */
  abstract readonly state: StreamState;

  /** The name of the format. `undefined` while it still depends on the first chunk. */
  abstract readonly format: string | undefined;

  /** The protocol of the client: `http/1.1` (also for HTTP/1.0), `http/2` or `websocket`. */
  abstract readonly protocol: 'http/1.1' | 'http/2' | 'websocket';

  /** The `Last-Event-ID` of the client, or `undefined` if it has sent none. */
  abstract readonly lastEventId: string | undefined;

  /** The labels of the stream: those of the option `labels`, and those that were added with `label()`. */
  abstract readonly labels: StreamLabels;

  /** The number of bytes that wait in this process to be sent. It grows while the client is slow. */
  abstract readonly bufferedAmount: number;

  /**
   * The messages of a WebSocket client: text as strings, binary data as bytes. Iterating opens the stream, since a client cannot send before
   * that. The iteration ends when the stream ends. Over HTTP there are no messages, and the iteration ends immediately.
   *
   * Unread messages wait in a queue with limits (option `websocket.messages`). While it is full, the socket is not read. Before the iteration
   * begins, further messages are dropped instead. If the method does not inject `@ConnectedStream()`, all messages are dropped.
   *
   * @throws {@link StreamStateError} if it is iterated a second time
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

  /** Aborted when the stream has ended, or when the server begins to close it. Its `reason` is a {@link StreamCloseError}. */
  abstract readonly signal: AbortSignal;

  /**
   * Sets the status of the response. Default: the status of the route, as on any Nest route.
   * @throws {@link StreamStateError} if the stream has opened already
   */
  abstract status(code: number): this;

  /**
   * Sets a header of the response. `Set-Cookie` is added to the cookies that are set already.
   * @throws {@link StreamStateError} if the stream has opened already
   */
  abstract header(name: string, value: string | readonly string[]): this;

  /**
   * Sends the status and headers without waiting for a chunk. If the format depends on the first chunk, they are sent with that chunk.
   * @throws {@link StreamStateError} if the stream has opened already
   */
  abstract open(): this;

  /**
   * Sends a chunk. The promise resolves when the client can take more: await it to send at the pace of the client. If you do not await it,
   * chunks wait in the queue of the stream (options `queue` and `overflow`).
   *
   * The promise rejects with a {@link StreamCloseError} if the stream ends before the client can take more, and with a
   * {@link StreamStateError} if the stream has ended already. You need not handle this rejection. But if an async callback awaits the promise, the
   * promise of the callback rejects too, and ends the process if it is not handled. So stop timers and listeners in `onClose`.
   */
  abstract send(chunk: T | StreamEvent<T> | FlushMark): Promise<void>;

  /** Writes all chunks that were sent so far, with any flush policy. Does nothing after the end. */
  abstract flush(): this;

  /** Ends the stream cleanly, after the chunks that were sent so far. Resolves once the stream has ended. Do not await it in a hook. */
  abstract close(): Promise<void>;

  /**
   * Adds labels such as `{ user: 'u1' }`, by which `StreamRegistry.close()` closes streams, in this process or in all. A label replaces an earlier one with
   * the same name. Does nothing after the end. A stream whose labels were closed in the last 5 seconds is closed, with the code of that close. With `reauthorize`,
   * guards are called instead, if its labels were closed in the last minute.
   *
   * @param labels at most 16 texts, by name. A name and a text have 1 to 256 characters
   * @throws {@link StreamError} with the code `invalid-argument` for anything else
   */
  abstract label(labels: StreamLabels): this;

  /**
   * Sets when the access of the client expires, in place of the option `expiresAt`. The stream then ends with the code `expired`, at most a second later.
   * @param at in milliseconds since the epoch, or as a `Date`. `undefined`: it does not expire
   * @throws {@link StreamError} with the code `invalid-argument` for anything else
   */
  abstract expire(at: number | Date | undefined): this;

  /**
   * Adds hooks to this stream. They run after all other hooks.
   * @throws {@link StreamStateError} if the stream is ending, or has ended
   */
  abstract hooks(hooks: StreamHooks<T>): this;
}

/**
 * Methods that are called during a stream: first `onOpen`, then `beforeChunk` for every chunk, `beforeClose` or `onError` when the stream ends,
 * and `onClose` last. If the access of the client has expired, or was revoked, only `onClose` is called. Every method is optional, and is called in the `AsyncLocalStorage` context of the request.
 *
 * Set hooks for the application (`forRoot({ hooks })`), for a class, for a method (`@UseStreamHooks()`), or for one stream (`stream.hooks()`). They
 * run in this order. If a hook throws, the stream fails.
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
  /**
   * Called when the stream opens: the status and headers can no longer be set, and nothing was sent yet. Chunks that the hook sends come first.
   * It may return a promise, for which all other chunks wait.
   */
  onOpen?(stream: StreamConnection<T>): unknown;
  /**
   * Called with every chunk before it is encoded. Return the chunk, another chunk, an array of several chunks, or `undefined` to drop it. To
   * replace it with a chunk that is itself an array, return `[array]`. The result, or an element of the array, may be a promise, for which the
   * next chunk waits.
   *
   * If a chunk is a promise, the hook receives its value. If the `data` of an event is a promise, the hook receives the promise.
   */
  beforeChunk?(chunk: T, stream: StreamConnection<T>): unknown;
  /** Called before the stream ends cleanly, unless its client may not read it any more. The hook may still send chunks. It may return a promise. */
  beforeClose?(stream: StreamConnection<T>): unknown;
  /**
   * Called when the stream has failed. It may return a last chunk, which is sent before the error record of the format. If the head was not sent
   * yet, the chunk is not sent, because an exception filter responds.
   */
  onError?(error: unknown, stream: StreamConnection<T>): unknown;
  /** Called when the application starts to shut down. It may return a chunk to send. */
  onShutdown?(stream: StreamConnection<T>): unknown;
  /**
   * Called with the token of a message `{"auth": token}` of a WebSocket client. `stream.messages` does not contain such messages then. Check the token, and
   * call `stream.expire()`. To refuse it, return `false`, or throw an exception with the status 401 or 403: the stream ends with the code `revoked`.
   *
   * The hooks are called for one token after the other. Of the tokens that come in the meantime, only the newest is kept. The token is a value that the client
   * has sent: it may be of any type.
   */
  onAuth?(token: unknown, stream: StreamConnection<T>): unknown;
  /** Called when the stream has ended for any reason, exactly once for every stream whose handler was called. Its errors are logged. */
  onClose?(stream: StreamConnection<T>, reason: StreamCloseReason): unknown;
}
