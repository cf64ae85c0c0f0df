import type { StreamErrorBody } from '../format/format.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import { markReported, type StreamCloseCode, StreamError } from '../util/errors.js';
import type { StreamLabels } from '../util/labels.js';
import { type AccessCheck, type AccessLimits, expiryOf } from './access-check.js';
import type { Outbox } from './body/outbox.js';
import type { Lifecycle } from './lifecycle.js';
import type { LabelClose } from './open-stream.js';
import type { StreamConnection, StreamHooks } from './stream-connection.js';

/** How long a check may take, in milliseconds. Nothing is sent in this time. */
const LONGEST_CHECK_MS = 5_000;

/** Statuses of 400 to 499 that do not refuse a client for good: the same request may succeed later. */
const TEMPORARY: readonly number[] = [408, 425, 429];

/** The stream whose client has limited access. */
export interface AuthorizedStream extends StreamConnection {
  /** Its place in the clock. */
  readonly place: number;
  readonly body: { readonly empty: boolean; readonly outbox: Outbox };
  readonly lifecycle: Lifecycle;
  readonly transport: { flushHead(): void };
  readonly scope: {
    /** `undefined` before the handler is called. */
    readonly call: { access?: Authorization } | undefined;
    within<R>(run: () => R): R;
    runHooks(name: 'onAuth', run: (hooks: StreamHooks) => unknown): void | PromiseLike<void>;
  };
  readonly settings: {
    readonly accessCheck: AccessCheck | undefined;
    readonly services: {
      readonly registry: {
        readonly clock: { now(): number; date(): number; wake(stream: AuthorizedStream): void };
        closeOf(labels: StreamLabels): LabelClose | undefined;
      };
      refusal(code: StreamCloseCode): unknown;
      describeError(error: unknown): StreamErrorBody;
    };
  };
  readonly ends: { refer(reason: StreamCloseReason): boolean };
  end(reason: StreamCloseReason): Promise<void>;
  fail(error: unknown): void;
  onDrain(): void;
}

/** A check that is in progress. */
interface RunningCheck {
  /** When it began, on the clock without gaps. */
  readonly since: number;
  /** Whether the stream waits for it. */
  awaited: boolean;
}

/** Ends a stream when the access of its client expires, or is refused by a later check. Streams without such limits have none. */
export class Authorization {
  /** When the access expires, in milliseconds since the epoch. `undefined`: it does not. */
  private expiresAt: number | undefined;
  /** When the next check begins, on the clock without gaps. */
  private dueAt: number;
  private running: RunningCheck | undefined;
  /** How many checks in a row have failed. */
  private faults = 0;
  /** Whether an `onAuth` hook has not returned yet. */
  private authenticating = false;
  /** The newest token that came in the meantime. */
  private nextToken: { readonly token: unknown } | undefined;

  constructor(
    private readonly stream: AuthorizedStream,
    private readonly limits: AccessLimits,
  ) {
    this.expiresAt = limits.expiresAt;
    this.dueAt = this.nextTime();
  }

  /** Whether the stream waits for a check. */
  get pending(): boolean {
    return this.running?.awaited === true;
  }

  /** Sets when the access expires, in milliseconds since the epoch. */
  expire(at: number | undefined): void {
    this.expiresAt = at;
    this.endIfExpired();
  }

  /** Begins a check now, or after the one in progress. Returns `false` if the stream is not checked. */
  recheck(): boolean {
    if (this.running) {
      this.dueAt = 0;
    } else {
      this.begin();
    }
    return this.stream.settings.accessCheck !== undefined;
  }

  /** Called at every tick of the clock. */
  tick(now: number): void {
    const { running } = this;
    if (running?.awaited && now - running.since >= this.longest) {
      running.awaited = false;
      this.onFault(this.late);
    }
    if (this.isOver || this.endIfExpired() || now < this.dueAt) {
      return;
    }
    if (!this.running) {
      this.begin();
    } else if (!this.running.awaited) {
      // One check at a time: the next one would wait for the same store.
      this.dueAt = this.nextTime();
      this.onFault(this.late);
    }
  }

  /** Passes a token that the client has sent to the `onAuth` hooks. While they run, only the newest token waits. */
  authenticate(token: unknown): void {
    this.nextToken = { token };
    if (!this.authenticating) {
      this.authenticating = true;
      void this.passTokens();
    }
  }

  private get isOver(): boolean {
    const { state } = this.stream;
    return state !== 'new' && state !== 'open';
  }

  /** The error of a check that takes too long. */
  private get late(): StreamError {
    const { stream, longest } = this;
    const message = `${stream.route}: the guards of "reauthorize" have not answered within ${longest} ms`;
    return new StreamError('invalid-state', message, { statusCode: 503 });
  }

  private get longest(): number {
    return Math.min(this.stream.settings.accessCheck?.every ?? LONGEST_CHECK_MS, LONGEST_CHECK_MS);
  }

  /** Returns when the next check begins. It is random, so that the streams of a server that was restarted do not all ask at once. */
  private nextTime(): number {
    const { accessCheck, services } = this.stream.settings;
    const wait = (accessCheck?.every ?? Infinity) * (0.5 + Math.random() / 2);
    // V8 stores whole numbers in the object itself.
    return services.registry.clock.now() + Math.trunc(wait);
  }

  private endIfExpired(): boolean {
    const { settings } = this.stream;
    const isExpired = this.expiresAt !== undefined && settings.services.registry.clock.date() >= this.expiresAt;
    if (isExpired) {
      this.resume(this.running);
      void this.stream.end({ code: 'expired' });
    }
    return isExpired;
  }

  private begin(): void {
    const { stream, limits } = this;
    const { accessCheck, services } = stream.settings;
    if (!accessCheck) {
      return;
    }
    const running: RunningCheck = { since: services.registry.clock.now(), awaited: true };
    this.running = running;
    this.dueAt = this.nextTime();
    stream.body.outbox.pause();
    stream.scope
      .within(() => accessCheck.run(stream.request, limits.response))
      .then(
        () => this.onPassed(running),
        (error: unknown) => this.onRejected(running, error),
      );
  }

  private onPassed(running: RunningCheck): void {
    this.running = undefined;
    this.faults = 0;
    this.goOn(running);
  }

  private onRejected(running: RunningCheck, error: unknown): void {
    this.running = undefined;
    if (this.isRefusal(error)) {
      this.resume(running);
      void this.stream.end({ code: 'revoked', error });
    } else if (running.awaited) {
      this.onFault(error, running);
    }
  }

  /** Handles a check that has failed, so that it is not known whether the client may go on. */
  private onFault(error: unknown, running = this.running): void {
    const { stream } = this;
    const { accessCheck } = stream.settings;
    this.faults++;
    accessCheck?.logFault(error);
    if (this.isOver || this.faults <= (accessCheck?.toleratedFaults ?? Infinity)) {
      this.goOn(running);
      return;
    }
    this.resume(running);
    if (!stream.ends.refer({ code: 'error', error })) {
      stream.fail(markReported(error));
    }
  }

  private isRefusal(error: unknown): boolean {
    const { statusCode } = this.stream.settings.services.describeError(error);
    return statusCode >= 400 && statusCode < 500 && !TEMPORARY.includes(statusCode);
  }

  /** Ends the pause of a check. Returns whether chunks may be written now. */
  private resume(running: RunningCheck | undefined): boolean {
    if (running) {
      running.awaited = false;
    }
    return this.stream.body.outbox.resume();
  }

  /** Sends what has waited for a check. */
  private goOn(running: RunningCheck | undefined): void {
    const { stream } = this;
    if (!this.resume(running)) {
      return;
    }
    stream.onDrain();
    const { lifecycle, body, transport } = stream;
    if (stream.state === 'open' && lifecycle.headFixed && !lifecycle.headPending && body.empty) {
      // It may have been fixed in the meantime.
      transport.flushHead();
    }
  }

  private async passTokens(): Promise<void> {
    const { stream } = this;
    const { scope, settings } = stream;
    try {
      for (let next = this.nextToken; next && !this.isOver; next = this.nextToken) {
        const { token } = next;
        this.nextToken = undefined;
        await scope.runHooks('onAuth', async (hooks) => {
          if ((await hooks.onAuth?.(token, stream)) === false) {
            throw settings.services.refusal('revoked');
          }
        });
      }
    } catch (error) {
      if (this.isRefusal(error)) {
        void stream.end({ code: 'revoked', error });
      } else {
        stream.fail(error);
      }
    }
    this.authenticating = false;
  }
}

/** Returns the authorization of a stream, created at the first call. `undefined` before the handler is called. */
export function authorizationOf(stream: AuthorizedStream, limits: AccessLimits = {}): Authorization | undefined {
  const { call } = stream.scope;
  if (call && !call.access) {
    call.access = new Authorization(stream, limits);
    stream.settings.services.registry.clock.wake(stream);
  }
  return call?.access;
}

/** Limits the access of the client of a new stream. */
export function limitAccess(stream: AuthorizedStream, limits: AccessLimits | undefined): void {
  if (limits) {
    authorizationOf(stream, limits);
    onLabelled(stream);
  }
}

/** See {@link StreamConnection.expire}. */
export function expire(stream: AuthorizedStream, at: unknown): void {
  const time = expiryOf(at, `stream.expire() in ${stream.route}`);
  if (stream.lifecycle.allows('expire')) {
    authorizationOf(stream)?.expire(time);
  }
}

/** Called when a stream has received labels. If the streams with these labels were closed a short time ago, its access is checked, or else it is closed. */
export function onLabelled(stream: AuthorizedStream): void {
  const close = stream.settings.services.registry.closeOf(stream.labels);
  if (close && !stream.scope.call?.access?.recheck() && close.isNew) {
    void stream.end({ code: close.code });
  }
}
