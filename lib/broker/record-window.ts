import { LONGEST_MS } from '../util/checks.js';
import type { BrokerRetention } from './broker.js';

/** The newest records of a log, counted up by one: at most so many, and none that is too old. */
export class RecordWindow<R> {
  private records: (R | undefined)[] = [];
  private times: number[] = [];
  /** Where the records begin that are still there. */
  private start = 0;
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param newest the number of the record before the first that will be pushed
   * @param onEvicted called with every record that leaves
   */
  constructor(
    private readonly retention: BrokerRetention,
    private newest = 0,
    private readonly onEvicted?: (record: R) => void,
  ) {}

  /** The number of the newest record, whether or not it is still there. */
  get last(): number {
    return this.newest;
  }

  /** The number of the oldest record there is; of the next one when there is none. */
  get oldest(): number {
    this.evict();
    return this.newest - (this.records.length - this.start) + 1;
  }

  /** @param time when it was made, in milliseconds since 1970 */
  push(record: R, time: number): void {
    this.newest++;
    this.records.push(record);
    this.times.push(time);
    this.evict();
  }

  /** At most so many records after a number, from the oldest there is. */
  after(number: number, count: number): readonly R[] {
    // First, as it evicts.
    const { oldest } = this;
    const from = this.start + Math.max(0, number + 1 - oldest);
    return this.records.slice(from, from + count) as R[];
  }

  /** Returns the record with a number; `undefined` if it is no longer there, or not there yet. */
  at(number: number): R | undefined {
    // First, as it evicts. The clock is read once: between two looks at it, records may expire.
    const { oldest } = this;
    return number < oldest ? undefined : this.records[this.start + number - oldest];
  }

  /** Forgets all records, and goes on counting. */
  clear(): void {
    while (this.start < this.records.length) {
      this.evictOldest();
    }
    this.cut(this.start);
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private evict(): void {
    const { limit, ttl } = this.retention;
    const { length } = this.records;
    const end = Date.now() - ttl;
    while (this.start < length && (length - this.start > limit || (this.times[this.start] as number) <= end)) {
      this.evictOldest();
    }
    // Not for each: to move the rest so often would be quadratic.
    if (this.start > length / 2) {
      this.cut(this.start);
    }
    this.expireLater(end);
  }

  private evictOldest(): void {
    const record = this.records[this.start] as R;
    this.records[this.start++] = undefined;
    this.onEvicted?.(record);
  }

  /** Has memory released also when nobody asks any more. */
  private expireLater(end: number): void {
    const oldest = this.times[this.start];
    if (this.timer !== undefined || oldest === undefined || !Number.isFinite(end)) {
      return;
    }
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.evict();
      },
      Math.min(Math.max(oldest - end, 1), LONGEST_MS),
    ).unref();
  }

  private cut(count: number): void {
    this.records.splice(0, count);
    this.times.splice(0, count);
    this.start = 0;
  }
}
