import type { GatheringPolicy } from '../../util/flush-policy.js';

/** The part of an outbox that the timer uses. */
interface Flushed {
  /** Writes the gathered chunks. */
  flushDue(): void;
  /** Writes the gathered chunks once no code can run without waiting. */
  flushAtEndOfTurn(): void;
}

/** Decides when the gathered chunks of one stream are written, if its flush policy is `{ bytes, ms }`. */
export class FlushTimer {
  private timer: NodeJS.Timeout | undefined;
  /** Whether a flush at the end of the turn is scheduled. */
  private soon = false;
  private flushedAt = -Infinity;

  constructor(
    private readonly policy: GatheringPolicy,
    private readonly outbox: Flushed,
  ) {}

  /** Schedules a flush, unless one is scheduled. */
  start(): void {
    if (this.soon || this.timer !== undefined) {
      return;
    }
    const { ms } = this.policy;
    const rest = this.policy.leading ? this.flushedAt + ms - performance.now() : ms;
    if (rest > 0) {
      this.timer = setTimeout(() => this.outbox.flushDue(), rest).unref();
    } else {
      // No timer, which would wake the event loop once more for every chunk of a slow source.
      this.soon = true;
      this.outbox.flushAtEndOfTurn();
    }
  }

  /** Called when the scheduled flush is due. */
  done(): void {
    this.soon = false;
    this.timer = undefined;
  }

  /** Called after every write. */
  flushed(): void {
    if (this.policy.leading) {
      this.flushedAt = performance.now();
    }
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}
