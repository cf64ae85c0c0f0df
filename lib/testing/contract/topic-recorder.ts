import assert from 'node:assert/strict';
import type { Broker, BrokerPosition, BrokerRecord } from '../../broker/broker.js';
import type { BrokerTopics, BrokerTopicTail } from '../../broker/broker-topics.js';
import type { ContractContext } from './contract-context.js';

/** Records everything that the listener of a tail of topics receives. Records that the broker has missed are read, as a hub does. */
export class TopicRecorder {
  readonly records: BrokerRecord[] = [];
  /** The positions of `onMissed()`. */
  readonly missed: BrokerPosition[] = [];
  /** Where the listener is: everything up to this position was delivered, or may be missing and can be read. */
  at: BrokerPosition = { epoch: '', offset: 0 };
  private readonly topics = new Set<string>();
  /** The topics that are added now, and the position of `add()` of each. */
  private readonly added = new Map<string, BrokerPosition>();
  /** Up to where everything was delivered, as the broker has reported. */
  private covered: BrokerPosition = { epoch: '', offset: 0 };
  /** The records that were delivered although the listener had received a later position before. */
  private readonly late: BrokerRecord[] = [];
  private tail: BrokerTopicTail | undefined;
  private wake: (() => void) | undefined;

  private constructor(
    private readonly context: ContractContext,
    private readonly broker: Broker & BrokerTopics,
    private readonly log: string,
  ) {}

  static async begin(context: ContractContext, broker: Broker & BrokerTopics, log: string): Promise<TopicRecorder> {
    const recorder = new TopicRecorder(context, broker, log);
    const note = (position: BrokerPosition | undefined): void => {
      if (position && (position.epoch !== recorder.at.epoch || position.offset > recorder.at.offset)) {
        recorder.at = position;
      }
      recorder.wake?.();
    };
    recorder.tail = await broker.tailTopics(log, {
      onRecords: (records) => {
        recorder.records.push(...records);
        recorder.late.push(...records.filter((record) => recorder.isLate(record)));
        note(records.at(-1));
      },
      onReached: (position) => {
        recorder.covered = position;
        note(position);
      },
      onMissed: (position) => {
        recorder.missed.push(position);
        recorder.covered = position;
        note(position);
      },
    });
    recorder.at = { epoch: recorder.tail.epoch, offset: recorder.tail.offset };
    return recorder;
  }

  get epoch(): string {
    return this.at.epoch;
  }

  /** Adds topics. Repeats the call while the store is away. */
  async add(...topics: string[]): Promise<BrokerPosition> {
    let position: BrokerPosition | undefined;
    await this.context.until('add() adds topics', async () => {
      position = await this.tail?.add(topics).catch(() => undefined);
      return position !== undefined;
    });
    for (const topic of topics) {
      this.topics.add(topic);
    }
    assert.ok(position);
    for (const topic of topics) {
      this.added.set(topic, position);
    }
    return position;
  }

  delete(...topics: string[]): void {
    for (const topic of topics) {
      this.added.delete(topic);
    }
    this.tail?.delete(topics);
  }

  stop(): Promise<void> | void {
    return this.tail?.stop();
  }

  /** Waits until at least `count` records were received. */
  async count(count: number): Promise<readonly BrokerRecord[]> {
    await this.until(`A tail of topics receives ${count} records`, () => this.records.length >= count);
    return this.records;
  }

  /** Waits until the listener knows that the log has reached a position. */
  reaches({ epoch, offset }: BrokerPosition): Promise<void> {
    return this.until(
      `The listener of a tail of topics learns that the log has reached offset ${offset}`,
      () => this.at.epoch === epoch && this.at.offset >= offset,
    );
  }

  /** Waits until the listener knows that another epoch has begun. */
  leavesEpoch(epoch: string): Promise<void> {
    return this.until('The listener of a tail of topics learns of another epoch', () => this.at.epoch !== epoch);
  }

  /** Asserts that records were delivered in the order of their offsets, each once, and each of a topic that was added. */
  assertOrdered(): void {
    let last: BrokerPosition = { epoch: '', offset: 0 };
    for (const { epoch, offset, topic, previous } of this.records) {
      assert.ok(
        epoch !== last.epoch || offset > last.offset,
        `A tail of topics received offset ${offset} after ${last.offset}`,
      );
      assert.ok(topic !== undefined && this.topics.has(topic), `A tail received a record of the topic ${topic}`);
      assert.ok(
        previous !== undefined && previous < offset,
        `A record at ${offset} has the previous offset ${previous}`,
      );
      last = { epoch, offset };
    }
    const [late] = this.late;
    assert.equal(
      late,
      undefined,
      `A tail received offset ${late?.offset} of the topic ${late?.topic} although its listener had received a later position before`,
    );
  }

  /** Asserts that no record of a topic is missing after a position, or was at least reported by `onMissed()`. */
  assertComplete(topic: string, after: number): void {
    let at = after;
    for (const record of this.records.filter((each) => each.topic === topic && each.offset > after)) {
      const { offset, previous = 0 } = record;
      const isReported = this.missed.some((position) => position.offset >= previous && position.offset < offset);
      assert.ok(
        previous <= at || isReported,
        `A tail received the record ${offset} of the topic ${topic} after ${at}, but the record before it is ${previous}`,
      );
      at = offset;
    }
  }

  /** Reads a topic to its end. */
  async read(topic: string, after = 0): Promise<readonly BrokerRecord[]> {
    const all: BrokerRecord[] = [];
    for (let at = after; ; at = all.at(-1)?.offset ?? at) {
      const { topics } = await this.broker.readTopics(this.log, [{ topic, after: at }], 100);
      const records = topics[0]?.records ?? [];
      if (records.length === 0) {
        return all;
      }
      all.push(...records);
    }
  }

  /** Whether the listener had received a position before, up to which everything was delivered, that includes a record. */
  private isLate({ epoch, offset, topic = '' }: BrokerRecord): boolean {
    const added = this.added.get(topic);
    return (
      added?.epoch === epoch && offset > added.offset && epoch === this.covered.epoch && offset <= this.covered.offset
    );
  }

  private async until(what: string, holds: () => boolean): Promise<void> {
    const there = new Promise<void>((resolve) => {
      this.wake = () => holds() && resolve();
      this.wake();
    });
    await this.context.within(there, what).catch((error: Error) => {
      error.message += ` (it received ${this.records.length} records, and is at offset ${this.at.offset})`;
      throw error;
    });
  }
}
