import { HubNotice } from '../format/hub-event.js';
import { LogEvent } from './log-event.js';

/**
 * What happens when more waits for a subscriber than `queue` allows.
 *
 * - `disconnect`: it is given up. A client comes back with the id of the last event it has; an iteration throws.
 * - `drop-oldest`, `drop-newest`: so many are dropped that the rest fits.
 * - `latest`: of the events of one topic with the same `key` only the newest waits, even while there is room; then as
 *   `drop-oldest`. Events without a key supersede nothing.
 */
export type HubOverflowPolicy = 'disconnect' | 'drop-oldest' | 'drop-newest' | 'latest';

/** How much may wait for one subscriber. */
export interface HubQueue {
  readonly events: number;
  /** Of their data. */
  readonly bytes: number;
}

interface Gap {
  dropped: number;
  /** Of the last that was dropped. */
  id: string;
}

/** What waits for a subscriber that is behind, and what was dropped of it. The events are shared with all others. */
export class Backlog {
  /** By what they are superseded by, in the order they came. */
  private readonly waiting = new Map<unknown, LogEvent | Gap>();
  private events = 0;
  private bytes = 0;
  /** What was dropped before all that waits. */
  private lost: Gap = { dropped: 0, id: '' };
  /** What was dropped last, after all that waits. */
  private gap: Gap | undefined;

  constructor(
    private readonly policy: HubOverflowPolicy,
    private readonly limits: HubQueue,
  ) {}

  get empty(): boolean {
    return this.waiting.size === 0 && this.lost.dropped === 0;
  }

  /** Takes one more. Whether the subscriber may stay. */
  push(event: LogEvent): boolean {
    const key = (this.policy === 'latest' ? event.key : undefined) ?? event;
    this.drop(key);
    if (this.policy === 'drop-oldest' || this.policy === 'latest') {
      this.makeRoom(event);
    }
    if (event.isNotice || this.fits(event)) {
      this.add(key, event);
      return true;
    }
    if (this.policy === 'disconnect') {
      return false;
    }
    this.leaveOut(event);
    return true;
  }

  /** Takes from the front until it amounts to so many bytes, at least one. */
  take(bytes: number): LogEvent[] {
    const taken: LogEvent[] = [];
    let size = 0;
    if (this.lost.dropped > 0) {
      taken.push(lagged(this.lost));
      this.lost = { dropped: 0, id: '' };
    }
    for (const [key, item] of this.waiting) {
      if (taken.length > 0 && size >= bytes) {
        break;
      }
      this.remove(key, item);
      taken.push(item instanceof LogEvent ? item : lagged(item));
      size += item instanceof LogEvent ? item.size : 0;
    }
    return taken;
  }

  private fits(event: LogEvent): boolean {
    return this.events < this.limits.events && this.bytes + event.size <= this.limits.bytes;
  }

  private makeRoom(event: LogEvent): void {
    for (const [key, item] of this.waiting) {
      if (this.fits(event)) {
        return;
      }
      if (item instanceof LogEvent && !item.isNotice) {
        this.drop(key);
      }
    }
  }

  private add(key: unknown, event: LogEvent): void {
    this.gap = undefined;
    this.waiting.set(key, event);
    this.events++;
    this.bytes += event.size;
  }

  private drop(key: unknown): void {
    const item = this.waiting.get(key);
    if (item instanceof LogEvent) {
      this.remove(key, item);
      this.lost = { dropped: this.lost.dropped + 1, id: item.id };
    }
  }

  private remove(key: unknown, item: LogEvent | Gap): void {
    this.waiting.delete(key);
    if (item instanceof LogEvent) {
      this.events--;
      this.bytes -= item.size;
    } else if (item === this.gap) {
      this.gap = undefined;
    }
  }

  /** Drops one that does not fit behind the others. */
  private leaveOut(event: LogEvent): void {
    if (!this.gap) {
      this.gap = { dropped: 0, id: event.id };
      this.waiting.set(this.gap, this.gap);
    }
    this.gap.dropped++;
    this.gap.id = event.id;
  }
}

function lagged({ id, dropped }: Gap): LogEvent {
  // It is a moment's, and not in the log: it has no number there.
  return new LogEvent(0, id, HubNotice.lagged(id, dropped));
}
