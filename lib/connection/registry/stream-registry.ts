import { atMost } from '../../util/at-most.js';
import type { StreamCloseReason } from '../../util/close-reason.js';
import { answered } from '../../util/thenable.js';
import type { OpenStream } from '../open-stream.js';
import type { StreamConnection } from '../stream-connection.js';
import { StreamClock } from './stream-clock.js';
import type { StreamObserver } from './stream-observer.js';
import { type StreamSnapshot, StreamTally } from './stream-tally.js';

/**
 * The open streams of the application. Inject it anywhere.
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
  /** @internal Telemetry, where there is any. */
  observer: StreamObserver | undefined;

  /** How many streams are open. */
  get size(): number {
    return this.connections.size;
  }

  [Symbol.iterator](): Iterator<StreamConnection> {
    return this.connections[Symbol.iterator]();
  }

  /**
   * Closes all streams that match, by default all there are: their sources are stopped, `beforeClose` runs,
   * and the body ends cleanly. Resolves to their number once they are closed; their close code is `server-closed`.
   *
   * @throws {StreamError} `invalid-argument` if `match` returns a promise
   */
  async close(match: (stream: StreamConnection) => boolean = () => true): Promise<number> {
    const matching = [...this.connections].filter((stream) =>
      answered(match(stream), 'The function given to StreamRegistry.close()', 'invalid-argument'),
    );
    await Promise.all(matching.map((stream) => stream.end({ code: 'server-closed' })));
    return matching.length;
  }

  /**
   * What the streams of the application have done since it was started: in all, and by route, format and protocol. Times are in
   * milliseconds. It is a copy, made when it is asked for.
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

  /** @internal The open streams, with the members that the application uses. */
  get open(): Iterable<OpenStream> {
    return this.connections;
  }

  /** @internal */
  add(connection: OpenStream): void {
    if (this.connections.size === 0) {
      this.clock.reset();
    }
    this.connections.add(connection);
    this.observer?.began(connection);
    this.clock.start();
  }

  /** @internal Resolves to whether all streams have ended, at the latest after `within` milliseconds. */
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

  /** @internal The head was sent. Returns the time. */
  opened(stream: OpenStream): number {
    const now = this.clock.read();
    // A stream that was answered in place of its handler never began.
    if (this.connections.has(stream)) {
      this.observer?.opened(stream, now - stream.beganAt);
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
    this.observer?.ended(stream, reason, duration);
    if (this.connections.size === 0) {
      this.onEmpty?.();
      this.onEmpty = undefined;
    }
  }
}
