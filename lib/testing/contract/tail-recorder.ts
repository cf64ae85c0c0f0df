import assert from 'node:assert/strict';
import type { Broker, BrokerPosition, BrokerRecord, BrokerTail } from '../../broker/broker.js';

type Within = <R>(promise: Promise<R>, what: string) => Promise<R>;

/** Records everything that the listener of a tail receives. */
export class TailRecorder {
  readonly records: BrokerRecord[] = [];
  /** The positions that the broker has reported without a record. */
  readonly positions: BrokerPosition[] = [];
  private newest: BrokerPosition | undefined;
  private tail: BrokerTail | undefined;
  private wake: (() => void) | undefined;

  /** @param within waits for a promise, with a time limit */
  constructor(private readonly within: Within) {}

  /** The tail, with the position at which it began. */
  get start(): BrokerTail {
    if (!this.tail) {
      throw new Error('Call begin() before start is read');
    }
    return this.tail;
  }

  /** Where the log is, as far as the listener knows. */
  get at(): BrokerPosition {
    return this.newest ?? this.start;
  }

  async begin(broker: Broker, log: string): Promise<void> {
    this.tail = await broker.tail(log, (records, position) => {
      this.records.push(...records);
      if (position) {
        this.positions.push(position);
      }
      this.note(position ?? records.at(-1));
      this.wake?.();
    });
  }

  /** Waits until at least `count` records were received. */
  async count(count: number): Promise<readonly BrokerRecord[]> {
    await this.until(`A tail receives ${count} records`, () => this.records.length >= count);
    return this.records;
  }

  /** Waits until the listener knows that the log has reached an offset of the epoch in which the tail began. */
  async reaches(offset: number): Promise<void> {
    await this.until(
      `The listener of a tail learns that the log has reached offset ${offset}`,
      () => this.at.epoch === this.start.epoch && this.at.offset >= offset,
    );
  }

  /** Waits until the listener knows that another epoch has begun. */
  async leavesEpoch(epoch: string): Promise<void> {
    await this.until('The listener of a tail learns that another epoch has begun', () => this.at.epoch !== epoch);
  }

  /** Asserts that no record was received twice or out of order, within each epoch. */
  assertOrdered(): void {
    const last = new Map<string, number>();
    for (const { epoch, offset } of this.records) {
      assert.ok(offset > (last.get(epoch) ?? 0), `A tail received offset ${offset} after ${last.get(epoch)}`);
      last.set(epoch, offset);
    }
  }

  private async until(what: string, holds: () => boolean): Promise<void> {
    const there = new Promise<void>((resolve) => {
      this.wake = () => holds() && resolve();
      this.wake();
    });
    await this.within(there, what).catch((error: Error) => {
      error.message += ` (it received ${this.records.length} records, and is at offset ${this.at.offset})`;
      throw error;
    });
  }

  private note(position: BrokerPosition | undefined): void {
    if (position && (position.epoch !== this.newest?.epoch || position.offset > this.newest.offset)) {
      this.newest = position;
    }
  }
}
