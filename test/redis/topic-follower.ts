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
  private epoch = '';
  private newest = 0;
  private held: BrokerRecord[] | undefined;
  private tail: BrokerTopicTail | undefined;

  constructor(
    private readonly broker: TopicBroker,
    private readonly log: string,
  ) {}

  async start(...topics: string[]): Promise<this> {
    this.tail = await this.broker.tailTopics(this.log, this);
    this.epoch = this.tail.epoch;
    await this.add(...topics);
    return this;
  }

  /** Adds topics, from the beginning of what is kept. */
  async add(...topics: string[]): Promise<BrokerPosition> {
    for (const topic of topics) {
      this.topics.set(topic, { offset: 0, received: [] });
    }
    const position = await (this.tail as BrokerTopicTail).add(topics);
    await this.read(topics);
    return position;
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
      if (record.epoch !== this.epoch && this.held === undefined) {
        this.faults.push(`a record of another epoch, ${record.offset}, without onMissed()`);
      } else if (record.epoch === this.epoch && record.offset <= this.newest) {
        this.faults.push(`${record.offset} after ${this.newest}`);
      }
      this.newest = record.offset;
      this.held ? this.held.push(record) : this.take(record);
    }
  }

  onReached(position: BrokerPosition): void {
    this.reached.push(position);
  }

  onMissed(position: BrokerPosition): void {
    this.missed.push(position);
    if (position.epoch !== this.epoch) {
      this.epoch = position.epoch;
      for (const [topic, followed] of this.topics) {
        followed.offset = 0;
        this.reset(topic);
      }
    }
    this.newest = position.offset;
    this.held ??= [];
    const held = this.held;
    this.read([...this.topics.keys()]).then(
      () => {
        if (this.held === held) {
          this.held = undefined;
          held.forEach((record) => void this.take(record));
        }
      },
      () => setTimeout(() => this.onMissed(position), 50),
    );
  }

  private async read(topics: readonly string[]): Promise<void> {
    for (let behind = topics.filter((topic) => this.topics.has(topic)); behind.length > 0; ) {
      const requests = behind.map((topic) => ({ topic, after: this.topics.get(topic)?.offset ?? 0 }));
      const page = await this.broker.readTopics(this.log, requests, 100);
      behind = behind.filter((topic, at) => {
        const { records = [], completeAfter = 0 } = page.topics[at] ?? {};
        const followed = this.topics.get(topic);
        if (page.position.epoch !== this.epoch || !followed) {
          return false;
        }
        if (completeAfter > followed.offset && followed.offset > 0) {
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
