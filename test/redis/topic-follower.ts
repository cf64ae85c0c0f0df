import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerTopicListener, BrokerTopics, BrokerTopicTail } from '../../lib/broker/broker-topics.js';
import type { Broker, BrokerPosition, BrokerRecord } from '../../lib/index.js';

type TopicBroker = Broker & BrokerTopics;

/** What a follower knows of a topic. */
interface Followed {
  /** The offset up to which it has the records. */
  offset: number;
  readonly received: number[];
}

/** Follows topics of a log as a hub does: it reads what its tail may have missed, and counts what is lost. */
export class TopicFollower implements BrokerTopicListener {
  readonly topics = new Map<string, Followed>();
  /** Positions that the tail has named, in their order. */
  readonly reached: BrokerPosition[] = [];
  readonly missed: BrokerPosition[] = [];
  /** The topics, each with the number of times at which records of it may be lost. */
  readonly resets = new Map<string, number>();
  /** What a tail must not do. */
  readonly faults: string[] = [];
  epoch = '';
  private newest = 0;
  /** Records that are received while topics are read. */
  private held: BrokerRecord[] = [];
  private reads = 0;
  private tail: BrokerTopicTail | undefined;

  constructor(
    private broker: TopicBroker,
    private readonly log: string,
  ) {}

  async start(...topics: string[]): Promise<this> {
    this.tail = await this.broker.tailTopics(this.log, this);
    this.enter(this.tail);
    await this.add(...topics);
    return this;
  }

  /** Adds topics, from the beginning of what is kept. */
  add(...topics: string[]): Promise<void> {
    for (const topic of topics) {
      this.topics.set(topic, { offset: 0, received: [] });
    }
    return this.catchUp(topics, async () => {
      this.enter(await (this.tail as BrokerTopicTail).add(topics));
    });
  }

  /** Continues with another broker, as a client that moves to another process. */
  async moveTo(broker: TopicBroker): Promise<void> {
    this.broker = broker;
    await this.catchUp([...this.topics.keys()], async () => {
      await this.tail?.stop();
      this.newest = 0;
      this.tail = await broker.tailTopics(this.log, this);
      this.enter(await this.tail.add([...this.topics.keys()]));
    });
  }

  delete(...topics: string[]): void {
    topics.forEach((topic) => void this.topics.delete(topic));
    this.tail?.delete(topics);
  }

  async stop(): Promise<void> {
    await this.tail?.stop();
  }

  received(topic: string): readonly number[] {
    return this.topics.get(topic)?.received ?? [];
  }

  onRecords(records: readonly BrokerRecord[]): void {
    for (const record of records) {
      if (record.epoch !== this.epoch && this.reads === 0) {
        this.faults.push(`a record of another epoch, ${record.offset}, without onMissed()`);
      } else if (record.epoch === this.epoch && record.offset <= this.newest) {
        this.faults.push(`${record.offset} after ${this.newest}`);
      }
      this.newest = record.offset;
      if (this.reads > 0) {
        this.held.push(record);
      } else {
        this.take(record);
      }
    }
  }

  onReached(position: BrokerPosition): void {
    this.reached.push(position);
  }

  onMissed(position: BrokerPosition): void {
    this.missed.push(position);
    this.enter(position);
    this.newest = position.offset;
    void this.catchUp([...this.topics.keys()]);
  }

  /** Called with a position of the log, which may be in another epoch. */
  private enter({ epoch }: BrokerPosition): void {
    if (epoch !== this.epoch) {
      if (this.epoch !== '') {
        [...this.topics.keys()].forEach((topic) => void this.reset(topic));
      }
      for (const followed of this.topics.values()) {
        followed.offset = 0;
      }
      this.epoch = epoch;
    }
  }

  /** Reads topics, after something else. Repeats both until the store can be reached. */
  private async catchUp(topics: readonly string[], first?: () => Promise<void>): Promise<void> {
    this.reads++;
    for (let done = false; !done; ) {
      try {
        await first?.();
        await this.read(topics);
        done = true;
      } catch (error) {
        if ((error as { code?: string }).code !== 'broker-unavailable') {
          this.faults.push(String(error));
        }
        await sleep(50);
      }
    }
    this.reads--;
    if (this.reads === 0) {
      this.held.splice(0).forEach((record) => void this.take(record));
    }
  }

  private async read(topics: readonly string[]): Promise<void> {
    for (let behind = topics.filter((topic) => this.topics.has(topic)); behind.length > 0; ) {
      const requests = behind.map((topic) => ({ topic, after: this.topics.get(topic)?.offset ?? 0 }));
      const { epoch } = this;
      const page = await this.broker.readTopics(this.log, requests, 100);
      if (epoch !== this.epoch || page.position.epoch !== epoch) {
        // The offsets are those of another epoch. The tail will say where the next one is, if it has not yet.
        await sleep(20);
        continue;
      }
      behind = behind.filter((topic, at) => {
        const { records = [], completeAfter = 0 } = page.topics[at] ?? {};
        const followed = this.topics.get(topic);
        if (!followed || followed.offset > (requests[at]?.after ?? 0)) {
          return false;
        }
        if (completeAfter > followed.offset && followed.received.length > 0) {
          this.reset(topic);
        }
        followed.offset = Math.max(followed.offset, completeAfter);
        records.forEach((record) => void this.take(record));
        return records.length === 100;
      });
    }
  }

  private take(record: BrokerRecord): void {
    const followed = this.topics.get(record.topic ?? '');
    if (!followed || record.epoch !== this.epoch || record.offset <= followed.offset) {
      return;
    }
    if ((record.previous ?? 0) > followed.offset) {
      this.faults.push(
        `${record.topic}: ${record.offset} is after ${record.previous}, and not after ${followed.offset}`,
      );
    }
    followed.offset = record.offset;
    followed.received.push(Number(record.data));
  }

  private reset(topic: string): void {
    this.resets.set(topic, (this.resets.get(topic) ?? 0) + 1);
  }
}
