import type { StreamEvent } from '../format/event.js';
import type { FlushMark } from '../source/flush.js';
import { isThenable } from '../source/thenable.js';
import { illegal, isOver, type StreamOperation, type StreamState } from './connection-state.js';
import type { StreamHooks } from './hooks.js';
import { StreamCore } from './stream-core.js';

const SENT: Promise<void> = Promise.resolve();

/** A promise the caller may leave alone, as in `void stream.send()`: what it would reject with is in `onClose` and the log too. */
function optional<P>(promise: Promise<P>): Promise<P> {
  promise.then(undefined, () => undefined);
  return promise;
}

function rejected(error: unknown): Promise<never> {
  return optional(Promise.reject(error));
}

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
export class StreamConnection<T = unknown> extends StreamCore {
  private sends: Promise<void> | undefined;
  private sendsWaiting = 0;

  /** Tells streams of one process apart, in logs for example. */
  get id(): string {
    return this.parts.id;
  }

  /** The class and method that serve it: `Feed.prices`. */
  get route(): string {
    return this.parts.settings.route;
  }

  /** The request as the platform gives it: Express's or Fastify's. */
  get request(): unknown {
    return this.parts.request;
  }

  /** Where the stream is in its life. */
  get state(): StreamState {
    return this.current;
  }

  /** The name of the format, once it is decided: by the route, by the client, or by the first chunk. */
  get format(): string | undefined {
    return this.body.format?.name;
  }

  /** The `Last-Event-ID` of the client, if it has one: where it wants to go on. */
  get lastEventId(): string | undefined {
    return this.parts.lastEventId;
  }

  /** Bytes accepted, but not yet taken by the operating system. */
  get bufferedAmount(): number {
    return this.parts.transport.bufferedAmount + this.body.size;
  }

  /** Aborted when the stream is over or the server is ending it. Its reason is a `StreamError` with the close code. */
  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (isOver(this.current)) {
        this.controller.abort(this.closeError());
      }
    }
    return this.controller.signal;
  }

  /**
   * Sets the status of the response. Default: the one of the route, as on any Nest route.
   * @throws {StreamStateError} once the stream has opened
   */
  status(code: number): this {
    this.demand('status');
    this.parts.head.status(code);
    return this;
  }

  /**
   * Sets a header of the response.
   * @throws {StreamStateError} once the stream has opened
   */
  header(name: string, value: string | readonly string[]): this {
    this.demand('header');
    this.parts.head.header(name, value);
    return this;
  }

  /**
   * Sends the status and headers although there is no chunk yet. Where the first chunk decides on the format, it is waited for.
   * @throws {StreamStateError} once the stream has opened
   */
  open(): this {
    this.demand('open');
    this.attempt(() => this.openEmpty());
    return this;
  }

  /**
   * Sends a chunk. Resolves when the client can take more: wait for it, and a slow client slows you down. What you do
   * not wait for is held in the stream's queue, within its bounds (`queue`, `overflow`).
   *
   * Rejects with a `StreamError` whose code is the close code when the stream ends before, and with a
   * {@link StreamStateError} when it has ended already. A rejection nobody handles is not an unhandled one.
   */
  send(chunk: T | StreamEvent<T> | FlushMark): Promise<void> {
    // Behind the end of the body there is no place, even if the client has not taken all of it.
    const state = this.ending === undefined ? this.current : 'closed';
    const error = illegal('send', state, isOver(state) ? this.closeError() : undefined);
    if (error) {
      return rejected(error);
    }
    if (!this.admit(this.sendsWaiting)) {
      return isOver(this.current) ? rejected(this.closeError()) : SENT;
    }
    try {
      const wait = this.sends ? this.sends.then(() => this.take(chunk)) : this.take(chunk);
      return isThenable(wait) ? this.follow(wait) : this.room();
    } catch (error) {
      this.fail(error);
      return rejected(error);
    }
  }

  /** Hands over what was sent so far, whatever the flush policy. */
  flush(): this {
    if (!isOver(this.current)) {
      this.body.flush();
    }
    return this;
  }

  /** Ends the stream well, after what was sent so far. Resolves when it is over, also if it was already. */
  close(): Promise<void> {
    return this.end({ code: 'completed' });
  }

  /**
   * Adds hooks to this stream, innermost.
   * @throws {StreamStateError} once the stream is ending
   */
  hooks(hooks: StreamHooks<T>): this {
    this.demand('hooks');
    this.addHooks(hooks as StreamHooks);
    return this;
  }

  protected override get unsent(): Promise<void> | undefined {
    return this.sends;
  }

  private demand(operation: StreamOperation): void {
    const error = illegal(operation, this.current);
    if (error) {
      throw error;
    }
  }

  /** Keeps sends in order behind a hook that takes its time. */
  private follow(wait: PromiseLike<unknown>): Promise<void> {
    this.sendsWaiting++;
    const sent = Promise.resolve(wait).then(
      () => this.room(),
      (error: unknown) => {
        this.fail(error);
        throw error;
      },
    );
    const passed = (): void => {
      this.sendsWaiting--;
      if (this.sends === tail) {
        this.sends = undefined;
      }
    };
    const tail: Promise<void> = Promise.resolve(wait).then(passed, passed);
    this.sends = tail;
    return optional(sent);
  }

  private room(): Promise<void> {
    if (isOver(this.current)) {
      return rejected(this.closeError());
    }
    return this.body.blocked ? optional(this.body.drained()) : SENT;
  }
}
