import { atMost } from '../../util/at-most.js';
import { demand, flag, keys, oneOf } from '../../util/checks.js';
import type { ServerCloseCode, StreamCloseReason } from '../../util/close-reason.js';
import { StreamError } from '../../util/errors.js';
import { checkLabels, includes, type StreamLabels } from '../../util/labels.js';
import type { StreamLogger } from '../../util/stream-logger.js';
import { syncResult } from '../../util/thenable.js';
import type { LabelClose, OpenStream } from '../open-stream.js';
import type { StreamConnection } from '../stream-connection.js';
import { RecentCloses } from './recent-closes.js';
import { StreamClock } from './stream-clock.js';
import type { StreamObserver } from './stream-observer.js';
import { type StreamSnapshot, StreamTally } from './stream-tally.js';

/** How long a close of the streams in all processes may take, in milliseconds. */
const EVERYWHERE_MS = 2_000;

interface CloseOptions {
  readonly everywhere?: boolean;
  readonly code?: ServerCloseCode;
}

const CLOSE_OPTIONS = keys<CloseOptions>({
  everywhere: flag,
  code: oneOf('server-closed', 'revoked'),
});

/**
 * The open streams of the application. Inject it like any provider, and iterate over it.
 *
 * @example
 * ```ts
 * constructor(private readonly streams: StreamRegistry) {}
 *
 * logout(user: User) {
 *   return this.streams.close({ user: user.id }, { everywhere: true });
 * }
 * ```
 */
export class StreamRegistry implements Iterable<StreamConnection> {
  private readonly connections = new Set<OpenStream>();
  private readonly tally = new StreamTally();
  private onEmpty: (() => void) | undefined;
  /** @internal */
  readonly clock = new StreamClock();
  /** Telemetry and the console, if they are used. */
  private readonly observers: StreamObserver[] = [];
  private readonly recent = new RecentCloses(() => this.clock.date());
  /** @internal Closes the streams of other processes. `undefined` if there are none. */
  closeElsewhere: ((labels: StreamLabels, code: ServerCloseCode) => Promise<number>) | undefined;

  /** @internal */
  constructor(private readonly logger: StreamLogger) {}

  /** The number of open streams. */
  get size(): number {
    return this.connections.size;
  }

  /** Iterates over the open streams, oldest first. */
  [Symbol.iterator](): Iterator<StreamConnection> {
    return this.connections[Symbol.iterator]();
  }

  /**
   * Closes the streams for which `match` returns `true`: stops their sources, runs their `beforeClose` hooks, and ends their bodies cleanly.
   *
   * With the code `revoked`, their clients are told that they may not read them any more: see {@link StreamRegistry.close | close by labels}.
   *
   * @param match must be synchronous. Default: closes all streams
   * @param options `code` is the close code. Default: `server-closed`
   * @returns the number of closed streams. The promise resolves once all of them have ended
   * @throws {@link StreamError} with the code `invalid-argument` if `match` returns a promise
   */
  close(
    match?: (stream: StreamConnection) => boolean,
    options?: { readonly code?: 'server-closed' | 'revoked' },
  ): Promise<number>;
  /**
   * Closes the streams that have all of these labels. A stream that receives these labels in the next 5 seconds is closed too: its request may have
   * passed its guards before. A request whose labels come from the option `labels` is refused before its handler is called. On a route with the option
   * `reauthorize`, the guards of that option decide instead, for the streams that receive these labels in the next minute.
   *
   * Clients reconnect after that: to keep them out, their guard has to refuse them, before the streams are closed.
   *
   * With the code `revoked`, nothing more is sent but an error record with the status 401. The body then ends cleanly, or is cut off if the format has no such
   * record. A WebSocket is closed with 1008, or with 4401 if the client uses `events.v1+json`. A stream that has sent nothing gets the status 401. Hooks are not called
   * before the end, except `onClose`. Otherwise, the streams end as with `stream.close()`.
   *
   * With `everywhere`, the streams of all processes are closed that share the `broker` of `StreamingModule.forRoot()`. If that is a `MemoryBroker`, this process is
   * alone. A process without a connection to the broker closes its streams when it is connected again, if that takes less than a minute.
   *
   * @param labels at least one label
   * @param options `code` is the close code. Default: `server-closed`. `everywhere`: closes streams in all processes. Default: `false`
   * @returns the number of closed streams. The promise resolves once all of them have ended. With `everywhere`, it resolves once the other processes have
   * said how many they close, and after 2 seconds at the latest: processes that have not answered by then are not counted
   * @throws {@link StreamError} with the code `invalid-argument` if the labels are invalid. With `everywhere`, an error of the broker is passed on: the streams of
   * this process are closed then, and those of others perhaps not
   *
   * @example
   * ```ts
   * await this.streams.close({ user: user.id }, { code: 'revoked', everywhere: true });
   * ```
   */
  close(
    labels: StreamLabels,
    options?: { readonly everywhere?: boolean; readonly code?: 'server-closed' | 'revoked' },
  ): Promise<number>;
  async close(
    match: StreamLabels | ((stream: StreamConnection) => boolean) = () => true,
    options: CloseOptions = {},
  ): Promise<number> {
    demand(CLOSE_OPTIONS, options, 'StreamRegistry.close()');
    const { everywhere = false, code = 'server-closed' } = options;
    if (typeof match !== 'function') {
      checkWanted(match);
    } else if (everywhere) {
      throw new StreamError(
        'invalid-argument',
        'StreamRegistry.close(): other processes cannot call a function of this one. Close by labels, such as { user: \'u1\' }, which stream.label() or the option "labels" give to streams',
      );
    }
    const ends = typeof match === 'function' ? this.end(this.matching(match), code) : this.closeLabelled(match, code);
    const ended = Promise.all(ends);
    if (typeof match === 'function' || !everywhere || !this.closeElsewhere) {
      await ended;
      return ends.length;
    }
    const [elsewhere] = await Promise.all([this.closeElsewhere(match, code), atMost(EVERYWHERE_MS, ended)]);
    return ends.length + elsewhere;
  }

  /**
   * Returns figures about all streams since the start of the application: in total, and by route, format and protocol. Times are in
   * milliseconds. The result does not change later.
   *
   * @example
   * ```ts
   * @Get('metrics')
   * metrics() {
   *   const { totals, groups } = this.streams.snapshot();
   *   return { open: totals.open, bytes: totals.bytes, busiest: groups.toSorted((a, b) => b.bytes - a.bytes)[0]?.route };
   * }
   * ```
   */
  snapshot(): StreamSnapshot {
    return this.tally.snapshot(this.connections);
  }

  /** @internal The open streams, with the members that are not public. */
  get open(): Iterable<OpenStream> {
    return this.connections;
  }

  /** @internal Notifies an observer of all streams from now on. */
  observe(observer: StreamObserver): void {
    this.observers.push(observer);
  }

  /** @internal */
  add(connection: OpenStream): void {
    this.connections.add(connection);
    this.clock.add(connection);
    for (const observer of this.observers) {
      this.guard(() => observer.began(connection));
    }
  }

  /**
   * Closes the streams of this process that have labels. Returns a promise for each, which resolves once it has ended.
   * @param age how long ago another process has closed them, in milliseconds
   * @internal
   */
  closeLabelled(labels: StreamLabels, code: ServerCloseCode, age = 0): Promise<void>[] {
    this.recent.add(labels, code, age);
    const match = includes(labels);
    const streams = [...this.connections].filter((stream) => match(stream.labels));
    return this.end(streams, code);
  }

  /** @internal */
  refuses(labels: StreamLabels): boolean {
    return this.recent.find(labels)?.isNew === true;
  }

  /** @internal */
  closeOf(labels: StreamLabels): LabelClose | undefined {
    return this.recent.find(labels);
  }

  /** @internal Waits until all streams have ended, for at most `within` milliseconds. Resolves to whether they have. */
  emptied(within: number): Promise<boolean> {
    if (this.connections.size === 0) {
      return Promise.resolve(true);
    }
    return atMost(
      within,
      new Promise<void>((resolve) => {
        this.onEmpty = resolve;
      }),
    );
  }

  /** @internal Called when the head is fixed. Returns the time. */
  opened(stream: OpenStream): number {
    const now = this.clock.read();
    // A stream that was refused without calling its handler was never added.
    if (this.connections.has(stream)) {
      for (const observer of this.observers) {
        this.guard(() => observer.opened?.(stream, now - stream.beganAt));
      }
    }
    return now;
  }

  /** @internal */
  delete(stream: OpenStream, reason: StreamCloseReason): void {
    if (!this.connections.delete(stream)) {
      return;
    }
    this.clock.delete(stream);
    const duration = this.clock.read() - stream.beganAt;
    this.tally.ended(stream, reason.code, duration);
    for (const observer of this.observers) {
      this.guard(() => observer.ended(stream, reason, duration));
    }
    if (this.connections.size === 0) {
      this.onEmpty?.();
      this.onEmpty = undefined;
    }
  }

  /** Logs the error of an observer, which must not fail the stream that it observes. */
  private guard(notify: () => void): void {
    try {
      notify();
    } catch (error) {
      this.logger.error('An observer of streams threw', error);
    }
  }

  private matching(match: (stream: StreamConnection) => boolean): OpenStream[] {
    return [...this.connections].filter((stream) =>
      syncResult(match(stream), 'The function given to StreamRegistry.close()', 'invalid-argument'),
    );
  }

  private end(streams: readonly OpenStream[], code: ServerCloseCode): Promise<void>[] {
    return streams.map((stream) => stream.end({ code }));
  }
}

function checkWanted(labels: unknown): asserts labels is StreamLabels {
  checkLabels(labels, 'StreamRegistry.close()');
  if (Object.keys(labels).length === 0) {
    throw new StreamError(
      'invalid-argument',
      'StreamRegistry.close(): an object without labels would match all streams: to close all, call close() without an argument',
    );
  }
}
