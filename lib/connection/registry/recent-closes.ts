import { includes, type StreamLabels } from '../../util/labels.js';

/** How long a request may take, in milliseconds, from the check of its guard until its labels are known. */
const REFUSED_MS = 5_000;
/** The maximum number of closes that are remembered. */
const KEPT = 1_000;

/**
 * Remembers for a short time which labels were closed. While a user logs out, a request of the same user may be between its guard and its handler: it
 * is not an open stream yet, and the guard has let it pass. Its stream is refused when its labels are known.
 */
export class RecentCloses {
  private closes: { readonly match: (labels: StreamLabels) => boolean; readonly until: number }[] = [];

  add(labels: StreamLabels): void {
    const now = Date.now();
    this.closes = [...this.current(now), { match: includes(labels), until: now + REFUSED_MS }].slice(-KEPT);
  }

  /** Returns whether the streams with these labels were closed. */
  include(labels: StreamLabels): boolean {
    if (this.closes.length === 0) {
      return false;
    }
    this.closes = this.current(Date.now());
    return this.closes.some(({ match }) => match(labels));
  }

  private current(now: number): typeof this.closes {
    return this.closes.filter(({ until }) => until > now);
  }
}
