import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerPosition } from '../../lib/index.js';
import type { RedisBroker } from '../../lib/redis/index.js';
import { TopicFollower } from '../redis/topic-follower.js';
import { range } from '../support/hub.js';

const LOG = 'feed';
const RETENTION = { limit: 10_000, ttl: 3_600_000, all: false };
const TOPICS = range(1, 30).map((n) => `topic ${n}`);
/** The topics that are followed. */
const WANTED = TOPICS.slice(0, 20);
/** How long a publisher waits between two events, and how long a roaming follower stays, in milliseconds. */
const PUBLISH_MS = 4;
const STAY_MS = 300;
/** The number of events that each publisher has to append before and after a fault. */
const ENOUGH = 40;

interface Appended {
  readonly topic: string;
  readonly n: number;
  readonly position: BrokerPosition;
}

/** What followers of topics have received, compared with what was appended. */
export interface TopicVerdict {
  readonly faults: string[];
  /** How many times records of a topic may have been lost, for each follower: the values of all its topics. */
  readonly resets: number[][];
  readonly appended: number;
}

/** Brokers that append to topics of one log, followers that stay with one of them, and one that moves between them. */
export class TopicLoad {
  private readonly appended: Appended[] = [];
  private readonly followers: TopicFollower[];
  private readonly roaming: TopicFollower;
  private readonly leaving = new AbortController();
  private work: Promise<unknown>[] = [];
  private count = 0;
  private errors: string[] = [];

  private constructor(private readonly brokers: readonly RedisBroker[]) {
    const [first] = brokers as [RedisBroker];
    this.followers = brokers.map((broker) => new TopicFollower(broker, LOG));
    this.roaming = new TopicFollower(first, LOG);
  }

  static async start(brokers: readonly RedisBroker[]): Promise<TopicLoad> {
    await Promise.all(brokers.map((broker) => broker.openTopics(LOG, RETENTION)));
    const load = new TopicLoad(brokers);
    await Promise.all([...load.followers, load.roaming].map((follower) => follower.start(...WANTED)));
    load.work = [...brokers.map((broker) => load.publish(broker)), load.roam()];
    return load;
  }

  /** Waits until events that are appended from now on are received. */
  async delivering(): Promise<void> {
    const before = this.appended.length;
    const end = before + ENOUGH * this.brokers.length;
    while (this.appended.length < end) {
      await sleep(20);
    }
    await this.received(this.appended.slice(before));
  }

  /** Ends the load, and compares. */
  async verdict(): Promise<TopicVerdict> {
    this.leaving.abort();
    await Promise.all(this.work);
    const followers = [...this.followers, this.roaming];
    await this.received(this.appended);
    const verdict = {
      faults: [...this.errors, ...followers.flatMap(({ faults }) => faults)],
      resets: followers.map(({ resets }) => WANTED.map((topic) => resets.get(topic) ?? 0)),
      appended: this.appended.length,
    };
    await Promise.all(followers.map((follower) => follower.stop()));
    return verdict;
  }

  /** Waits until every follower has the events of its epoch that are wanted, in their order. */
  private async received(appended: readonly Appended[]): Promise<void> {
    for (const follower of [...this.followers, this.roaming]) {
      const has = ({ topic, n, position }: Appended): boolean =>
        position.epoch !== follower.epoch || !WANTED.includes(topic) || follower.received(topic).includes(n);
      while (!appended.every(has)) {
        await sleep(20);
      }
    }
  }

  private async publish(broker: RedisBroker): Promise<void> {
    while (!this.leaving.signal.aborted) {
      const n = ++this.count;
      const topic = TOPICS[n % TOPICS.length] as string;
      const once = n % 5 === 0 ? `once ${n}` : undefined;
      try {
        const position = await broker.append(LOG, { data: `${n}`, encoding: 'json', topic, once });
        this.appended.push({ topic, n, position });
      } catch (error) {
        const { code = '' } = error as { code?: string };
        if (!['broker-unavailable', 'publish-unknown', 'broker-busy'].includes(code)) {
          this.errors.push(String(error));
        }
      }
      await sleep(PUBLISH_MS);
    }
  }

  private async roam(): Promise<void> {
    for (let n = 1; !this.leaving.signal.aborted; n++) {
      await sleep(STAY_MS);
      await this.roaming.moveTo(this.brokers[n % this.brokers.length] as RedisBroker);
    }
  }
}
