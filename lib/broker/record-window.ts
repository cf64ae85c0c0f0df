import { LONGEST_MS } from '../util/checks.js';
import type { BrokerRetention } from './broker.js';

/** The newest records of a log in memory, limited by a {@link BrokerRetention}. They have consecutive numbers. */
export class RecordWindow<R> {
  private records: (R | undefined)[] = [];
  private times: number[] = [];
  /** The index of the oldest record: those before it are evicted. */
  private start = 0;
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param newest the number before the number of the first record
   * @param onEvicted called with every record that is evicted
   */
  constructor(
    private retention: BrokerRetention,
    private newest = 0,
    private readonly onEvicted?: (record: R) => void,
  ) {}

  /** The number of the newest record, even if it is evicted. */
  get last(): number {
    return this.newest;
  }

  /** The number of the oldest record; if there is none, that of the next one. */
  get oldest(): number {
    this.evict();
    return this.newest - (this.records.length - this.start) + 1;
  }

  /** Keeps records by another retention from now on. */
  retain(retention: BrokerRetention): void {
    this.retention = retention;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.evict();
  }

  /** @param time the time of the record, in milliseconds since 1970 */
  push(record: R, time: number): void {
    this.newest++;
    if (this.retention.limit === 0) {
      this.onEvicted?.(record);
      return;
    }
    this.records.push(record);
    this.times.push(time);
    this.evict();
  }

  /** Sets the number of the newest record of a window that has none yet. */
  startAfter(number: number): void {
    this.newest = number;
  }

  /**
   * Adds the records that precede the oldest one. Of those, the oldest are evicted if they are too many or too old.
   * @param times the times of the records
   */
  prepend(records: readonly R[], times: readonly number[]): void {
    if (this.start < records.length) {
      this.makeRoom(records.length);
    }
    this.start -= records.length;
    for (const [index, record] of records.entries()) {
      this.records[this.start + index] = record;
      this.times[this.start + index] = times[index] as number;
    }
    // The timer waits for a record that is newer.
    clearTimeout(this.timer);
    this.timer = undefined;
    this.evict();
  }

  /** Returns the records after a number, at most `count`. If the first of them is evicted, the result starts with the oldest record. */
  after(number: number, count: number): readonly R[] {
    // Read first: reading it evicts expired records, which changes `start`.
    const { oldest } = this;
    const from = this.start + Math.max(0, number + 1 - oldest);
    return this.records.slice(from, from + count) as R[];
  }

  /** Returns the record with a number; `undefined` if it is evicted, or does not exist yet. */
  at(number: number): R | undefined {
    // Read once, and first: reading it evicts expired records, which changes `start`.
    const { oldest } = this;
    return number < oldest ? undefined : this.records[this.start + number - oldest];
  }

  /** Evicts all records. The next record still gets the next number. */
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
    // The array is not cut for every record: moving the remaining records each time would take quadratic time.
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

  /** Sets a timer that evicts expired records, even if the window is not used any more. */
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

  /** Adds empty places before the oldest record: as many as there are records, so that many calls take linear time in total. */
  private makeRoom(count: number): void {
    const records = this.records.slice(this.start);
    const room = Math.max(count, records.length);
    this.times = new Array<number>(room).fill(0).concat(this.times.slice(this.start));
    this.records = new Array<R | undefined>(room).fill(undefined).concat(records);
    this.start = room;
  }

  private cut(count: number): void {
    this.records.splice(0, count);
    this.times.splice(0, count);
    this.start = 0;
  }
}
