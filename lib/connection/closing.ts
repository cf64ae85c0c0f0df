import { formatSse } from '../format/sse.format.js';
import type { Transport } from '../transport/transport.js';
import { messageOf, type StreamCloseReason } from '../util/close-reason.js';
import { isError } from '../util/error-text.js';
import { isReported, type StreamCloseCode, StreamError } from '../util/errors.js';
import { after, type Deferred, deferred } from '../util/thenable.js';
import type { Body } from './body/body.js';
import { inTurn } from './hooks.js';
import type { BodyEnd, Lifecycle } from './lifecycle.js';
import type { Opening } from './opening.js';
import type { StreamScope } from './scope.js';
import type { StreamConnection, StreamHooks } from './stream-connection.js';
import type { StreamSettings } from './stream-settings.js';

/** The stream that ends. */
export interface ClosingStream extends StreamConnection {
  readonly body: Body;
  readonly lifecycle: Lifecycle;
  readonly transport: Transport;
  readonly settings: StreamSettings;
  readonly opening: Opening | undefined;
  readonly scope: StreamScope;
  readonly feed: {
    /** Resolves when all sent chunks have passed the hooks. `undefined` if they have already. Never rejects. */
    readonly unsent: PromiseLike<unknown> | undefined;
    /** Sends the chunk that a hook returned, if any, past the other hooks. */
    sendHookResult(chunk: unknown): void | PromiseLike<unknown>;
    /** Sends the event `shutdown`, if the client was not sent it before and the format has events. */
    putShutdown(retry: number | undefined): void;
    /** Stops the source, if there is one. */
    stop(): void;
  };
  /** Aborts the signal and stops the source. */
  halt(): void;
  /** Releases the resources of the stream, after its last change. */
  release(reason: StreamCloseReason): void;
}

/** The steps of a clean end. Each may return a promise, for which the next one waits. */
const STEPS: readonly ((closing: Closing) => unknown)[] = [
  ({ opened }) => opened,
  ({ unsent }) => unsent,
  (closing) => closing.farewell(),
  ({ unsent }) => unsent,
  (closing) => closing.end(),
];

/** Ends a stream: cleanly, with an error, or because its client disconnected. */
export class Closing {
  private waiter: Deferred<void> | undefined;

  constructor(private readonly stream: ClosingStream) {}

  /** Resolves once the stream has ended. */
  done(): Promise<void> {
    if (this.stream.lifecycle.step === 'over') {
      return Promise.resolve();
    }
    this.waiter ??= deferred();
    return this.waiter.promise;
  }

  /** Ends the stream cleanly, unless it is ending already. */
  request(reason: StreamCloseReason): void {
    const { lifecycle, opening, scope, settings } = this.stream;
    if (isRefusal(reason.code)) {
      this.refuse(reason);
      return;
    }
    if (opening?.poll?.endWait(reason) || !lifecycle.allows('close')) {
      return;
    }
    if (lifecycle.state !== 'new' || reason.code === 'completed') {
      scope.attempt(() => this.begin(reason));
    } else if (!this.refuseWithRetry(reason, settings.services.retryDelay())) {
      // Nothing was sent yet, so that an exception filter can respond.
      opening?.settle({ error: settings.services.refusal(reason.code) });
      this.over(reason);
    }
  }

  /** Ends the stream cleanly: waits for `onOpen` and for the sent chunks, and then calls `beforeClose`, which may send more. */
  begin(reason: StreamCloseReason): void | PromiseLike<void> {
    const { stream } = this;
    const { lifecycle } = stream;
    if (lifecycle.state === 'new') {
      stream.opening?.commit();
    }
    if (!lifecycle.allows('close')) {
      // An onOpen hook has ended it.
      return;
    }
    lifecycle.close(reason);
    if (reason.code === 'completed') {
      stream.feed.stop();
    } else {
      stream.halt();
    }
    return inTurn(STEPS, (step) => step(this));
  }

  /** Resolves when `onOpen` has returned. Returns `undefined` if it has. */
  get opened(): PromiseLike<unknown> | undefined {
    return this.stream.opening?.gate?.tail;
  }

  /** Resolves when everything that was sent has passed the hooks. Returns `undefined` if it has. */
  get unsent(): PromiseLike<unknown> | undefined {
    return this.stream.feed.unsent;
  }

  /** Runs `beforeClose`, which may still send. */
  farewell(): unknown {
    const { stream } = this;
    return stream.lifecycle.step === 'closing'
      ? stream.scope.runHooks('beforeClose', (hooks) => hooks.beforeClose?.(stream))
      : undefined;
  }

  /**
   * Refuses an `EventSource` with a response that makes it reconnect: the status 200, the time until then in milliseconds, and a clean end. Hooks
   * are not called. Returns `false` for all other clients, which receive an error status.
   */
  refuseWithRetry(reason: StreamCloseReason, retry: number | undefined): boolean {
    const { stream } = this;
    const { opening, body } = stream;
    if (!opening?.mayRefuseWithRetry) {
      return false;
    }
    stream.lifecycle.close(reason);
    stream.halt();
    stream.scope.attempt(() => {
      opening.head.status(200);
      opening.fixHead();
      body.put(formatSse({ type: 'shutdown', retry, data: {} }));
      body.close(reason.code);
      this.finish('end');
    });
    return true;
  }

  /**
   * Ends a stream whose client may not read it any more, without calling hooks that could send. If its head is not fixed yet, an exception filter responds. Otherwise
   * the client receives an error record and a clean end, or a body that is cut off if the format has no such record.
   */
  private refuse({ code, error }: StreamCloseReason): void {
    const { stream } = this;
    const { lifecycle, opening, settings } = stream;
    const reason = { code, error: error ?? settings.services.refusal(code) };
    if (lifecycle.headFixed ? !lifecycle.allows('close') : lifecycle.step === 'closing') {
      // Its last chunks wait for the client, or for the check that has failed now.
      this.cut(reason);
    } else if (lifecycle.headFixed) {
      lifecycle.close(reason);
      stream.halt();
      stream.scope.attempt(() => this.endRefused(reason.error));
    } else if (!lifecycle.ended) {
      opening?.settle({ error: reason.error });
      this.over(reason);
    }
  }

  /** Ends the stream with an error. If its head is not fixed yet, the error is passed to the exception filters. */
  fail(error: unknown): void {
    const { stream } = this;
    const { lifecycle } = stream;
    if (isElsewhere(error) && this.refer({ code: 'shutdown' })) {
      return;
    }
    const refused = !lifecycle.headFixed;
    lifecycle.fail(error);
    stream.halt();
    if (refused) {
      stream.opening?.settle({ error });
      if (lifecycle.called) {
        void this.runOnError(error, false);
      }
      this.settle({ code: 'error', error });
      return;
    }
    if (!isReported(error)) {
      stream.settings.services.logger.error(`${stream.scope.name} failed after it had been opened`, error);
    }
    after(
      this.runOnError(error, true),
      () => this.endWithError(error),
      (again) => stream.scope.late(again),
    );
  }

  /** Disconnects the client immediately. */
  cut(reason: StreamCloseReason): void {
    const { stream } = this;
    if (stream.lifecycle.step !== 'over') {
      const hook = this.lateHook;
      stream.settings.services.logger.warn(
        `${stream.scope.name} was closed. ${messageOf(reason.code)}${hook === undefined ? '' : `, and its ${hook} hook had not finished`}`,
      );
      this.over(reason);
      stream.transport.destroy(reason.code);
    }
  }

  /** Writes the rest of the body, now or when the client has read the bytes before it. */
  finish(how: BodyEnd): void {
    const { body, transport, lifecycle, settings } = this.stream;
    if (lifecycle.step === 'over') {
      return;
    }
    lifecycle.finish(how);
    if (body.blocked || (how === 'truncate' && transport.queued)) {
      // Behind an earlier response, cutting off the connection would cut off that response too. The clock calls this method again.
      return;
    }
    const rest = body.outbox.takeLast(how === 'end');
    lifecycle.finished();
    body.progress();
    const { code, error } = lifecycle.reason ?? { code: 'completed' as const };
    if (how === 'end') {
      transport.end(rest.length === 0 ? undefined : rest, code);
    } else {
      transport.truncate(rest, settings.services.describeError(error).statusCode);
    }
  }

  /** Called when the stream has ended: everything was sent, or nothing can be sent any more. */
  over(reason: StreamCloseReason): void {
    const { lifecycle, opening } = this.stream;
    if (lifecycle.step === 'over') {
      return;
    }
    if (!lifecycle.headFixed && reason.code === 'client-closed') {
      opening?.head.abandon();
    }
    this.settle(reason);
  }

  private settle(reason: StreamCloseReason): void {
    const { stream } = this;
    const { lifecycle } = stream;
    lifecycle.settle(reason);
    stream.halt();
    const { reason: last = reason } = lifecycle;
    stream.release(last);
    if (lifecycle.called) {
      void stream.scope.runHooks('onClose', (hooks) => {
        stream.scope.guarded(() => hooks.onClose?.(stream, last), 'onClose hook');
      });
    }
    this.waiter?.resolve();
  }

  /** Ends the body. */
  end(): void {
    const { body, feed, lifecycle, opening, settings } = this.stream;
    if (lifecycle.step === 'closing') {
      const { code } = lifecycle.reason ?? { code: 'completed' as const };
      body.chooseEmpty();
      opening?.fixHead();
      if ((code === 'deadline' || code === 'shutdown' || code === 'error') && body.hasIds) {
        // The client can resume: it must not take the end of the response for the end of the stream.
        feed.putShutdown(settings.services.retryDelay());
      }
      body.close(code);
      this.finish('end');
    }
  }

  /**
   * Ends a stream whose source goes on without it, as in any shutdown: the client comes back with its id. Returns `false` if the client would take the end
   * of the response for the end of the source.
   */
  refer(reason: StreamCloseReason): boolean {
    const { body, lifecycle, scope, settings } = this.stream;
    const retry = settings.services.retryDelay();
    if (lifecycle.state === 'new') {
      return this.refuseWithRetry(reason, retry);
    }
    const resumes = body.hasIds && body.extensible && body.format?.position !== undefined;
    if (!resumes || retry === undefined || !lifecycle.allows('close')) {
      return false;
    }
    scope.attempt(() => this.begin(reason));
    return true;
  }

  private endWithError(error: unknown): void {
    // Clients of some formats recognize the record as the end.
    this.finish(this.putError(error) && this.stream.body.format?.truncate === false ? 'end' : 'truncate');
  }

  private endRefused(error: unknown): void {
    const { body, transport } = this.stream;
    body.outbox.clearUnsent();
    // The close code of a WebSocket says the same as the record.
    this.finish(this.putError(error) || transport.protocol === 'websocket' ? 'end' : 'truncate');
  }

  /** Adds the record of an error. Returns whether the format has one. */
  private putError(error: unknown): boolean {
    const { body, scope, settings } = this.stream;
    let added = false;
    scope.guarded(() => {
      added = body.putError(settings.services.describeError(error), error);
    }, 'error record');
    return added;
  }

  /** Runs the `onError` hooks, and sends the chunks that they return if `sends` is set. Returns a promise if one of the hooks returned one. */
  private runOnError(error: unknown, sends: boolean): unknown {
    const { stream } = this;
    const say = (hooks: StreamHooks): unknown =>
      stream.scope.guarded(() => {
        const chunk = hooks.onError?.(error, stream);
        return sends ? stream.feed.sendHookResult(chunk) : chunk;
      }, 'onError hook');
    return stream.scope.guarded(() => stream.scope.runHooks('onError', say), 'onError hook');
  }

  /** The hook for which the end of the stream waits, or `undefined`. */
  private get lateHook(): keyof StreamHooks | undefined {
    const { lifecycle, opening, feed } = this.stream;
    if (opening?.gate !== undefined) {
      return 'onOpen';
    }
    if (lifecycle.step === 'failing') {
      return 'onError';
    }
    if (lifecycle.step !== 'closing') {
      return undefined;
    }
    return feed.unsent === undefined ? 'beforeClose' : 'beforeChunk';
  }
}

/** Returns whether a stream with this close code ends because its client may not read it any more. */
function isRefusal(code: StreamCloseCode): boolean {
  return code === 'expired' || code === 'revoked';
}

/** Returns whether a source has failed only because it goes on in another process. */
function isElsewhere(error: unknown): boolean {
  return isError(error) && error instanceof StreamError && error.code === 'run-elsewhere';
}
