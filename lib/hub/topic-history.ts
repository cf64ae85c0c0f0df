import type { Broker, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerTopics, TopicRetention } from '../broker/broker-topics.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { ByteBudget } from './byte-budget.js';
import { LogEvent } from './log-event.js';
import { LogReader } from './log-reader.js';
import { PastEpochs } from './past-epochs.js';
import { idOf, tagOf } from './position.js';
import { TopicInterest, type WantedTopic } from './topic-interest.js';

/** How many bytes of values derived from the records of a hub are cached: encoded events, decoded data, pages of the history. */
const BUDGET = 16 * 1024 * 1024;
/** How long a broker may take to end a tail, in milliseconds. */
const STOP_TIMEOUT_MS = 2_000;

/** What a history by topic calls. */
export interface TopicHistoryListener {
  onEvent(event: LogEvent): void;
  /** Called when all events up to a sequence number have arrived. */
  onReached(number: number): void;
  /**
   * Called when events may be missing: those of a topic, or of all. Subscribers have to find out where they continue.
   * @param isLost whether they cannot be read, because subscribers may have got a later position already
   */
  onMissed(topic: string | undefined, isLost: boolean): void;
}

/**
 * The log of a hub in this process, with the records of the topics that have subscribers here. A sequence number is the offset of a record, plus a
 * number that is constant within an epoch. So sequence numbers have gaps.
 */
export class TopicHistory {
  readonly interest: TopicInterest;
  readonly reader: LogReader;
  /** Limits the memory for values that are derived from the records, and that can be derived again. */
  readonly budget = new ByteBudget(BUDGET);
  epoch = '';
  /** The sequence number at which the epoch starts, which stands for offset 0. */
  floor = 0;
  /** The sequence number up to which all events of the wanted topics were received. */
  last = 0;
  /** The number of events that this process has received. */
  received = 0;
  /** The sequence number up to which the log is known to extend. */
  private known = 0;
  private readonly tag: string;
  private readonly past = new PastEpochs();

  constructor(
    readonly name: string,
    private readonly broker: Broker & BrokerTopics,
    private readonly retention: TopicRetention,
    private readonly listener: TopicHistoryListener,
    readonly warn: (message: string, error?: unknown) => void,
  ) {
    this.tag = tagOf(name);
    this.reader = new LogReader(name, broker, warn, async () => {
      const { position } = await broker.readTopics(name, [], 1);
      this.learn(position);
      return position;
    });
    this.interest = new TopicInterest(retention, this.reader, (position, topics) => this.onAdded(position, topics));
  }

  async open(): Promise<void> {
    await this.openToAppend();
    const tail = await this.broker.tailTopics(this.name, {
      onRecords: (records) => this.safely(() => this.receiveAll(records)),
      onReached: (position) => this.safely(() => this.reach(position)),
      onMissed: (position) => this.safely(() => this.past.isLate(position.epoch) || this.miss(position)),
    });
    this.epoch = tail.epoch;
    this.last = tail.offset;
    this.known = tail.offset;
    this.interest.start(tail);
    this.listener.onReached(this.last);
  }

  openToAppend(): Promise<void> {
    return this.broker.openTopics(this.name, this.retention);
  }

  /** The sequence number up to which the log extends, as far as this process knows. */
  get end(): number {
    return Math.max(this.last, this.known);
  }

  /** Whether records are received. */
  private get isOpen(): boolean {
    return this.epoch !== '';
  }

  /** Returns whether the log is in the epoch of a position, and is known to have the record there. */
  hasReached({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.epoch && this.numberAt(offset) <= this.end;
  }

  /** Returns whether the log has left an epoch for another one. */
  hasLeft(epoch: string): boolean {
    return epoch !== this.epoch && this.past.has(epoch);
  }

  /** Returns whether the record at a position was delivered to this process, if its topic is wanted, or never will be. */
  isDelivered({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.epoch ? this.numberAt(offset) <= this.last : this.past.has(epoch);
  }

  /** Continues in the epoch of a position. */
  async advance(position: BrokerPosition): Promise<void> {
    this.learn(position);
  }

  /** Stops receiving records. */
  async close(): Promise<void> {
    if (!(await atMost(STOP_TIMEOUT_MS, this.interest.close()))) {
      this.warn(
        `The hub "${this.name}" gave up waiting for its broker: stop() of its tail took more than ${STOP_TIMEOUT_MS} ms`,
      );
    }
  }

  /** The error for a client whose start cannot be found any more. */
  closedError(): StreamError {
    return new StreamError('hub-closed', `The hub "${this.name}" is closed: subscribe() again in another process`);
  }

  id(position: BrokerPosition): string {
    return idOf(this.tag, position);
  }

  numberAt(offset: number): number {
    return this.floor + offset;
  }

  offsetAt(number: number): number {
    return Math.max(0, number - this.floor);
  }

  eventOf(record: BrokerRecord): LogEvent {
    return new LogEvent(this.numberAt(record.offset), this.id(record), record, this.budget);
  }

  /** Notes a position of the log that the broker has answered. If the log has another epoch, continues there. */
  learn(position: BrokerPosition): void {
    if (position.epoch === this.epoch) {
      this.known = Math.max(this.known, this.numberAt(position.offset));
    } else if (this.isOpen && !this.past.isLate(position.epoch)) {
      this.miss(position);
    }
  }

  /** Never throws, since the broker calls it. Until the tail has begun, it has no topics, and what it delivers has no meaning. */
  private safely(run: () => void): void {
    try {
      if (this.isOpen) {
        run();
      }
    } catch (error) {
      this.warn(`The hub "${this.name}" cannot read what its broker sent`, error);
    }
  }

  private onAdded(position: BrokerPosition, topics: readonly WantedTopic[]): void {
    this.learn(position);
    const isCurrent = position.epoch === this.epoch;
    const number = isCurrent ? this.numberAt(position.offset) : this.last;
    for (const topic of topics) {
      if (!topic.window) {
        topic.startAfter(number);
      } else if (isCurrent) {
        // Of the events up to this position, some may have arrived, and others not.
        topic.window.dropUpTo(number);
      }
    }
    this.reach(position);
  }

  private receiveAll(records: readonly BrokerRecord[]): void {
    for (const record of records) {
      this.receive(record);
    }
  }

  private receive(record: BrokerRecord): void {
    const { epoch, offset } = record;
    this.learn({ epoch, offset: offset - 1 });
    if (epoch !== this.epoch) {
      return;
    }
    const number = this.numberAt(offset);
    const topic = this.interest.get(record.topic ?? '');
    if (number <= this.last || !topic) {
      return;
    }
    this.checkPrevious(record, topic);
    const event = this.eventOf(record);
    this.received++;
    this.last = number;
    this.interest.push(topic, event, record.time);
    this.listener.onEvent(event);
  }

  /** If the record before this one in its topic was not received, subscribers of the topic have to read it. */
  private checkPrevious({ previous = 0 }: BrokerRecord, topic: WantedTopic): void {
    const before = this.numberAt(previous);
    if (!topic.window || before <= topic.window.last) {
      return;
    }
    // Subscribers may have got a later position already. They would not receive the record after that.
    const isLost = before <= this.last;
    topic.startAfter(before);
    this.listener.onMissed(topic.name, isLost);
  }

  private reach(position: BrokerPosition): void {
    this.learn(position);
    if (position.epoch === this.epoch) {
      this.last = Math.max(this.last, this.numberAt(position.offset));
      this.listener.onReached(this.last);
    }
  }

  /** Continues after a position. What is before it can be read. */
  private miss({ epoch, offset }: BrokerPosition): void {
    const isNewEpoch = epoch !== this.epoch;
    if (isNewEpoch) {
      this.warn(`The log of the hub "${this.name}" has begun a new epoch: its subscribers are sent a reset`);
      this.past.leave(this.epoch, epoch);
      this.epoch = epoch;
      this.floor = this.end + 1;
      this.known = 0;
    }
    this.last = Math.max(this.last, this.numberAt(offset));
    for (const topic of this.interest.all) {
      if (topic.adding) {
        // Not known before add() of the tail has resolved.
        topic.window = undefined;
      } else {
        topic.startAfter(this.last);
      }
    }
    this.listener.onMissed(undefined, false);
  }
}
