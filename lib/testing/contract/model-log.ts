import assert from 'node:assert/strict';
import type { HubEvent } from '../../event/hub-event.js';
import { type AuditedLog, type LoggedEvent, positionIn } from './delivery-audit.js';

/** The errors with which publish() may reject while the store has a fault. */
const FAULT_CODES: readonly unknown[] = ['broker-unavailable', 'broker-busy', 'publish-unknown'];

/** What a run knows of its log: from the ids to which publish() resolves, and from the events that its hubs deliver. */
export class ModelLog implements AuditedLog {
  readonly events: LoggedEvent[] = [];
  disturbed = false;
  rewound = false;
  private readonly known = new Map<string, LoggedEvent>();
  /** The numbers of events that are not in the log, as the error of publish() says. */
  private readonly refused = new Set<number>();
  private last: LoggedEvent | undefined;

  /** The last event for which publish() has resolved. */
  get newest(): LoggedEvent {
    assert.ok(this.last, 'No event was published yet');
    return this.last;
  }

  get epoch(): string {
    return this.newest.epoch;
  }

  /** Called with the id to which publish() has resolved. */
  confirm(event: Pick<LoggedEvent, 'id' | 'n' | 'topic'>): void {
    this.last = this.add(event);
  }

  /** Called with an event that a hub has delivered. Its publish() may not have resolved. */
  learn({ id, data, topic }: HubEvent): void {
    this.add({ id, topic, n: (data as { readonly n: number }).n });
  }

  /** @throws the error of publish(), if no fault explains it */
  refuse(n: number, error: unknown): void {
    const { code } = error as { readonly code?: unknown };
    if (!this.disturbed || !FAULT_CODES.includes(code)) {
      throw error;
    }
    if (code !== 'publish-unknown') {
      this.refused.add(n);
    }
  }

  /** @throws {AssertionError} if an event is in the log twice, or although publish() has said that it is not */
  audit(): void {
    const numbers = this.events.map(({ n }) => n);
    assert.equal(new Set(numbers).size, numbers.length, 'An event was published once, but is in the log twice');
    assert.ok(
      !numbers.some((n) => this.refused.has(n)),
      'An event is in the log although publish() has said that it is not',
    );
  }

  private add(event: Pick<LoggedEvent, 'id' | 'n' | 'topic'>): LoggedEvent {
    const known = this.known.get(event.id);
    if (known) {
      assert.equal(known.n, event.n, `Two events have the id ${event.id}`);
      return known;
    }
    const logged = { ...event, ...positionIn(event.id) };
    this.known.set(event.id, logged);
    this.events.push(logged);
    this.events.sort((one, other) => one.offset - other.offset);
    return logged;
  }
}
