import type {
  BrokerTopicListener,
  BrokerTopics,
  BrokerTopicTail,
  TopicPage,
  TopicRecords,
  TopicRequest,
  TopicRetention,
} from '../../lib/broker/index.js';
import { type BrokerEntry, type BrokerPosition, StreamError } from '../../lib/index.js';
import { SharedStore, SharedStoreBroker } from './shared-store.js';
import type { Connection } from './shared-store-server.js';

/** How long after an append the tails learn the new position, in milliseconds. */
const MARK_MS = 20;

/** A tail, as the server knows it. */
interface Subscription {
  readonly topics: Set<string>;
  readonly connection: Connection;
  readonly listener: BrokerTopicListener;
}

/** A {@link SharedStore} that keeps the records of logs by topic. */
export class SharedTopicStore extends SharedStore {
  private readonly limits = new Map<string, number>();
  private readonly subscriptions = new Map<string, Set<Subscription>>();

  limitTopics(name: string, limit: number): void {
    this.limits.set(name, limit);
  }

  override append(name: string, entry: BrokerEntry): BrokerPosition {
    const { topic = '' } = entry;
    const previous = this.recordsOf(name, topic).at(-1)?.offset ?? 0;
    const log = this.log(name);
    const { last } = log;
    const position = super.append(name, entry);
    const record = log.records.at(-1);
    if (record && log.last > last) {
      Object.assign(record, { previous });
      for (const { topics, connection, listener } of this.subscriptions.get(name) ?? []) {
        if (topics.has(topic)) {
          connection.deliver(() => listener.onRecords([record]));
        }
      }
      this.markLater(name);
    }
    return position;
  }

  override lose(name: string): void {
    super.lose(name);
    this.onLost(name);
  }

  /** Called when a log was lost: its tails have to learn it. */
  protected onLost(name: string): void {
    for (const { connection, listener } of this.subscriptions.get(name) ?? []) {
      const end = this.end(name);
      connection.deliver(() => listener.onMissed(end));
    }
  }

  readTopics(name: string, requests: readonly TopicRequest[], count: number): TopicPage {
    return { position: this.end(name), topics: requests.map((request) => this.readTopic(name, request, count)) };
  }

  subscribe(name: string, subscription: Subscription): BrokerPosition {
    this.subscriptions.set(name, (this.subscriptions.get(name) ?? new Set()).add(subscription));
    return this.end(name);
  }

  unsubscribe(name: string, subscription: Subscription): void {
    this.subscriptions.get(name)?.delete(subscription);
  }

  end(name: string): BrokerPosition {
    const { epoch, last } = this.log(name);
    return { epoch, offset: last };
  }

  private recordsOf(name: string, topic: string) {
    return this.log(name).records.filter((record) => record.topic === topic);
  }

  private readTopic(name: string, { topic, after }: TopicRequest, count: number): TopicRecords {
    const { records, last } = this.log(name);
    const kept = this.recordsOf(name, topic).slice(-(this.limits.get(name) ?? 0));
    const asked = kept.filter(({ offset }) => offset > after);
    const expired = (records[0]?.offset ?? last + 1) - 1;
    return {
      records: asked.slice(0, count),
      more: asked.length > count,
      completeAfter: kept[0]?.previous ?? expired,
    };
  }

  private markLater(name: string): void {
    setTimeout(() => {
      const end = this.end(name);
      for (const { connection, listener } of this.subscriptions.get(name) ?? []) {
        connection.deliver(() => listener.onReached(end));
      }
    }, MARK_MS).unref();
  }
}

/** A tail of a broker, which continues on every new connection. */
export interface OpenTail {
  readonly log: string;
  readonly wanted: Set<string>;
  readonly listener: BrokerTopicListener;
  subscription: Subscription;
}

/** The broker of one process, on a {@link SharedTopicStore}. */
export class SharedTopicBroker extends SharedStoreBroker implements BrokerTopics {
  private readonly topicTails = new Set<OpenTail>();

  constructor(
    protected override readonly store: SharedTopicStore,
    timeout?: number,
  ) {
    super(store, timeout);
  }

  async openTopics(log: string, retention: TopicRetention): Promise<void> {
    await this.open(log, { ...retention, limit: Number.POSITIVE_INFINITY });
    await this.command(() => this.store.limitTopics(log, retention.limit));
  }

  readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    return this.ask(() => this.store.readTopics(log, requests, count));
  }

  async tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    let stopped = false;
    const guarded: BrokerTopicListener = {
      onRecords: (records) => stopped || listener.onRecords(records),
      onReached: (position) => stopped || listener.onReached(position),
      onMissed: (position) => stopped || listener.onMissed(position),
    };
    const wanted = new Set<string>();
    const start = await this.command((connection) => {
      const subscription: Subscription = { topics: new Set(), connection, listener: guarded };
      return { subscription, position: this.store.subscribe(log, subscription) };
    });
    const tail: OpenTail = { log, wanted, listener: guarded, subscription: start.subscription };
    this.topicTails.add(tail);
    return {
      ...start.position,
      add: (topics) => this.add(tail, topics),
      delete: (topics) => this.remove(tail, topics),
      stop: () => {
        stopped = true;
        this.topicTails.delete(tail);
        this.store.unsubscribe(log, tail.subscription);
      },
    };
  }

  protected override async prepare(connection: Connection): Promise<void> {
    await super.prepare(connection);
    for (const tail of this.topicTails) {
      await this.continueTopics(tail, connection);
    }
  }

  protected async continueTopics(tail: OpenTail, connection: Connection): Promise<void> {
    const { log, wanted, listener } = tail;
    this.store.unsubscribe(log, tail.subscription);
    const subscription: Subscription = { topics: new Set(wanted), connection, listener };
    tail.subscription = subscription;
    listener.onMissed(await this.send(connection, () => this.store.subscribe(log, subscription)));
  }

  private ask<R>(question: () => R): Promise<R> {
    return this.command(question).catch((cause: unknown) => {
      throw new StreamError('broker-unavailable', 'The store has not answered', { statusCode: 503, cause });
    });
  }

  private add(tail: OpenTail, topics: readonly string[]): Promise<BrokerPosition> {
    for (const topic of topics) {
      tail.wanted.add(topic);
    }
    return this.ask(() => {
      for (const topic of topics) {
        tail.subscription.topics.add(topic);
      }
      return this.store.end(tail.log);
    });
  }

  private remove(tail: OpenTail, topics: readonly string[]): void {
    for (const topic of topics) {
      tail.wanted.delete(topic);
    }
    const { subscription } = tail;
    this.command(() => {
      for (const topic of topics) {
        subscription.topics.delete(topic);
      }
    }).catch(() => undefined);
  }
}
