import type {
  Broker,
  BrokerEntry,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from '../broker/broker.js';
import { RecordWindow } from '../broker/record-window.js';
import type { HubReset, HubResetReason } from '../event/hub-event.js';
import { atMost } from '../util/at-most.js';
import { inLaterTurn } from '../util/scheduler.js';
import { Backfill } from './backfill.js';
import { ByteBudget } from './byte-budget.js';
import { type Delivered, endBefore, HeldRecords, isRecord } from './held-records.js';
import { LogEvent } from './log-event.js';
import { LogReader, READ_RETRIES } from './log-reader.js';
import { NewestSearch } from './newest-search.js';
import { PastEpochs } from './past-epochs.js';
import { idOf, tagOf } from './position.js';

/** The number of records that are read from the broker at once. */
const PAGE = 512;
/** How many bytes of values derived from the records of a hub are cached: encoded events, decoded data, pages of the history. */
const BUDGET = 16 * 1024 * 1024;
/** How long a broker may take to end a tail, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;

/**
 * The log of a hub in this process, with every record in order. The records of the history are kept in memory, so that the broker is not
 * read when clients resume. Sequence numbers count the events of this process. Within an epoch, they differ from the offsets of the broker
 * by a constant.
 */
export class History {
  readonly window: RecordWindow<LogEvent>;
  /** Limits the memory for values that are derived from the records, and that can be derived again. */
  readonly budget = new ByteBudget(BUDGET);
  private readonly tag: string;
  readonly reader: LogReader;
  readonly backfill: Backfill;
  private readonly past = new PastEpochs();
  epoch = '';
  private offset = 0;
  /** The sequence number at which the epoch starts: that of its `reset`. */
  floor = 0;
  private tail: BrokerTail | undefined;
  /** What was delivered while earlier records still have to be read. `undefined` if there are no earlier ones to read. */
  private held: HeldRecords | undefined;
  /** The sequence number of the last event before this process opened the log. */
  private opened = 0;

  /**
   * @param onEvent called with every event, once
   * @param warn logs a warning
   */
  constructor(
    readonly name: string,
    private readonly broker: Broker,
    private readonly retention: BrokerRetention,
    private readonly onEvent: (event: LogEvent) => void,
    readonly warn: (message: string, error?: unknown) => void,
  ) {
    this.tag = tagOf(name);
    this.reader = new LogReader(name, broker, warn);
    this.backfill = new Backfill(this, this.reader);
    this.window = new RecordWindow(retention, 0, (event) => event.leaveHistory());
  }

  /** The sequence number of the newest event. */
  get last(): number {
    return this.window.last;
  }

  /** The number of events that this process has received. */
  get received(): number {
    return this.last - this.opened;
  }

  /** The sequence number of the oldest event in memory; if there is none, that of the next event. */
  get oldest(): number {
    return this.window.oldest;
  }

  /** The number of older records for which there is room in memory. */
  get room(): number {
    return this.retention.limit - (this.last - this.oldest + 1);
  }

  /** Resolves when the records that this process has missed are read. `undefined` if it has missed none. */
  get recovering(): Promise<void> | undefined {
    return this.held?.released.promise;
  }

  /** Starts to receive records. Nothing is read: see {@link Backfill}. */
  async open(): Promise<void> {
    const held = new HeldRecords();
    this.held = held;
    await this.broker.open(this.name, this.retention);
    this.tail = await this.broker.tail(this.name, (records, position) => this.onDelivered(records, position));
    this.epoch = this.tail.epoch;
    this.offset = this.tail.offset;
    this.opened = this.offset;
    this.window.startAfter(this.offset);
    this.backfill.startAt(this.offset + 1);
    this.release(held, false);
  }

  /** Opens the log only to append to it. No records are received. */
  openToAppend(): Promise<void> {
    return this.broker.open(this.name, this.retention);
  }

  append(entry: BrokerEntry): Promise<BrokerPosition> {
    return this.broker.append(this.name, entry);
  }

  /** Returns whether the log is in the epoch of a position, and the record there was delivered to this process. */
  hasReached({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.epoch && this.offset >= offset;
  }

  /** Returns whether the log has left an epoch for another one. */
  hasLeft(epoch: string): boolean {
    return epoch !== this.epoch && this.past.has(epoch);
  }

  /**
   * Returns whether the record at a position was delivered to this process, or never will be, because the log has another epoch, or because this
   * process receives no records.
   */
  isDelivered(position: BrokerPosition): boolean {
    return !this.tail || this.hasReached(position) || this.hasLeft(position.epoch);
  }

  /** Reads the records up to the position at which the log ends, if they were not delivered. Resolves as {@link recovered} does. */
  advance(position: BrokerPosition): Promise<void> {
    this.receive(position);
    return this.recovered();
  }

  /** Resolves when the records that this process has missed are read, or after some seconds: the store may be away for long, and the caller may have left. */
  async recovered(): Promise<void> {
    while (this.recovering && (await atMost(READ_RETRIES.totalMs, this.recovering))) {
      // There may be more that were missed.
    }
  }

  id(position: BrokerPosition): string {
    return idOf(this.tag, position);
  }

  /** Stops repeating reads that fail. */
  stopRetrying(): void {
    this.reader.close();
  }

  /** Stops receiving records. The records in memory can still be read. */
  async close(): Promise<void> {
    if (!(await atMost(STOP_TIMEOUT_MS, Promise.resolve(this.tail?.stop())))) {
      this.warn(
        `The hub "${this.name}" gave up waiting for its broker: stop() of its tail took more than ${STOP_TIMEOUT_MS} ms`,
      );
    }
  }

  /** Returns the id of the event with a sequence number. For an event before the current epoch, returns the id of its start. */
  idAt(number: number): string {
    return this.id({ epoch: this.epoch, offset: this.offsetAt(Math.max(number, this.floor)) });
  }

  /** Returns the sequence number to start after in order to replay the whole window, but never later than `number`. */
  oldestStart(number: number): number {
    const start = Math.min(this.window.oldest - 1, number);
    // If the window begins with a `reset`, it is skipped: the client is sent another one.
    return start < number && this.window.at(start + 1)?.isNotice ? start + 1 : start;
  }

  /** Returns the sequence number of the event at an offset of the current epoch. */
  numberAt(offset: number): number {
    return this.last - (this.offset - offset);
  }

  /** Returns the offset of the event with a sequence number of the current epoch. */
  offsetAt(number: number): number {
    return this.offset - (this.last - number);
  }

  /** Adds the records that precede the oldest one in memory. They are not passed to `onEvent`. */
  prepend(records: readonly BrokerRecord[]): void {
    const events = records.map(
      (record) => new LogEvent(this.numberAt(record.offset), this.id(record), record, this.budget),
    );
    this.window.prepend(
      events,
      records.map(({ time }) => time),
    );
  }

  /** Returns a search for the newest `count` events of some topics, up to a sequence number. */
  search(count: number, topics: readonly string[] | undefined, upTo: number): NewestSearch {
    return new NewestSearch(this.window, count, topics && new Set(topics), upTo);
  }

  /** Returns the data of the `reset` for a client that starts after a sequence number. */
  resetAt(number: number, reason: HubResetReason): HubReset {
    return { reason, oldest: number < this.last ? this.idAt(number + 1) : null };
  }

  /** Never throws, since the broker calls it. A record that cannot be read is treated as missing when the next record arrives. */
  private onDelivered(records: readonly BrokerRecord[], position: BrokerPosition | undefined): void {
    try {
      for (const record of records) {
        this.receive(record);
      }
      if (position) {
        this.receive({ epoch: position.epoch, offset: position.offset });
      }
    } catch (error) {
      this.warn(`The hub "${this.name}" cannot read what its broker sent`, error);
    }
  }

  private receive(delivered: Delivered): void {
    if (this.held) {
      this.hold(delivered, this.held);
    } else if (this.isAhead(delivered)) {
      this.held = new HeldRecords();
      this.held.push(delivered);
      void this.recover(this.held);
    } else if (delivered.epoch !== this.epoch) {
      if (!this.past.isLate(delivered.epoch)) {
        this.startEpoch(delivered, 'epoch');
      }
    } else if (isRecord(delivered)) {
      if (delivered.offset === this.offset + 1) {
        this.onEvent(this.add(delivered));
      } else if (!this.knows(delivered)) {
        this.startEpoch(delivered, 'epoch');
      }
    }
  }

  private hold(delivered: Delivered, held: HeldRecords): void {
    if (!isRecord(delivered) || !this.follows(delivered)) {
      held.push(delivered);
      return;
    }
    // The tail was only late.
    this.onEvent(this.add(delivered));
    if (held.first && !this.isAhead(held.first)) {
      this.release(held, false);
    }
  }

  /** Returns whether the log has records before this one, or up to this position, that were not delivered. */
  private isAhead(delivered: Delivered): boolean {
    const { epoch } = delivered;
    return endBefore(delivered) > (epoch === this.epoch ? this.offset : 0) && !this.past.isLate(epoch);
  }

  /**
   * Returns whether a record was delivered already, since brokers may redeliver, or is one of those that the last `reset` has reported. A different
   * record at the same offset means a new epoch.
   */
  private knows(record: BrokerRecord): boolean {
    const number = this.numberAt(record.offset);
    return number <= this.floor || (this.window.at(number)?.is(record) ?? true);
  }

  private follows({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.epoch && offset === this.offset + 1;
  }

  private add(record: BrokerRecord): LogEvent {
    this.offset = record.offset;
    const event = new LogEvent(this.last + 1, this.id(record), record, this.budget);
    this.window.push(event, record.time);
    return event;
  }

  /** Sends a `reset` to all subscribers, since events before this record or position are missing, and continues from there. */
  private startEpoch(delivered: Delivered, reason: HubResetReason): void {
    this.warn(`The hub "${this.name}" has missed events (${reason}): its subscribers are sent a reset`);
    const { epoch } = delivered;
    const record = isRecord(delivered) ? delivered : undefined;
    this.window.clear();
    if (epoch !== this.epoch) {
      this.past.leave(this.epoch, epoch);
    }
    this.epoch = epoch;
    this.offset = endBefore(delivered);
    this.floor = this.last + 1;
    const event = LogEvent.reset(this.floor, this.id({ epoch, offset: this.offset }), {
      reason,
      oldest: record ? this.id(record) : null,
    });
    this.window.push(event, record?.time ?? Date.now());
    this.onEvent(event);
    if (record) {
      this.onEvent(this.add(record));
    }
  }

  /** Reads the records that the broker has not delivered. */
  private async recover(held: HeldRecords): Promise<void> {
    try {
      for (let next = held.first; next && this.isAhead(next); next = held.first) {
        if (!(await this.readTowards(next, held))) {
          break;
        }
        // Lets subscribers take this page before the next one.
        await new Promise<void>(inLaterTurn);
      }
    } catch {
      if (this.reader.closed) {
        // No reset: the records still exist, so that clients can resume in another process.
        held.replace();
      }
    }
    if (this.held === held) {
      this.release(held, true);
    }
  }

  /**
   * Reads a page of the records that precede a held one, and passes it on. Returns `false` if the broker has none.
   * @throws the error of the broker if it cannot be read while records wait. While none wait, nobody misses anything, and it can be read again
   */
  private async readTowards(next: Delivered, held: HeldRecords): Promise<boolean> {
    const { epoch } = this;
    const after = next.epoch === epoch ? this.offset : 0;
    const isUrgent = held.hasRecords;
    let records: readonly BrokerRecord[];
    try {
      records = await this.reader.read(after, Math.min(PAGE, endBefore(next) - after));
    } catch (error) {
      if (isUrgent || this.reader.closed) {
        throw error;
      }
      return this.held === held;
    }
    if (this.held !== held || this.epoch !== epoch) {
      // The tail has delivered them in the meantime.
      return this.held === held;
    }
    const [first] = records;
    if (first && first.epoch !== next.epoch && next.epoch === epoch) {
      // The log has begun another life. It is read from its start.
      held.replace({ epoch: first.epoch, offset: first.offset });
      return true;
    }
    if (first?.epoch !== next.epoch || first.offset <= after) {
      return false;
    }
    if (epoch !== next.epoch || first.offset > this.offset + 1) {
      this.startEpoch(first, first.epoch === epoch ? 'evicted' : 'epoch');
    }
    for (const record of records) {
      if (this.follows(record)) {
        this.onEvent(this.add(record));
      }
    }
    return true;
  }

  /** Continues with what was held. If records before it are lost, subscribers are sent a `reset`. */
  private release(held: HeldRecords, lost: boolean): void {
    const [first, ...rest] = held.all;
    this.held = undefined;
    held.released.resolve();
    if (first && lost && this.isAhead(first)) {
      this.startEpoch(first, first.epoch === this.epoch ? 'evicted' : 'epoch');
    } else if (first) {
      this.receive(first);
    }
    for (const delivered of rest) {
      this.receive(delivered);
    }
  }
}
