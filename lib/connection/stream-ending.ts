import { StreamCloseError, StreamStateError } from '../errors.js';
import { formatSse } from '../format/sse.format.js';
import { isFlushMark } from '../source/flush.js';
import { isError } from '../util/error-text.js';
import { after, isThenable } from '../util/thenable.js';
import { messageOf, type StreamCloseReason } from './close-reason.js';
import { isOver, transition } from './connection-state.js';
import { inTurn, type StreamHooks } from './hooks.js';
import { StreamOpening } from './stream-opening.js';

/** How a stream ends: well, badly, or because the client is gone. */
export abstract class StreamEnding extends StreamOpening {
  protected reason: StreamCloseReason | undefined;
  protected controller: AbortController | undefined;
  /** What the rest of the body waits for the client with, and `ended` when all of it has been handed over. */
  protected ending: 'end' | 'truncate' | 'ended' | undefined;
  /** Whether the handler was, or is about to be, called. */
  protected reached = false;
  private settled = false;
  private closing: { readonly promise: Promise<void>; resolve(): void } | undefined;

  /** Ends the stream well. Resolves when it is over. */
  end(reason: StreamCloseReason): Promise<void> {
    if (this.current === 'new' && reason.code !== 'completed') {
      if (this.turnAway(reason, this.parts.settings.services.retryDelay())) {
        return this.closed();
      }
      // There is nothing to end well: an exception filter can say so.
      this.settleOpening({ error: this.parts.settings.services.refusal(messageOf(reason.code)) });
      this.over(reason);
    } else if (this.current === 'new' || this.current === 'open') {
      this.attempt(() => this.beginEnd(reason));
    }
    return this.closed();
  }

  /**
   * Answers an `EventSource` in place of the handler: 200, when to come back, in milliseconds, and a clean end. Hooks are not called for what is
   * sent. Returns whether that was possible: else the client is to get a status.
   */
  turnAway(reason: StreamCloseReason, retry: number | undefined): boolean {
    const { reconnects, head } = this.parts;
    if (!reconnects || !head || this.current !== 'new') {
      return false;
    }
    this.current = transition(transition(this.current, 'open'), 'closing');
    this.reason = reason;
    this.halt();
    this.attempt(() => {
      head.status(200);
      this.fixHead();
      this.body.put(formatSse({ type: 'shutdown', retry, data: {} }));
      this.body.close();
      this.finish('end');
    });
    return true;
  }

  /** Ends the stream badly. Before it has opened, the error is for the exception filters. */
  override fail(error: unknown): void {
    if (isOver(this.current)) {
      this.late(error);
      return;
    }
    const refused = !this.headFixed;
    this.current = transition(this.current, 'errored');
    this.reason = { code: 'error', error };
    this.halt();
    if (refused) {
      this.settleOpening({ error });
      if (this.reached) {
        void this.lastWords(error, false);
      }
      this.settle();
      return;
    }
    const { logger, describeError } = this.parts.settings.services;
    logger.error(`${this.name} failed after it had been opened`, error);
    const finish = (): void => {
      let whole = false;
      this.guarded(() => {
        whole = this.body.putError(describeError(error), error);
      }, 'error record');
      this.finish(whole ? 'end' : 'truncate');
    };
    after(this.lastWords(error, true), finish, (again) => this.late(again));
  }

  /** Gives the client up, at once. */
  cut(reason: StreamCloseReason): void {
    if (!this.settled) {
      const { lateHook } = this;
      this.parts.settings.services.logger.warn(
        `${this.name} was closed. ${messageOf(reason.code)}${lateHook === undefined ? '' : `, and its ${lateHook} hook had not finished`}`,
      );
      this.over(reason);
      this.parts.transport.destroy(reason.code);
    }
  }

  /** Hears of an error that comes too late to be the stream's. */
  late(error: unknown): void {
    const { transport, settings } = this.parts;
    const { logger } = settings.services;
    if (error === this.controller?.signal.reason || saysOver(error) || isAbortError(error)) {
      return;
    }
    if (transport.saysAborted?.(error)) {
      logger.debug(`${this.name}: its client left before it had sent its whole request`);
    } else {
      logger.error(`${this.name} threw after it was over`, error);
    }
  }

  /** Tells the source, if there is one, to stop. */
  protected abstract stopSource(): void;

  /** What was sent and is still in a hook, if anything. Never rejects. */
  protected abstract get unsent(): PromiseLike<unknown> | undefined;

  protected get name(): string {
    return `${this.parts.settings.route} (stream ${this.id})`;
  }

  /** Why the stream is over, as the signal and rejected sends tell it. */
  protected closeError(): StreamCloseError {
    const { code, error } = this.reason ?? { code: 'completed' as const };
    return new StreamCloseError(
      code,
      `${this.name}: ${messageOf(code)}`,
      error === undefined ? undefined : { cause: error },
    );
  }

  /** Runs; what is thrown is the stream failing. */
  protected attempt(run: () => unknown): void {
    try {
      const wait = run();
      if (isThenable(wait)) {
        Promise.resolve(wait).then(undefined, (error: unknown) => this.fail(error));
      }
    } catch (error) {
      this.fail(error);
    }
  }

  /** The hook that the end of the stream waits for, if it does. */
  private get lateHook(): keyof StreamHooks | undefined {
    if (this.gate !== undefined) {
      return 'onOpen';
    }
    if (this.ending !== undefined || (this.current !== 'closing' && this.current !== 'errored')) {
      return undefined;
    }
    if (this.current === 'errored') {
      return 'onError';
    }
    return this.unsent === undefined ? 'beforeClose' : 'beforeChunk';
  }

  /** Sends what a hook returned, if anything, past the other hooks. */
  protected answer(chunk: unknown): void | PromiseLike<unknown> {
    if (isThenable(chunk)) {
      return Promise.resolve(chunk).then((value) => this.answer(value));
    }
    if (isFlushMark(chunk)) {
      this.body.flush();
    } else if (chunk !== undefined) {
      const encoded = this.body.encode(chunk);
      return encoded instanceof Promise ? encoded.then((late) => this.body.put(late)) : this.body.put(encoded);
    }
  }

  /** Hands the rest of the body over, now or when the client has taken what is before it. */
  protected finish(how: 'end' | 'truncate'): void {
    const { body } = this;
    const { transport } = this.parts;
    this.ending = how;
    if (this.settled || body.blocked) {
      return;
    }
    if (how === 'truncate' && transport.queued) {
      // It would take the response before it along. The clock comes back to it.
      return;
    }
    const rest = body.takeLast(how === 'end');
    this.ending = 'ended';
    body.progress();
    if (how === 'end') {
      transport.end(rest.length === 0 ? undefined : rest, this.reason?.code ?? 'completed');
      return;
    }
    transport.truncate(rest, this.parts.settings.services.describeError(this.reason?.error).statusCode);
  }

  /** The last transition: nothing can be sent any more, now or because all was. */
  protected over(reason: StreamCloseReason): void {
    if (this.settled) {
      return;
    }
    if (!this.headFixed && reason.code === 'client-closed') {
      this.parts.head?.abandon();
    }
    if (this.current !== 'errored') {
      this.current = transition(this.current, 'closed');
      this.reason = reason;
    }
    this.halt();
    this.settle();
  }

  protected closed(): Promise<void> {
    if (this.settled) {
      return Promise.resolve();
    }
    if (!this.closing) {
      let resolve = (): void => undefined;
      const promise = new Promise<void>((done) => {
        resolve = done;
      });
      this.closing = { promise, resolve };
    }
    return this.closing.promise;
  }

  protected beginEnd(reason: StreamCloseReason): void | PromiseLike<void> {
    this.reason = reason;
    if (this.current === 'new') {
      this.commit();
    }
    this.current = transition(this.current, 'closing');
    if (reason.code === 'completed') {
      this.stopSource();
    } else {
      this.halt();
    }
    const farewell = (): unknown =>
      this.current === 'closing' ? this.runHooks('beforeClose', (hooks) => hooks.beforeClose?.(this)) : undefined;
    const finish = (): void => {
      if (this.current === 'closing') {
        this.body.chooseEmpty();
        this.fixHead();
        this.body.close();
        this.finish('end');
      }
    };
    return inTurn([() => this.gate, () => this.unsent, farewell, () => this.unsent, finish], (step) => step());
  }

  /** Has the producer stop: aborts the signal and stops the source. */
  private halt(): void {
    if (this.controller && !this.controller.signal.aborted) {
      this.within(() => this.controller?.abort(this.closeError()));
    }
    this.stopSource();
  }

  private settle(): void {
    const { services } = this.parts.settings;
    this.settled = true;
    services.registry.delete(this, this.reason ?? { code: 'completed' });
    for (const admission of this.parts.admissions ?? []) {
      admission.leave();
    }
    this.body.release(() => this.closeError());
    this.settleOpening();
    if (this.reason && this.reached) {
      this.tellClosed(this.reason);
    }
    this.closing?.resolve();
  }

  private tellClosed(reason: StreamCloseReason): void {
    for (const hooks of this.chain) {
      this.guarded(() => hooks.onClose?.(this, reason), 'onClose hook');
    }
  }

  /** Runs `onError`, and sends what it returns if there is somewhere to send it. A promise when one of the hooks returned one. */
  private lastWords(error: unknown, sends: boolean): unknown {
    const say = (hooks: StreamHooks): unknown =>
      this.guarded(() => {
        const chunk = hooks.onError?.(error, this);
        return sends ? this.answer(chunk) : chunk;
      }, 'onError hook');
    return this.guarded(() => this.runHooks('onError', say), 'onError hook');
  }

  /** Runs what belongs to a stream that has failed or is over: what it throws can only be logged. */
  protected guarded(run: () => unknown, what: string): unknown {
    const log = (error: unknown): void => {
      this.parts.settings.services.logger.error(`${this.name}: the ${what} threw`, error);
    };
    try {
      const wait = this.within(run);
      return isThenable(wait) ? Promise.resolve(wait).then(undefined, log) : undefined;
    } catch (error) {
      log(error);
      return undefined;
    }
  }
}

/** Whether an error only says that a stream is over: `send()` rejects with it, so that what pushes in a loop ends. */
function saysOver(error: unknown): boolean {
  const said = isError(error) && error instanceof StreamStateError ? error.cause : error;
  return isError(said) && said instanceof StreamCloseError;
}

/** Whether it only says that something was aborted, as what listens to the signal of a stream does. */
function isAbortError(error: unknown): boolean {
  try {
    return isError(error) && error.name === 'AbortError';
  } catch {
    return false;
  }
}
