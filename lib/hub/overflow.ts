import { HubEvent } from '../event/hub-event.js';
import type { Losses, OverflowPolicy, QueueLimits } from '../util/queue-limits.js';
import { LogEvent } from './log-event.js';

/**
 * The policy when the queue of a subscriber of a hub is full: an {@link OverflowPolicy}, or `latest`.
 *
 * - `latest`: of the waiting events of a topic with the same `key`, only the newest is kept, even while there is room for more. An event
 *   without a key replaces no other event. If the queue is full, the oldest events are dropped, as with `drop-oldest`.
 *
 * With `disconnect`, a `for await` loop over the subscription throws a {@link StreamCloseError} with the code `slow-consumer`.
 */
export type HubOverflowPolicy = OverflowPolicy | 'latest';

/** A place in a backlog where events were dropped. */
interface Gap {
  dropped: number;
}

/** The events that wait for a slow subscriber, and where events were dropped. Subscribers share the events themselves. */
export class Backlog {
  /** The waiting events and gaps in order. With the policy `latest`, an event is stored by the key by which newer events replace it. */
  private readonly waiting = new Map<unknown, LogEvent | Gap>();
  private items = 0;
  private bytes = 0;
  /** The number of events that were dropped before the first waiting event. */
  private lost = 0;
  /** The gap after the last waiting event. */
  private gap: Gap | undefined;

  constructor(
    private readonly policy: HubOverflowPolicy,
    private readonly limits: QueueLimits,
    /** The id of a client that has received everything before the first waiting event. */
    private before = '',
    private readonly losses: Losses = { dropped: 0, lagged: 0 },
  ) {}

  get empty(): boolean {
    return this.waiting.size === 0 && this.lost === 0;
  }

  /** Adds an event. Returns `false` if the subscriber has to be disconnected. */
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
    this.leaveOut();
    return true;
  }

  /** Removes and returns the first events: at least one, and more until they have this number of bytes. */
  take(bytes: number): LogEvent[] {
    const taken: LogEvent[] = [];
    let size = 0;
    for (const [key, item] of this.waiting) {
      if (taken.length > 0 && size >= bytes) {
        break;
      }
      if (this.lost > 0 && !this.startsWith(item)) {
        taken.push(this.lagged(this.lost));
        this.lost = 0;
        if (size >= bytes) {
          break;
        }
      }
      this.remove(key, item);
      if (item instanceof LogEvent) {
        taken.push(item);
        size += item.size;
        this.before = item.id;
      } else {
        taken.push(this.lagged(item.dropped));
      }
    }
    return taken;
  }

  /** Returns whether an item is the reset with which the backlog begins. A client must not have its id, as that of a `lagged`, before it has the reset. */
  private startsWith(item: LogEvent | Gap): boolean {
    return item instanceof LogEvent && item.isNotice && item.id === this.before;
  }

  private fits(event: LogEvent): boolean {
    return this.items < this.limits.items && this.bytes + event.weight <= this.limits.bytes;
  }

  private makeRoom(event: LogEvent): void {
    for (const [key, item] of this.waiting) {
      if (this.fits(event)) {
        return;
      }
      if (!(item instanceof LogEvent)) {
        this.remove(key, item);
        this.lost += item.dropped;
      } else if (!item.isNotice) {
        this.drop(key);
      }
    }
  }

  private add(key: unknown, event: LogEvent): void {
    this.gap = undefined;
    this.waiting.set(key, event);
    this.items++;
    this.bytes += event.weight;
  }

  private drop(key: unknown): void {
    const item = this.waiting.get(key);
    if (item instanceof LogEvent) {
      this.remove(key, item);
      this.lost++;
      this.losses.dropped++;
    }
  }

  private remove(key: unknown, item: LogEvent | Gap): void {
    this.waiting.delete(key);
    if (item instanceof LogEvent) {
      this.items--;
      this.bytes -= item.weight;
    } else if (item === this.gap) {
      this.gap = undefined;
    }
  }

  /** Drops a new event that does not fit. */
  private leaveOut(): void {
    if (!this.gap) {
      this.gap = { dropped: 0 };
      this.waiting.set(this.gap, this.gap);
    }
    this.gap.dropped++;
    this.losses.dropped++;
  }

  /** Its id is that of the event *before* the gap, so that a client that resumes from it receives the dropped events, and all that still wait. */
  private lagged(dropped: number): LogEvent {
    this.losses.lagged++;
    // The event is not in the log, so that it has no sequence number.
    return new LogEvent(0, this.before, HubEvent.of({ type: 'lagged', data: { dropped } }, this.before));
  }
}
