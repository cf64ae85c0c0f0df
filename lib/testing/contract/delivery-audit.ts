import assert from 'node:assert/strict';
import type { HubEvent, HubReset, HubResetReason } from '../../event/hub-event.js';
import type { HubOverflowPolicy } from '../../hub/overflow.js';

/** The history limit of the hubs of an interleaving. It is small, so that many events are evicted. */
export const LIMIT = 8;

/** An event in the log. */
export interface LoggedEvent {
  readonly offset: number;
  /** The number of the event in the order of the calls of publish(). */
  readonly n: number;
  readonly id: string;
  readonly topic: string | undefined;
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
  /** The offset of the id from which the subscription resumes. Absent if there is no id, or if it is bad. */
  readonly after: number | undefined;
  /** Why the hub must reject the id. Absent if the id is good. */
  readonly bad: HubResetReason | undefined;
  /** The number of events that were published before. The last of them may or may not be delivered. */
  readonly published: number;
  /** The offset up to which the hub had already delivered events to others. A new subscriber does not receive those. */
  readonly deliveredBefore: number;
}

/** Checks that a subscriber received every event in order and once, or a `lagged` or `reset` that accounts for those it did not receive. */
export class DeliveryAudit {
  /** The offset up to which every event was delivered, or reported as missing. */
  private at: number;
  /** Whether the offset at which the subscription begins is known. */
  private begun: boolean;
  /** The number of events that were reported as dropped, and are not found missing yet. */
  private reported = 0;

  constructor(
    private readonly model: SubscriptionModel,
    private readonly log: readonly LoggedEvent[],
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
    return this.missing(Number.POSITIVE_INFINITY).length === this.reported && (this.begun || !this.model.bad);
  }

  /** Returns the state of the audit, for messages. */
  toString(): string {
    const missing = this.missing(Number.POSITIVE_INFINITY).map(({ offset }) => offset);
    return `at offset ${this.at}, ${this.reported} reported as dropped, [${missing.join()}] not delivered`;
  }

  private checkEvent({ id, type }: HubEvent): void {
    const event = this.find(id);
    assert.ok(event && type === undefined, `A subscriber received an event that was never published: ${id}`);
    assert.ok(
      this.matches(event),
      `A subscriber received an event of the topic ${event.topic}, to which it did not subscribe`,
    );
    assert.ok(event.offset > this.at, `Event ${event.offset} must not be delivered after ${this.at}`);
    const missing = this.missing(event.offset - 1).length;
    // With `latest`, `lagged` is sent before all waiting events, so the count may include events that are missing later.
    const isAccountedFor = this.model.overflow === 'latest' ? missing <= this.reported : missing === this.reported;
    assert.ok(isAccountedFor, `Event ${event.offset} was delivered while ${missing} before it are missing: ${this}`);
    this.reported -= missing;
    this.at = event.offset;
    this.begun = true;
  }

  private checkLagged({ id, data: { dropped } }: HubEvent<{ readonly dropped: number }>): void {
    const first = this.find(id);
    assert.ok(
      dropped > 0 && this.model.overflow.match(/drop|latest/) && first,
      'Only an overflow policy may drop events',
    );
    const before = this.missing(first.offset - 1).length;
    assert.ok(
      before <= this.reported,
      `A client that resumes from the id of "lagged" (${first.offset}) must miss nothing: ${this}`,
    );
    this.reported += dropped;
  }

  private checkReset({ id, data }: HubEvent<HubReset>, bad: HubResetReason | undefined, published: number): void {
    assert.equal(this.reported, 0);
    const { reason, oldest } = data;
    const after = offsetIn(id);
    assert.equal(reason, bad ?? 'evicted');
    if (!bad) {
      assert.ok(
        this.at + LIMIT < published,
        `A reset after ${this.at} was sent, but with ${published} events published nothing was evicted there`,
      );
      assert.ok(after > this.at, 'A reset must move forward');
    }
    assert.ok(
      after <= Math.max(0, published - LIMIT),
      `A reset must continue with the oldest event that is kept, not after ${after}`,
    );
    if (oldest !== null) {
      assert.equal(this.find(oldest)?.offset, after + 1, 'A reset must name the event with which the stream continues');
    }
    this.at = after;
    this.begun = true;
  }

  /** Returns the events up to an offset that the subscriber should have received, but has not. */
  private missing(upTo: number): LoggedEvent[] {
    return this.log.filter(
      (event) =>
        event.offset > this.at &&
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
    return this.log.find((event) => event.id === id);
  }
}

/** Returns the offset in the id of an event. */
export function offsetIn(id: string): number {
  return Number.parseInt(id.split('.')[2] ?? '', 36);
}
