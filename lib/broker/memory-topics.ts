import { LONGEST_MS } from '../util/checks.js';
import type { BrokerPosition, BrokerRecord } from './broker.js';
import type {
  BrokerTopicListener,
  BrokerTopicTail,
  TopicPage,
  TopicRecords,
  TopicRequest,
  TopicRetention,
} from './broker-topics.js';
import { TopicWindow } from './topic-window.js';

/** How long after an append the tails receive the new position of the log at the latest, in milliseconds. */
const MARK_MS = 1_000;

interface Tail {
  readonly listener: BrokerTopicListener;
  readonly topics: Set<string>;
}

/** The records of a log by topic, in the memory of this process. */
export class MemoryTopics {
  /** The topics with records. Those with the oldest newest record are first. */
  private readonly windows = new Map<string, TopicWindow<BrokerRecord>>();
  private readonly tails = new Set<Tail>();
  private readonly byTopic = new Map<string, Set<Tail>>();
  /** The highest offset of the records of topics that have none any more. */
  private removed = 0;
  /** No topic has a newest record that is older than this. The map is not asked for its first topic each time: its iterator would pass the places of all topics that were moved to the end. */
  private oldestTime = Number.POSITIVE_INFINITY;
  private expiry: NodeJS.Timeout | undefined;
  private mark: NodeJS.Timeout | undefined;

  /** @param end returns where the log ends */
  constructor(
    private retention: TopicRetention,
    private readonly end: () => BrokerPosition,
  ) {}

  /** Whether the log is kept as a whole, too. */
  get all(): boolean {
    return this.retention.all;
  }

  retain(retention: TopicRetention): void {
    this.retention = retention;
    for (const [topic, window] of this.windows) {
      window.evict(retention);
      this.forgetIfEmpty(topic, window);
    }
  }

  /** Adds the newest record of the log to its topic, and delivers it. */
  append({ data, encoding, type, key, epoch, offset, time }: BrokerRecord, topic: string): void {
    this.evictExpired();
    const window = this.windows.get(topic) ?? new TopicWindow<BrokerRecord>(this.removed);
    const previous = window.size > 0 ? window.last : 0;
    const record: BrokerRecord = { data, encoding, topic, type, key, epoch, offset, time, previous };
    this.windows.delete(topic);
    this.windows.set(topic, window);
    window.push(record, offset, time, this.retention);
    this.oldestTime = Math.min(this.oldestTime, time);
    this.forgetIfEmpty(topic, window);
    for (const { listener } of this.byTopic.get(topic) ?? []) {
      listener.onRecords([record]);
    }
    this.expireLater();
    this.markLater();
  }

  tail(listener: BrokerTopicListener): BrokerTopicTail {
    const tail: Tail = { listener, topics: new Set() };
    this.tails.add(tail);
    return {
      ...this.end(),
      add: async (topics) => {
        for (const topic of this.tails.has(tail) ? topics : []) {
          tail.topics.add(topic);
          this.byTopic.set(topic, (this.byTopic.get(topic) ?? new Set()).add(tail));
        }
        return this.end();
      },
      delete: (topics) => this.remove(tail, topics),
      stop: () => {
        this.tails.delete(tail);
        this.remove(tail, [...tail.topics]);
      },
    };
  }

  read(requests: readonly TopicRequest[], count: number): TopicPage {
    this.evictExpired();
    return { position: this.end(), topics: requests.map(({ topic, after }) => this.readOne(topic, after, count)) };
  }

  close(): void {
    clearTimeout(this.expiry);
    clearTimeout(this.mark);
    this.tails.clear();
    this.byTopic.clear();
    this.windows.clear();
  }

  private readOne(topic: string, after: number, count: number): TopicRecords {
    const window = this.windows.get(topic);
    window?.evict(this.retention);
    const records = window?.after(after, count) ?? [];
    return {
      records,
      completeAfter: window?.completeAfter ?? this.removed,
      more: window !== undefined && (records.at(-1)?.offset ?? window.last) < window.last,
    };
  }

  private remove(tail: Tail, topics: readonly string[]): void {
    for (const topic of topics) {
      tail.topics.delete(topic);
      const tails = this.byTopic.get(topic);
      tails?.delete(tail);
      if (tails?.size === 0) {
        this.byTopic.delete(topic);
      }
    }
  }

  /** Removes the topics whose records are all too old. */
  private evictExpired(): void {
    const end = Date.now() - this.retention.ttl;
    if (this.oldestTime > end) {
      return;
    }
    for (const [topic, window] of this.windows) {
      const { lastTime } = window;
      if (lastTime !== undefined && lastTime > end) {
        this.oldestTime = lastTime;
        return;
      }
      window.clear();
      this.forgetIfEmpty(topic, window);
    }
    this.oldestTime = Number.POSITIVE_INFINITY;
  }

  private forgetIfEmpty(topic: string, window: TopicWindow<BrokerRecord>): void {
    if (window.size === 0) {
      this.removed = Math.max(this.removed, window.last);
      this.windows.delete(topic);
    }
  }

  private expireLater(): void {
    if (this.expiry !== undefined) {
      return;
    }
    const [oldest] = this.windows.values();
    const { ttl } = this.retention;
    if (oldest?.lastTime !== undefined && Number.isFinite(ttl)) {
      const ms = Math.min(Math.max(oldest.lastTime + ttl - Date.now(), 1), LONGEST_MS);
      this.expiry = setTimeout(() => {
        this.expiry = undefined;
        this.evictExpired();
        this.expireLater();
      }, ms).unref();
    }
  }

  private markLater(): void {
    this.mark ??= setTimeout(() => {
      this.mark = undefined;
      for (const { listener } of this.tails) {
        listener.onReached(this.end());
      }
    }, MARK_MS).unref();
  }
}
