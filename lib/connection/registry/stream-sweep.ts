import { SLICE_MS } from '../../util/scheduler.js';
import type { OpenStream } from '../open-stream.js';

/** The clock is read once for this number of visits. */
const VISITS_PER_CLOCK = 16;
/** With more streams than this, their heartbeats are spread. */
const CROWD = 1_000;
/** In how many parts the time is divided over which they are spread. */
const PARTS = 64;

/** The part of a stream that the clock uses. */
export type Ticking = Pick<OpenStream, 'place' | 'tick'>;

/** The time of a sweep, in milliseconds. */
export interface SweepTime {
  /** The time of the last tick, without gaps. */
  readonly time: number;
  /** The sum of all gaps. */
  readonly gaps: number;
}

/**
 * Visits the streams for which something may be due. A stream says at each visit when the next one is needed. So a tick reads one number for each stream,
 * and not its objects, which mostly are in no cache.
 *
 * A sweep is interrupted every few milliseconds, so that thousands of heartbeats that are due at the same time do not hold the event loop.
 */
export class StreamSweep {
  /** Each stream has a place. Places are used again, so that none of them moves while a sweep is interrupted. */
  private readonly streams: (Ticking | undefined)[] = [];
  /** For each place: its stream needs no visit before this time, on the clock without gaps. */
  private readonly due: number[] = [];
  private readonly free: number[] = [];
  /** The place that the sweep visits next. */
  private next = 0;
  /** The place before which the sweep ends. */
  private end = 0;
  /** How long the process was suspended before the sweep. Then all streams are visited. */
  private gap = 0;
  /** The gap of the next sweep, if a tick has come before the end of this one. */
  private laterGap: number | undefined;
  /** Whether the sweep continues in a later turn. */
  private scheduled = false;

  constructor(private readonly clock: SweepTime) {}

  /** The number of streams. */
  get size(): number {
    return this.streams.length - this.free.length;
  }

  /** Whether no sweep is running. */
  get idle(): boolean {
    return this.next >= this.end;
  }

  add(stream: Ticking): void {
    stream.place = this.free.pop() ?? this.streams.length;
    this.streams[stream.place] = stream;
    this.wake(stream);
  }

  delete({ place }: Ticking): void {
    this.streams[place] = undefined;
    this.due[place] = Number.POSITIVE_INFINITY;
    this.free.push(place);
  }

  /** Visits a stream at the next tick, since something may be due earlier than it has said. */
  wake({ place }: Pick<Ticking, 'place'>): void {
    this.due[place] = 0;
  }

  /** Visits all streams at the next tick. What is left of a sweep is skipped. */
  wakeAll(): void {
    this.due.fill(0);
    this.next = this.end;
    this.laterGap = undefined;
  }

  /**
   * Visits the streams. If the last sweep is not over, it goes on first.
   * @param gap how long the process was suspended before this tick, in milliseconds
   * @param whole whether to return only when all are visited
   */
  run(gap: number, whole: boolean): void {
    if (this.scheduled && !this.idle) {
      this.laterGap = (this.laterGap ?? 0) + gap;
      return;
    }
    if (this.size === 0) {
      this.streams.length = 0;
      this.due.length = 0;
      this.free.length = 0;
    }
    this.begin(gap);
    if (whole) {
      this.visit(Number.POSITIVE_INFINITY);
    } else {
      this.goOn();
    }
  }

  private begin(gap: number): void {
    this.next = 0;
    this.end = this.streams.length;
    this.gap = gap;
    this.laterGap = undefined;
  }

  /** Visits streams for some milliseconds, and the rest of them in a later turn. */
  private goOn(): void {
    try {
      this.visit(performance.now() + SLICE_MS);
    } finally {
      // Also after a visit that has thrown: the other streams still need theirs.
      this.continueLater();
    }
  }

  private continueLater(): void {
    if (this.idle && this.laterGap !== undefined) {
      this.begin(this.laterGap);
    }
    if (!this.idle && !this.scheduled) {
      this.scheduled = true;
      // Not `inLaterTurn()`, where it would wait behind each busy producer: timeouts would be late by seconds.
      setImmediate(() => {
        this.scheduled = false;
        this.goOn();
      });
    }
  }

  private visit(until: number): void {
    const { streams, due, clock, gap } = this;
    const parts = until !== Number.POSITIVE_INFINITY && this.size > CROWD ? PARTS : 1;
    let left = VISITS_PER_CLOCK;
    while (this.next < this.end) {
      const place = this.next++;
      const stream = streams[place];
      if (stream === undefined || (gap === 0 && (due[place] as number) > clock.time)) {
        continue;
      }
      const at = stream.tick(clock.time, clock.time + clock.gaps, gap, (place % parts) / parts);
      // The visit may have ended it, so that another stream has its place.
      if (streams[place] === stream) {
        due[place] = at;
      }
      if (--left === 0) {
        left = VISITS_PER_CLOCK;
        if (performance.now() >= until) {
          return;
        }
      }
    }
  }
}
