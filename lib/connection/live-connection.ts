import type { WireProtocol } from '../transport/transport.js';
import { isThenable, onRejection, queued, shelter } from '../util/thenable.js';
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

/** The messages of a client that cannot send any. */
const NO_MESSAGES: AsyncIterable<never> = {
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve({ done: true, value: undefined }) }),
};

/** The public side of a stream: see {@link StreamConnection}. */
export class LiveConnection extends StreamCore {
  private sends: Promise<void> | undefined;
  private sendsWaiting = 0;

  get id(): string {
    return this.parts.id.toString(36);
  }

  get route(): string {
    return this.parts.settings.route;
  }

  get request(): unknown {
    return this.parts.request;
  }

  get state(): StreamState {
    return this.current;
  }

  get format(): string | undefined {
    return this.body.format?.name;
  }

  get protocol(): WireProtocol {
    return this.parts.transport.protocol;
  }

  get lastEventId(): string | undefined {
    return this.parts.lastEventId;
  }

  get bufferedAmount(): number {
    return this.parts.transport.bufferedAmount + this.body.size;
  }

  get messages(): AsyncIterable<string | Uint8Array> {
    const { transport } = this.parts;
    if (!transport.receive) {
      return NO_MESSAGES;
    }
    return {
      // Not in the getter: what only looks at a stream, such as a logger, must not pause its client.
      [Symbol.asyncIterator]: () => this.receive()[Symbol.asyncIterator](),
    };
  }

  get signal(): AbortSignal {
    if (!this.controller) {
      this.controller = new AbortController();
      if (isOver(this.current) || (this.current === 'closing' && this.reason?.code !== 'completed')) {
        this.controller.abort(this.closeError());
      }
    }
    return this.controller.signal;
  }

  status(code: number): this {
    this.demand('status');
    this.parts.head?.status(code);
    return this;
  }

  header(name: string, value: string | readonly string[]): this {
    this.demand('header');
    this.parts.head?.header(name, value);
    return this;
  }

  open(): this {
    this.demand('open');
    this.attempt(() => this.openEmpty());
    return this;
  }

  send(chunk: unknown): Promise<void> {
    try {
      return this.accept(queued(chunk));
    } catch (error) {
      this.fail(error);
      return rejected(error);
    }
  }

  /** Has messages kept for somebody who may ask for them. */
  expectMessages(): void {
    this.parts.transport.expect?.();
  }

  flush(): this {
    if (!isOver(this.current)) {
      this.body.flush();
    }
    return this;
  }

  close(): Promise<void> {
    return this.end({ code: 'completed' });
  }

  hooks(hooks: StreamHooks): this {
    this.demand('hooks');
    this.addHooks(hooks);
    return this;
  }

  protected override get unsent(): Promise<void> | undefined {
    return this.sends;
  }

  private receive(): AsyncIterable<string | Uint8Array> {
    return this.parts.transport.receive?.(() => this.attempt(() => this.openEmpty())) ?? NO_MESSAGES;
  }

  private accept(chunk: unknown): Promise<void> {
    // Behind the end of the body there is no place, even if the client has not taken all of it.
    const state = this.ending === undefined ? this.current : 'closed';
    const error = illegal('send', state, isOver(state) ? this.closeError() : undefined);
    if (error) {
      onRejection(chunk, (late) => this.late(late));
      shelter(chunk);
      return rejected(error);
    }
    if (!this.admit(this.sendsWaiting)) {
      onRejection(chunk, (late) => this.fail(late));
      shelter(chunk);
      return isOver(this.current) ? rejected(this.closeError()) : SENT;
    }
    const wait = this.callerOpens ? this.take(chunk) : this.inTurn(chunk);
    return isThenable(wait) ? this.follow(wait) : this.room();
  }

  private demand(operation: StreamOperation): void {
    const error = illegal(operation, this.current);
    if (error) {
      throw error;
    }
  }

  private inTurn(chunk: unknown): void | PromiseLike<unknown> {
    if (!this.sends) {
      return this.emit(chunk);
    }
    shelter(chunk);
    return this.sends.then(() => this.emit(chunk));
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
