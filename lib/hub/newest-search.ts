import type { RecordWindow } from '../broker/record-window.js';
import type { LogEvent } from './log-event.js';

/** The number of events that are taken from the window at once. */
const STEP = 256;

/** Looks for the newest events of some topics, from newer to older ones. It continues when older events were added to the window. */
export class NewestSearch {
  /** The sequence number of the oldest event that was found; if none was, the number after the last one. */
  first: number;
  /** Events after this number were looked at. */
  private at: number;

  /**
   * @param missing the number of events to look for
   * @param topics `undefined`: all topics
   * @param upTo the sequence number of the newest event to look at
   */
  constructor(
    private readonly window: RecordWindow<LogEvent>,
    private missing: number,
    private readonly topics: ReadonlySet<string> | undefined,
    upTo: number,
  ) {
    this.first = upTo + 1;
    this.at = upTo;
  }

  /** Whether all events were found. */
  get found(): boolean {
    return this.missing <= 0;
  }

  /** Looks at the events that were not looked at yet. */
  continue(): this {
    const { oldest } = this.window;
    while (!this.found && this.at >= oldest) {
      const start = Math.max(oldest - 1, this.at - STEP);
      this.look(this.window.after(start, this.at - start));
      this.at = start;
    }
    return this;
  }

  private look(events: readonly LogEvent[]): void {
    for (let index = events.length - 1; index >= 0 && this.missing > 0; index--) {
      const event = events[index];
      if (event?.isPublished && event.isFor(this.topics)) {
        this.missing--;
        this.first = event.seq;
      }
    }
  }
}
