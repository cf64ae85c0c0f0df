import type { ServerCloseCode } from '../../util/close-reason.js';
import { includes, type StreamLabels } from '../../util/labels.js';
import type { LabelClose } from '../open-stream.js';

/**
 * How long closes are remembered, in milliseconds: as long as the log of commands keeps them, so that a process that was not connected to the broker does not miss
 * them.
 */
const REMEMBERED_MS = 60_000;
/** The maximum number of closes that are remembered. */
const KEPT = 1_000;

/** How long a request may take, in milliseconds, from the check of its guard until its labels are known. */
const NEW_MS = 5_000;

interface RememberedClose {
  readonly code: ServerCloseCode;
  /** In milliseconds since the epoch. */
  readonly at: number;
  readonly match: (labels: StreamLabels) => boolean;
}

/**
 * Remembers for a short time which labels were closed. While a user logs out, a request of the same user may be between its guard and its handler: it
 * is not an open stream yet, and the guard has let it pass. Its stream is refused, or checked, when its labels are known.
 */
export class RecentCloses {
  /** Oldest first. */
  private closes: readonly RememberedClose[] = [];

  /** @param read reads the time of day */
  constructor(private readonly read: () => number) {}

  /** @param age how long ago they were closed, in milliseconds */
  add(labels: StreamLabels, code: ServerCloseCode, age: number): void {
    const now = this.read();
    this.closes = [...this.current(now), { match: includes(labels), code, at: now - age }].slice(-KEPT);
  }

  /** Returns the newest close of the streams with these labels, if there was one. */
  find(labels: StreamLabels): LabelClose | undefined {
    if (this.closes.length === 0) {
      return undefined;
    }
    const now = this.read();
    this.closes = this.current(now);
    const found = this.closes.findLast(({ match }) => match(labels));
    return found && { code: found.code, isNew: now - found.at < NEW_MS };
  }

  private current(now: number): readonly RememberedClose[] {
    return this.closes.filter(({ at }) => now - at < REMEMBERED_MS);
  }
}
