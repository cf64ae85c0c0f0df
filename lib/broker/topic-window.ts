import type { BrokerRetention } from './broker.js';

/** The newest records of one topic in memory, in the order of their numbers, which have gaps. */
export class TopicWindow<R> {
  private records: R[] = [];
  private numbers: number[] = [];
  private times: number[] = [];

  /**
   * @param from every record with a higher number is added
   * @param onEvicted called with every record that is evicted
   */
  constructor(
    private from: number,
    private readonly onEvicted?: (record: R) => void,
  ) {}

  /** Every record with a higher number is in the window. */
  get completeAfter(): number {
    return this.from;
  }

  /** The number of records. */
  get size(): number {
    return this.records.length;
  }

  /** The number of the newest record, or of the one that was evicted last. */
  get last(): number {
    return this.numbers.at(-1) ?? this.from;
  }

  /** The time of the newest record, in milliseconds since 1970. `undefined`: there is none. */
  get lastTime(): number | undefined {
    return this.times.at(-1);
  }

  /** Adds a record that is newer than all others. */
  push(record: R, number: number, time: number, retention: BrokerRetention): void {
    this.records.push(record);
    this.numbers.push(number);
    this.times.push(time);
    this.evict(retention);
  }

  /**
   * Adds the records that precede the oldest one.
   * @param times the times of the records
   * @param from every record with a higher number is in the window now
   */
  prepend(records: readonly R[], numbers: readonly number[], times: readonly number[], from: number): void {
    this.records = [...records, ...this.records];
    this.numbers = [...numbers, ...this.numbers];
    this.times = [...times, ...this.times];
    this.from = from;
  }

  /** Returns the index of the first record after a number. */
  indexAfter(number: number): number {
    let low = 0;
    let high = this.numbers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.numbers[middle] as number) <= number) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  /** Returns the records after a number, at most `count`. */
  after(number: number, count: number): readonly R[] {
    const start = this.indexAfter(number);
    return this.records.slice(start, start + count);
  }

  /** Returns the record at an index. */
  at(index: number): R | undefined {
    return this.records[index];
  }

  /** Returns the number of the record at an index. */
  numberAt(index: number): number | undefined {
    return this.numbers[index];
  }

  /** Evicts the records that are too many or too old. */
  evict({ limit, ttl }: BrokerRetention): void {
    const end = Date.now() - ttl;
    let count = Math.max(0, this.records.length - limit);
    while (count < this.records.length && (this.times[count] as number) <= end) {
      count++;
    }
    this.drop(count);
  }

  /** Evicts the records up to a number. */
  dropUpTo(number: number): void {
    this.drop(this.indexAfter(number));
    this.from = Math.max(this.from, number);
  }

  /** Evicts all records. */
  clear(): void {
    this.drop(this.records.length);
  }

  private drop(count: number): void {
    if (count === 0) {
      return;
    }
    this.from = this.numbers[count - 1] as number;
    const evicted = this.records.splice(0, count);
    this.numbers.splice(0, count);
    this.times.splice(0, count);
    if (this.onEvicted) {
      evicted.forEach(this.onEvicted);
    }
  }
}
