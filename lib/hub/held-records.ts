import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import { EVENT_COST } from '../util/queue-limits.js';
import { deferred } from '../util/thenable.js';

/** About how many bytes of memory held records may take. If they take more, the oldest are dropped, and read from the broker later. */
const HELD = 1024 * 1024;

/** What a tail delivers: a record, or the position at which the log ends. */
export type Delivered = BrokerRecord | BrokerPosition;

export function isRecord(delivered: Delivered): delivered is BrokerRecord {
  return 'data' in delivered;
}

/** Returns the offset of the last record that precedes a record, or that a position includes. */
export function endBefore(delivered: Delivered): number {
  return isRecord(delivered) ? delivered.offset - 1 : delivered.offset;
}

/** What a tail has delivered while earlier records are being read, in order. */
export class HeldRecords {
  /** Resolves when they are held no longer. */
  readonly released = deferred();
  private items: Delivered[] = [];
  private cost = 0;

  get first(): Delivered | undefined {
    return this.items[0];
  }

  get all(): readonly Delivered[] {
    return this.items;
  }

  /** Whether events wait. A position alone delays nobody. */
  get hasRecords(): boolean {
    return this.items.some(isRecord);
  }

  push(delivered: Delivered): void {
    const last = this.items.at(-1);
    if (last && !isRecord(last) && !isRecord(delivered)) {
      // Only the newest position counts.
      this.items.pop();
      this.cost -= EVENT_COST;
    }
    const cost = isRecord(delivered) ? Buffer.byteLength(delivered.data) + EVENT_COST : EVENT_COST;
    this.cost += cost;
    if (this.cost > HELD) {
      // The records before this one are read, like those that were not delivered.
      this.items = [];
      this.cost = cost;
    }
    this.items.push(delivered);
  }

  /** Drops everything. If a position is passed, it is held instead. */
  replace(position?: BrokerPosition): void {
    this.items = [];
    this.cost = 0;
    if (position) {
      this.push(position);
    }
  }
}
