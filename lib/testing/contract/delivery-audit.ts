import assert from 'node:assert/strict';
import type { HubEvent, HubReset, HubResetReason } from '../../event/hub-event.js';
import type { HubOverflowPolicy } from '../../hub/overflow.js';

/** The history limit of the hubs of an interleaving. It is small, so that many events are evicted. */
export const LIMIT = 8;

/** A position in the log, as the id of an event has it. */
export interface LogPosition {
  readonly epoch: string;
  readonly offset: number;
}

/** An event in the log. */
export interface LoggedEvent extends LogPosition {
  /** The number of the event in the order of the calls of publish(). */
  readonly n: number;
  readonly id: string;
  readonly topic: string | undefined;
}

/** What is known of the log that is audited. */
export interface AuditedLog {
  readonly events: readonly LoggedEvent[];
  /** The current epoch. */
  readonly epoch: string;
  /** Whether the store, or a connection to it, had a fault. */
  readonly disturbed: boolean;
  /** Whether the log has lost its newest events at some time, and so has begun another epoch. */
  readonly rewound: boolean;
}

/** An event that a subscriber received, and the number of events that had been published by then. */
export interface Delivery {
  readonly event: HubEvent;
  readonly published: number;
}

/** The options of a subscription, and the state of the log when it began. */
export interface SubscriptionModel {
  readonly topics: readonly string[] | undefined;
  readonly even: boolean;
  readonly overflow: HubOverflowPolicy;
  /** The position of the id from which the subscription resumes. Absent if there is no id, or if it is bad. */
  readonly after: LogPosition | undefined;
  /** Why the hub must reject the id. Absent if the id is good. */
  readonly bad: HubResetReason | undefined;
  /** The number of events that were published before. The last of them may or may not be delivered. */
  readonly published: number;
  /** The position up to which the hub had already delivered events to others. A new subscriber does not receive those. */
  readonly deliveredBefore: LogPosition;
}

/** Checks that a subscriber received every event in order and once, or a `lagged` or `reset` that accounts for those it did not receive. */
export class DeliveryAudit {
  /** The position up to which every event was delivered, or reported as missing. */
  private at: LogPosition;
  /** Whether the offset at which the subscription begins is known. */
  private begun: boolean;
  /** The number of events that were reported as dropped, and are not found missing yet. */
  private reported = 0;
  /** The number of events that were reported as dropped before a `reset`. Each of them may be from before or after the `reset`. */
  private unclear = 0;

  constructor(
    private readonly model: SubscriptionModel,
    private readonly log: AuditedLog,
  ) {
    this.at = model.after ?? model.deliveredBefore;
    this.begun = model.after !== undefined;
  }

  /** @throws {AssertionError} if an event was delivered out of order or twice, or is missing and was not reported */
  follow(all: readonly Delivery[]): this {
    all.forEach(({ event, published }, index) => {
      assert.ok(
        index > 0 || !this.model.bad || event.type === 'reset',
        'A subscriber with a bad id must receive a reset first',
      );
      if (event.type === 'reset') {
        this.checkReset(event as HubEvent<HubReset>, index === 0 ? this.model.bad : undefined, published);
      } else if (event.type === 'lagged') {
        this.checkLagged(event as HubEvent<{ readonly dropped: number }>);
      } else {
        this.checkEvent(event);
      }
    });
    return this;
  }

  /** Whether no more events are to be delivered. */
  get complete(): boolean {
    const missing = this.missing(Number.POSITIVE_INFINITY).length - this.reported;
    return (
      this.at.epoch === this.log.epoch && missing >= 0 && missing <= this.unclear && (this.begun || !this.model.bad)
    );
  }

  /** Returns the state of the audit, for messages. */
  toString(): string {
    const missing = this.missing(Number.POSITIVE_INFINITY).map(({ offset }) => offset);
    return `at offset ${this.at.offset} of ${this.at.epoch}, ${this.reported} reported as dropped, [${missing.join()}] not delivered`;
  }

  private checkEvent({ id, type }: HubEvent): void {
    const event = this.find(id);
    assert.ok(event && type === undefined, `A subscriber received an event that was never published: ${id}`);
    assert.ok(
      this.matches(event),
      `A subscriber received an event of the topic ${event.topic}, to which it did not subscribe`,
    );
    if (!this.begun && this.log.rewound && event.epoch !== this.at.epoch) {
      // The log had begun the epoch when the subscription began.
      this.at = { epoch: event.epoch, offset: 0 };
    }
    assert.ok(
      event.epoch === this.at.epoch && event.offset > this.at.offset,
      `Event ${event.id} must not be delivered after offset ${this.at.offset} of ${this.at.epoch}`,
    );
    this.account(this.missing(event.offset - 1).length, event);
    this.at = event;
    this.begun = true;
  }

  /** Asserts that the events that are missing before an event were reported as dropped. */
  private account(missing: number, event: LoggedEvent): void {
    // With `latest`, `lagged` is sent before all waiting events, so the count may include events that are missing later.
    const isAccountedFor =
      missing <= this.reported + this.unclear && (this.model.overflow === 'latest' || missing >= this.reported);
    assert.ok(isAccountedFor, `Event ${event.offset} was delivered while ${missing} before it are missing: ${this}`);
    const reported = Math.min(missing, this.reported);
    this.reported -= reported;
    this.unclear -= missing - reported;
  }

  private checkLagged({ id, data: { dropped } }: HubEvent<{ readonly dropped: number }>): void {
    const { epoch, offset } = positionIn(id);
    assert.ok(dropped > 0 && this.model.overflow.match(/drop|latest/), 'Only an overflow policy may drop events');
    // After a reset, it may be the id of that.
    assert.ok(this.log.disturbed || this.find(id), 'The id of "lagged" must be that of an event');
    const before = epoch === this.at.epoch ? this.missing(offset - 1).length : 0;
    assert.ok(
      before <= this.reported + this.unclear,
      `A client that resumes from the id of "lagged" (${offset}) must miss nothing: ${this}`,
    );
    this.reported += dropped;
  }

  private checkReset({ id, data }: HubEvent<HubReset>, bad: HubResetReason | undefined, published: number): void {
    const { reason, oldest } = data;
    const after = positionIn(id);
    assert.ok(this.log.disturbed || this.reported === 0);
    if (!bad && this.log.rewound && after.epoch !== this.at.epoch) {
      // A subscriber that had not read the end of the earlier epoch yet may get the reason "evicted".
      assert.ok(reason === 'epoch' || reason === 'evicted');
    } else {
      assert.equal(reason, bad ?? 'evicted');
      if (!bad) {
        assert.ok(
          this.at.offset + LIMIT < published,
          `A reset after ${this.at.offset} was sent, but with ${published} events published nothing was evicted there`,
        );
        assert.ok(after.epoch === this.at.epoch && after.offset > this.at.offset, 'A reset must move forward');
      }
      assert.ok(
        this.log.rewound || after.offset <= Math.max(0, published - LIMIT),
        `A reset must continue with the oldest event that is kept, not after ${after.offset}`,
      );
    }
    if (oldest !== null) {
      assert.equal(
        this.find(oldest)?.offset,
        after.offset + 1,
        'A reset must name the event with which the stream continues',
      );
    }
    this.at = after;
    this.begun = true;
    this.unclear += this.reported;
    this.reported = 0;
  }

  /** Returns the events up to an offset that the subscriber should have received, but has not. */
  private missing(upTo: number): LoggedEvent[] {
    return this.log.events.filter(
      (event) =>
        event.epoch === this.at.epoch &&
        event.offset > this.at.offset &&
        event.offset <= upTo &&
        this.matches(event) &&
        (this.begun || event.n > this.model.published),
    );
  }

  private matches({ topic, n }: LoggedEvent): boolean {
    const { topics, even } = this.model;
    return (!topics || (topic !== undefined && topics.includes(topic))) && (!even || n % 2 === 0);
  }

  private find(id: string): LoggedEvent | undefined {
    return this.log.events.find((event) => event.id === id);
  }
}

/** Returns the position in the id of an event. */
export function positionIn(id: string): LogPosition {
  const [, epoch = '', offset = ''] = id.split('.');
  return { epoch, offset: Number.parseInt(offset, 36) };
}
