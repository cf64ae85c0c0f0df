import type { BrokerRetention } from './broker.js';

/** The newest records of one topic in memory, in the order of their numbers, which have gaps. */
export class TopicWindow<R> {
  private records: (R | undefined)[] = [];
  private numbers: number[] = [];
  private times: number[] = [];
  /** The place of the oldest record in the arrays: those before it are evicted. If no record is left, the arrays are empty. */
  private start = 0;

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
    return this.records.length - this.start;
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
    const { start } = this;
    this.records = [...records, ...this.records.slice(start)];
    this.numbers = [...numbers, ...this.numbers.slice(start)];
    this.times = [...times, ...this.times.slice(start)];
    this.start = 0;
    this.from = from;
  }

  /** Returns the index of the first record after a number. */
  indexAfter(number: number): number {
    let low = this.start;
    let high = this.numbers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.numbers[middle] as number) <= number) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low - this.start;
  }

  /** Returns the records after a number, at most `count`. */
  after(number: number, count: number): readonly R[] {
    const from = this.start + this.indexAfter(number);
    return this.records.slice(from, from + count) as R[];
  }

  /** Returns the record at an index. */
  at(index: number): R | undefined {
    return index < 0 ? undefined : this.records[this.start + index];
  }

  /** Returns the number of the record at an index. */
  numberAt(index: number): number | undefined {
    return index < 0 ? undefined : this.numbers[this.start + index];
  }

  /** Evicts the records that are too many or too old. */
  evict({ limit, ttl }: BrokerRetention): void {
    const end = Date.now() - ttl;
    const { size, start } = this;
    let count = Math.max(0, size - limit);
    while (count < size && (this.times[start + count] as number) <= end) {
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
    this.drop(this.size);
  }

  private drop(count: number): void {
    if (count === 0) {
      return;
    }
    const end = this.start + count;
    this.from = this.numbers[end - 1] as number;
    for (let index = this.start; index < end; index++) {
      const record = this.records[index] as R;
      this.records[index] = undefined;
      this.onEvicted?.(record);
    }
    this.start = end;
    // The arrays are not cut for every record: moving the remaining records each time would take quadratic time.
    if (end > this.records.length / 2) {
      this.records.splice(0, end);
      this.numbers.splice(0, end);
      this.times.splice(0, end);
      this.start = 0;
    }
  }
}
