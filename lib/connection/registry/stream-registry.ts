import { atMost } from '../../util/at-most.js';
import type { StreamCloseReason } from '../../util/close-reason.js';
import { syncResult } from '../../util/thenable.js';
import type { OpenStream } from '../open-stream.js';
import type { StreamConnection } from '../stream-connection.js';
import { StreamClock } from './stream-clock.js';
import type { StreamObserver } from './stream-observer.js';
import { type StreamSnapshot, StreamTally } from './stream-tally.js';

/**
 * The open streams of the application. Inject it like any provider, and iterate over it.
 *
 * @example
 * ```ts
 * constructor(private readonly streams: StreamRegistry) {}
 *
 * logout(user: User) {
 *   return this.streams.close((stream) => userOf(stream.request) === user.id);
 * }
 * ```
 */
export class StreamRegistry implements Iterable<StreamConnection> {
  private readonly connections = new Set<OpenStream>();
  private readonly tally = new StreamTally();
  private onEmpty: (() => void) | undefined;
  /** @internal */
  readonly clock = new StreamClock(this.connections);
  /** Telemetry and the console, if they are used. */
  private readonly observers: StreamObserver[] = [];

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
   * Their close code is `server-closed`.
   *
   * @param match must be synchronous. Default: closes all streams
   * @returns the number of closed streams. The promise resolves once all of them have ended
   * @throws {@link StreamError} with the code `invalid-argument` if `match` returns a promise
   */
  async close(match: (stream: StreamConnection) => boolean = () => true): Promise<number> {
    const matching = [...this.connections].filter((stream) =>
      syncResult(match(stream), 'The function given to StreamRegistry.close()', 'invalid-argument'),
    );
    await Promise.all(matching.map((stream) => stream.end({ code: 'server-closed' })));
    return matching.length;
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
    if (this.connections.size === 0) {
      this.clock.reset();
    }
    this.connections.add(connection);
    for (const observer of this.observers) {
      observer.began(connection);
    }
    this.clock.start();
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
        observer.opened?.(stream, now - stream.beganAt);
      }
    }
    return now;
  }

  /** @internal */
  delete(stream: OpenStream, reason: StreamCloseReason): void {
    if (!this.connections.delete(stream)) {
      return;
    }
    const duration = this.clock.read() - stream.beganAt;
    this.tally.ended(stream, reason.code, duration);
    for (const observer of this.observers) {
      observer.ended(stream, reason, duration);
    }
    if (this.connections.size === 0) {
      this.onEmpty?.();
      this.onEmpty = undefined;
    }
  }
}
