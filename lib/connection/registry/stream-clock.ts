import type { OpenStream } from '../open-stream.js';

const FINEST_TICK_MS = 10;
const COARSEST_TICK_MS = 1_000;
/** A duration is kept to a quarter of itself, or better. */
const TICKS_PER_DURATION = 4;

/** A tick that comes later than this many ticks follows a gap in which the process did not run. */
const LATE_TICKS = 2;

/** Whole milliseconds: those fit into the object that keeps them. */
function wholeMilliseconds(): number {
  return Math.trunc(performance.now());
}

/** A stream, as the clock sees it. */
export type Ticking = Pick<OpenStream, 'tick'>;

/**
 * The time of all streams of an application, in milliseconds. One timer serves all of them: a timer for each would cost each 250 bytes and every
 * write 200 ns.
 */
export class StreamClock {
  /** The time between two ticks. */
  tickMs = COARSEST_TICK_MS;
  /** Reads the time. */
  read = wholeMilliseconds;
  private timer: NodeJS.Timeout | undefined;
  /** Whether somebody else calls {@link tick}. */
  private manual = false;
  /** The time of the last tick, without gaps: a client cannot take anything while the process does not run. */
  private time = this.read();
  /** All gaps together. */
  private gaps = 0;

  constructor(private readonly streams: ReadonlySet<Ticking>) {}

  /** Returns the time of the last tick, without gaps: cheap, and exact enough for timeouts. */
  readonly now = (): number => this.time;

  /** Makes ticks fine enough for a duration. */
  observe(duration: number): void {
    const tick = Math.max(FINEST_TICK_MS, duration / TICKS_PER_DURATION);
    if (tick < this.tickMs) {
      this.tickMs = tick;
    }
  }

  /** Sets the time anew, after there was no stream for a while: the clock may have rested. */
  reset(): void {
    this.time = this.read() - this.gaps;
  }

  /** Starts the timer, unless it runs. */
  start(): void {
    if (this.timer === undefined && !this.manual) {
      this.timer = setInterval(() => this.tick(), this.tickMs).unref();
    }
  }

  /** Stops the timer. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
  }

  /** Takes the time from another clock. With `manual`, its owner calls {@link tick}, every `tickMs`. */
  follow(read: () => number, manual: boolean): void {
    this.read = read;
    this.manual = manual;
    this.reset();
    this.stop();
    if (this.streams.size > 0) {
      this.start();
    }
  }

  tick(): void {
    const elapsed = this.read() - this.gaps - this.time;
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
    if (this.streams.size === 0) {
      // Not as soon as the last stream ends: with short streams that happens all the time.
      this.stop();
    }
    for (const stream of this.streams) {
      stream.tick(this.time, clock, gap);
    }
  }
}
