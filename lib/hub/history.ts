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
import { EVENT_COST } from '../util/queue-limits.js';
import { ByteBudget } from './byte-budget.js';
import { LogEvent } from './log-event.js';
import { idOf, offsetOf, tagOf } from './position.js';

/** How many records are read from the broker at once. */
const PAGE = 512;
/** About how many bytes of memory the records may take that wait for the broker to answer: if it is more, they are read from it too. */
const HELD = 1024 * 1024;
/** How many bytes are kept of what is made of the records of a hub: encoded events, decoded data, pages of the history. */
const BUDGET = 16 * 1024 * 1024;
/** How long a broker may take to end a tail, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;

/**
 * Where a subscriber begins: after a number, after an offset this process has not heard of yet, or with a reset. `anew` is what
 * was the last number when one came that was not here before: it misses nothing of what is before that.
 */
export type Start =
  | { readonly after: number; readonly liveFrom?: number }
  | { readonly ahead: number }
  | { readonly reason: HubResetReason };

/**
 * The log of a hub as this process knows it: every record in order, and those of the history kept in memory, so that however
 * many clients come back, the broker is not asked. Numbers count events in this process; the offsets of
 * the broker follow them at a distance, which changes when the log begins anew.
 */
export class History {
  readonly window: RecordWindow<LogEvent>;
  /** Bounds what is made of the records, and can be made again. */
  readonly budget = new ByteBudget(BUDGET);
  private readonly tag: string;
  private epoch = '';
  private offset = 0;
  /** The number at which the epoch begins: that of the reset which says so. */
  floor = 0;
  private tail: BrokerTail | undefined;
  /** What comes while something else has to be read first. */
  private held: BrokerRecord[] | undefined = [];
  private heldCost = 0;

  /**
   * @param tell is given every event, once
   * @param warn is told when something was missed
   */
  constructor(
    readonly name: string,
    private readonly broker: Broker,
    private readonly retention: BrokerRetention,
    private readonly tell: (event: LogEvent) => void,
    readonly warn: (message: string, error?: unknown) => void,
  ) {
    this.tag = tagOf(name);
    this.window = new RecordWindow(retention, 0, (event) => event.leaveHistory());
  }

  /** The number of the newest event. */
  get last(): number {
    return this.window.last;
  }

  /** Begins to listen, and reads what the broker has. What it has is history: nobody is told. */
  async open(): Promise<void> {
    await this.broker.open(this.name, this.retention);
    this.tail = await this.broker.tail(this.name, (records) => this.hear(records));
    this.epoch = this.tail.epoch;
    this.offset = Math.max(0, this.tail.offset - this.retention.limit);
    if (this.retention.limit > 0) {
      await this.load(this.tail.offset);
    }
    if (this.offset !== this.tail.offset) {
      this.window.clear();
      this.offset = this.tail.offset;
    }
    this.release();
  }

  append(entry: BrokerEntry): Promise<BrokerPosition> {
    return this.broker.append(this.name, entry);
  }

  /** Whether this process has been told of what stands there. What belongs to another life of the log is not waited for. */
  isAt({ epoch, offset }: BrokerPosition): boolean {
    return epoch !== this.epoch || this.offset >= offset;
  }

  id(position: BrokerPosition): string {
    return idOf(this.tag, position);
  }

  /** Stops to listen. What is in memory can still be read. */
  async close(): Promise<void> {
    if (!(await atMost(STOP_TIMEOUT_MS, Promise.resolve(this.tail?.stop())))) {
      this.warn(
        `The hub "${this.name}" gave up waiting for its broker: stop() of its tail took more than ${STOP_TIMEOUT_MS} ms`,
      );
    }
  }

  /** The id of what has that number, or of where the epoch begins. */
  idAt(number: number): string {
    return this.id({ epoch: this.epoch, offset: this.offset - (this.last - Math.max(number, this.floor)) });
  }

  /** After which number one begins who is to have all there is, or at least what comes after another number. */
  oldestStart(number: number): number {
    const start = Math.min(this.window.oldest - 1, number);
    // It is told of that already.
    return start < number && this.window.at(start + 1)?.isNotice ? start + 1 : start;
  }

  /** Where one begins who has had everything up to that id. */
  startAfter(id: string): Start {
    const offset = offsetOf(id, this.tag, this.epoch);
    if (typeof offset !== 'number') {
      return { reason: offset };
    }
    const after = this.last - (this.offset - offset);
    return offset > this.offset ? { ahead: offset } : { after };
  }

  /** Where one begins who is to have so many of the newest events. */
  startWithLast(count: number, topics: readonly string[] | undefined): Start {
    const { last, oldest } = this.window;
    if (count === 0 || oldest > last) {
      return { after: last, liveFrom: last };
    }
    const wanted = topics && new Set(topics);
    const heard = this.window.after(oldest - 1, last).filter((event) => event.isFor(wanted) && !event.isNotice);
    const first = heard[Math.max(0, heard.length - count)];
    return { after: first ? first.seq - 1 : last, liveFrom: last };
  }

  /** Where one begins who has heard of more than this process has: of another process, if it is in the log. */
  async startAhead(offset: number): Promise<Start> {
    const { epoch } = this;
    const [record] = await this.broker.read(this.name, offset - 1, 1);
    // What is ahead may be evicted already. Without a history nothing can be known of it.
    const known = record ? record.offset >= offset && record.epoch === epoch : this.retention.limit === 0;
    return known && epoch === this.epoch ? { after: this.last + (offset - this.offset) } : { reason: 'epoch' };
  }

  /** What one is told who has missed something, and begins after a number. */
  resetAt(number: number, reason: HubResetReason): HubReset {
    return { reason, oldest: number < this.last ? this.idAt(number + 1) : null };
  }

  /** A record that is none is missed, and what follows says so; it does not throw into the code of the broker. */
  private hear(records: readonly BrokerRecord[]): void {
    try {
      this.receive(records);
    } catch (error) {
      this.warn(`The hub "${this.name}" cannot read what its broker sent`, error);
    }
  }

  private receive(records: readonly BrokerRecord[]): void {
    for (const record of records) {
      if (this.held) {
        this.hold(record, this.held);
      } else if (this.follows(record)) {
        this.tell(this.add(record));
      } else if (this.misses(record)) {
        this.held = [];
        this.hold(record, this.held);
        void this.recover();
      } else if (!this.knows(record)) {
        this.beginAnew(record, 'epoch');
      }
    }
  }

  private hold(record: BrokerRecord, held: BrokerRecord[]): void {
    const cost = Buffer.byteLength(record.data) + EVENT_COST;
    this.heldCost += cost;
    if (this.heldCost > HELD) {
      held.length = 0;
      this.heldCost = cost;
    }
    held.push(record);
  }

  /** Whether it is one that was told before: some brokers repeat themselves. Another one in its place is another life of the log. */
  private knows(record: BrokerRecord): boolean {
    const event = this.window.at(this.last - (this.offset - record.offset));
    return record.epoch === this.epoch && (event?.is(record) ?? true);
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

  /** Tells everyone that something is missing before this record, with which it goes on. */
  private beginAnew(record: BrokerRecord, reason: HubResetReason): void {
    this.warn(`The hub "${this.name}" has missed events (${reason}): its subscribers are sent a reset`);
    this.window.clear();
    this.epoch = record.epoch;
    this.offset = record.offset - 1;
    this.floor = this.last + 1;
    const event = LogEvent.reset(this.floor, this.id({ ...record, offset: this.offset }), {
      reason,
      oldest: this.id(record),
    });
    this.window.push(event, record.time);
    this.tell(event);
    this.tell(this.add(record));
  }

  /** Reads what the broker has, up to an offset. What is read before it without a gap is history. */
  private async load(upTo: number): Promise<void> {
    while (this.offset < upTo) {
      const records = (await this.broker.read(this.name, this.offset, PAGE)).filter(({ offset }) => offset <= upTo);
      if (records.length === 0) {
        return;
      }
      for (const record of records) {
        if (!this.follows(record)) {
          this.window.clear();
        }
        this.add(record);
      }
    }
  }

  /** Reads what this process was not told of. */
  private async recover(): Promise<void> {
    try {
      for (let next = this.held?.[0]; next && this.misses(next); next = this.held?.[0]) {
        const { offset } = next;
        const records = await this.broker.read(this.name, this.offset, Math.min(PAGE, offset - 1 - this.offset));
        const [first] = records;
        if (!first || !this.follows(first)) {
          break;
        }
        for (const record of records) {
          this.tell(this.add(record));
        }
      }
    } catch (error) {
      this.warn(`The hub "${this.name}" could not read what it has missed`, error);
    }
    this.release('evicted');
  }

  /** Whether there is something before a record, in the same life of the log, that was not told. */
  private misses({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.epoch && offset > this.offset + 1;
  }

  private release(reason?: HubResetReason): void {
    const [first, ...rest] = this.held ?? [];
    this.held = undefined;
    this.heldCost = 0;
    if (first && reason && !this.follows(first)) {
      this.beginAnew(first, first.epoch === this.epoch ? reason : 'epoch');
      this.receive(rest);
    } else if (first) {
      this.receive([first, ...rest]);
    }
  }
}
