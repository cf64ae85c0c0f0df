import assert from 'node:assert/strict';
import type { HubEvent, HubReset, HubResetReason } from '../../event/hub-event.js';
import type { HubOverflowPolicy } from '../../hub/overflow.js';

/** How many events the hubs of an interleaving keep: few, so that many are evicted. It stands in a file that does not need fast-check. */
export const LIMIT = 8;

/** An event of the log. */
export interface Logged {
  readonly offset: number;
  /** In which order it was published. */
  readonly n: number;
  readonly id: string;
  readonly topic: string | undefined;
}

/** What a subscriber was given, and how many events had been published by then. */
export interface Given {
  readonly event: HubEvent;
  readonly published: number;
}

/** What a subscriber was, and when. */
export interface Visit {
  readonly topics: readonly string[] | undefined;
  readonly even: boolean;
  readonly overflow: HubOverflowPolicy;
  /** After which offset it begins, if its id is good. */
  readonly after: number | undefined;
  /** Why its id is bad, if it is. */
  readonly bad: HubResetReason | undefined;
  /** How many events had been published before: of those, it may or may not hear the last. */
  readonly published: number;
  /** Up to which offset its hub had told others: of those, it does not hear. */
  readonly told: number;
}

/** Goes through what a subscriber was given, and finds out whether it was told of everything else that it was lost. */
export class DeliveryAudit {
  /** Up to where everything has been given, or is known to be missing. */
  private at: number;
  /** Whether it is known where it begins. */
  private begun: boolean;
  /** How many were told to have been dropped, and have not been found missing yet. */
  private owed = 0;

  constructor(
    private readonly visit: Visit,
    private readonly log: readonly Logged[],
  ) {
    this.at = visit.after ?? visit.told;
    this.begun = visit.after !== undefined;
  }

  /** @throws when an event was given out of order or twice, or is missing without a word */
  follow(all: readonly Given[]): this {
    all.forEach(({ event, published }, index) => {
      assert.ok(index > 0 || !this.visit.bad || event.type === 'reset', 'That its id is bad is told first');
      if (event.type === 'reset') {
        this.reset(event as HubEvent<HubReset>, index === 0 ? this.visit.bad : undefined, published);
      } else if (event.type === 'lagged') {
        this.lag(event as HubEvent<{ readonly dropped: number }>);
      } else {
        this.hear(event);
      }
    });
    return this;
  }

  /** Whether nothing is left to be given. */
  get settled(): boolean {
    return this.missing(Number.POSITIVE_INFINITY).length === this.owed && (this.begun || !this.visit.bad);
  }

  /** Where it stands, in words. */
  toString(): string {
    const missing = this.missing(Number.POSITIVE_INFINITY).map(({ offset }) => offset);
    return `at ${this.at}, ${this.owed} told to have been dropped, [${missing.join()}] not given`;
  }

  private hear({ id, type }: HubEvent): void {
    const event = this.find(id);
    assert.ok(event && type === undefined, `What is given was published: ${id}`);
    assert.ok(this.isFor(event), `An event of the topic ${event.topic} is not for it`);
    assert.ok(event.offset > this.at, `Event ${event.offset} comes after ${this.at}`);
    const missing = this.missing(event.offset - 1).length;
    // What is superseded is told before all that waits, so it may be ahead.
    const accounted = this.visit.overflow === 'latest' ? missing <= this.owed : missing === this.owed;
    assert.ok(accounted, `Event ${event.offset} is given with ${missing} missing before it: ${this}`);
    this.owed -= missing;
    this.at = event.offset;
    this.begun = true;
  }

  private lag({ id, data: { dropped } }: HubEvent<{ readonly dropped: number }>): void {
    const first = this.find(id);
    assert.ok(dropped > 0 && this.visit.overflow.match(/drop|latest/) && first, 'What was dropped was so by a policy');
    const before = this.missing(first.offset - 1).length;
    assert.ok(before <= this.owed, `Who comes back with the id of "lagged" (${first.offset}) misses nothing: ${this}`);
    this.owed += dropped;
  }

  private reset({ id, data }: HubEvent<HubReset>, bad: HubResetReason | undefined, published: number): void {
    assert.equal(this.owed, 0);
    const { reason, oldest } = data;
    const after = offsetIn(id);
    assert.equal(reason, bad ?? 'evicted');
    if (!bad) {
      assert.ok(this.at + LIMIT < published, `What follows ${this.at} was not evicted after ${published}`);
      assert.ok(after > this.at, 'A reset goes forward');
    }
    assert.ok(after <= Math.max(0, published - LIMIT), `A reset goes on with all there is, not after ${after}`);
    if (oldest !== null) {
      assert.equal(this.find(oldest)?.offset, after + 1, 'A reset names the event with which it goes on');
    }
    this.at = after;
    this.begun = true;
  }

  /** What is for it and was not given, up to an offset. */
  private missing(upTo: number): Logged[] {
    return this.log.filter(
      (event) =>
        event.offset > this.at &&
        event.offset <= upTo &&
        this.isFor(event) &&
        (this.begun || event.n > this.visit.published),
    );
  }

  private isFor({ topic, n }: Logged): boolean {
    const { topics, even } = this.visit;
    return (!topics || (topic !== undefined && topics.includes(topic))) && (!even || n % 2 === 0);
  }

  private find(id: string): Logged | undefined {
    return this.log.find((event) => event.id === id);
  }
}

/** The offset in the id of an event. */
export function offsetIn(id: string): number {
  return Number.parseInt(id.split('.')[2] ?? '', 36);
}
