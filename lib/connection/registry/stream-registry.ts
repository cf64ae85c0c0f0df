import { atMost } from '../../util/at-most.js';
import { answered } from '../../util/thenable.js';
import type { StreamCloseReason } from '../close-reason.js';
import type { Reader } from '../reader/reader.js';
import type { StreamConnection } from '../stream-connection.js';
import type { ObservedStream, StreamObserver } from './stream-observer.js';
import { type MeteredStream, type StreamSnapshot, StreamTally } from './stream-tally.js';

const FINEST_TICK_MS = 10;
const COARSEST_TICK_MS = 1_000;
/** A duration is kept to a quarter of itself, or better. */
const TICKS_PER_DURATION = 4;

/** A tick that comes later than this many ticks follows a gap in which the process did not run. */
const LATE_TICKS = 2;

/** What the registry needs of a stream besides its public side. */
export interface OpenStream extends StreamConnection, MeteredStream {
  readonly endless: boolean;
  readonly format: StreamConnection['format'];
  readonly reader: Reader | undefined;
  /**
   * @param now in time that the process has run
   * @param clock in all time
   * @param gap how long the process did not run before this tick
   */
  tick(now: number, clock: number, gap: number): void;
  end(reason: StreamCloseReason): Promise<void>;
  cut(reason: StreamCloseReason): void;
  announceShutdown(retry: number | undefined): void;
}

/** Whole milliseconds: those fit into the object that keeps them. */
function clock(): number {
  return Math.trunc(performance.now());
}

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
  /** @internal */
  tickMs = COARSEST_TICK_MS;
  private timer: NodeJS.Timeout | undefined;
  private onEmpty: (() => void) | undefined;
  private readonly tally = new StreamTally();
  /** @internal Is told what becomes of streams, if anybody wants to know. */
  observer: StreamObserver | undefined;
  /** Whether somebody else calls `tick()`. */
  private manual = false;
  /** @internal What time it is. */
  clock = clock;
  /** The time of the last tick, without gaps: a client cannot be seen to take anything while the process does not run. */
  private time = clock();
  /** All gaps together. */
  private gaps = 0;

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
   */
  async close(match: (stream: StreamConnection) => boolean = () => true): Promise<number> {
    const matching = [...this.connections].filter((stream) =>
      answered(match(stream), 'What is given to StreamRegistry.close()'),
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

  /** @internal All that are open, as the application ends them. */
  get open(): Iterable<OpenStream> {
    return this.connections;
  }

  /** @internal The time of the last tick, without gaps: cheap, and exact enough for timeouts. */
  readonly now = (): number => this.time;

  /** @internal Makes ticks fine enough for a duration. */
  observe(duration: number): void {
    const tick = Math.max(FINEST_TICK_MS, duration / TICKS_PER_DURATION);
    if (tick < this.tickMs) {
      this.tickMs = tick;
    }
  }

  /** @internal */
  add(connection: OpenStream): void {
    if (this.connections.size === 0) {
      this.time = this.clock() - this.gaps;
    }
    this.connections.add(connection);
    this.observer?.began(connection);
    this.sweep();
  }

  /** @internal Takes the time from another clock; `manual`: whoever has that calls `tick()`, every `tickMs`. */
  follow(clock: () => number, manual: boolean): void {
    this.clock = clock;
    this.time = clock() - this.gaps;
    this.manual = manual;
    this.rest();
    if (this.connections.size > 0) {
      this.sweep();
    }
  }

  /** @internal Resolves when there are none, at the latest after that many milliseconds. */
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

  /** @internal The head is on its way. @returns when */
  opened(stream: ObservedStream): number {
    const now = this.clock();
    // Not of one that was answered in place of its handler: it was never counted as begun.
    if (this.connections.has(stream as OpenStream)) {
      this.observer?.opened(stream, now - stream.beganAt);
    }
    return now;
  }

  /** @internal */
  delete(stream: ObservedStream, reason: StreamCloseReason): void {
    if (!this.connections.delete(stream as OpenStream)) {
      return;
    }
    const duration = this.clock() - stream.beganAt;
    this.tally.ended(stream, reason.code, duration);
    this.observer?.ended(stream, reason, duration);
    if (this.connections.size === 0) {
      this.onEmpty?.();
      this.onEmpty = undefined;
    }
  }

  /** @internal Stops the sweep, which the next stream starts again. */
  rest(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** @internal */
  tick(): void {
    const elapsed = this.clock() - this.gaps - this.time;
    const gap = elapsed > LATE_TICKS * this.tickMs ? Math.trunc(elapsed - this.tickMs) : 0;
    this.gaps += gap;
    this.time += elapsed - gap;
    if (gap > 0) {
      // What clients took meanwhile is not known before the event loop has looked at their sockets.
      setImmediate(() => this.visit(gap));
    } else {
      this.visit(0);
    }
  }

  private visit(gap: number): void {
    const clock = this.time + this.gaps;
    if (this.connections.size === 0) {
      // Not as soon as the last stream ends: with short streams that is all the time.
      this.rest();
    }
    for (const connection of this.connections) {
      connection.tick(this.time, clock, gap);
    }
  }

  private sweep(): void {
    if (this.timer === undefined && !this.manual) {
      // One sweep for all: a timer per connection would cost each of them 250 bytes and every write 200 ns.
      this.timer = setInterval(() => this.tick(), this.tickMs).unref();
    }
  }
}
