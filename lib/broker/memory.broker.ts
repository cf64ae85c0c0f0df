import { randomBytes } from 'node:crypto';
import type {
  Broker,
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from './broker.js';
import type { BrokerCondition, BrokerRuns } from './broker-runs.js';
import type {
  BrokerTopicListener,
  BrokerTopics,
  BrokerTopicTail,
  TopicPage,
  TopicRequest,
  TopicRetention,
} from './broker-topics.js';
import { MemoryRuns } from './memory-runs.js';
import { MemoryTopics } from './memory-topics.js';
import { RecordWindow } from './record-window.js';

/** How long `once` of an entry is remembered, in milliseconds. */
const ONCE_WINDOW_MS = 120_000;

/** One log in the memory of this process. It does not outlive the process, so its epoch is random. */
class MemoryLog {
  readonly epoch = randomBytes(5).toString('hex');
  readonly listeners = new Set<BrokerListener>();
  readonly window: RecordWindow<BrokerRecord>;
  /** The entries with `once`, by its value. */
  private readonly appended = new Map<string, { readonly position: BrokerPosition; readonly time: number }>();
  /** The records by topic, if the log has a history for each topic. */
  readonly topics: MemoryTopics | undefined;

  constructor(retention: BrokerRetention | TopicRetention) {
    this.window = new RecordWindow(wholeOf(retention));
    this.topics = 'all' in retention ? new MemoryTopics(retention, () => this.position) : undefined;
  }

  retain(retention: BrokerRetention | TopicRetention): void {
    this.window.retain(wholeOf(retention));
    if ('all' in retention) {
      this.topics?.retain(retention);
    }
  }

  get position(): BrokerPosition {
    return { epoch: this.epoch, offset: this.window.last };
  }

  append(entry: BrokerEntry): BrokerPosition {
    const { data, encoding, topic, type, key, once } = entry;
    const earlier = once === undefined ? undefined : this.earlier(once);
    if (earlier) {
      return earlier;
    }
    const { epoch } = this;
    const offset = this.window.last + 1;
    const time = Date.now();
    // Each property by name: copying the entry takes several times as long, and as much memory.
    const record: BrokerRecord = { data, encoding, topic, type, key, epoch, offset, time };
    const position = { epoch, offset };
    this.window.push(record, time);
    if (once !== undefined) {
      this.appended.set(once, { position, time });
    }
    for (const listener of this.listeners) {
      listener([record]);
    }
    if (topic !== undefined) {
      this.topics?.append(record, topic);
    }
    return position;
  }

  close(): void {
    this.listeners.clear();
    this.window.clear();
    this.topics?.close();
  }

  /** Returns the position of an earlier entry with the same `once`. */
  private earlier(once: string): BrokerPosition | undefined {
    // The oldest are first.
    for (const [each, { time }] of this.appended) {
      if (time > Date.now() - ONCE_WINDOW_MS) {
        break;
      }
      this.appended.delete(each);
    }
    return this.appended.get(once)?.position;
  }
}

/** Returns the retention of a log as a whole. With a history for each topic, it may have none. */
function wholeOf(retention: BrokerRetention | TopicRetention): BrokerRetention {
  return 'all' in retention && !retention.all ? { ...retention, limit: 0 } : retention;
}

/**
 * The default {@link Broker}, which keeps its logs in the memory of the process. They are lost when the process restarts: clients that resume
 * after that receive a `reset`.
 *
 * @example
 * ```ts
 * const broker = new MemoryBroker();
 * StreamingModule.registerHub({ name: 'prices', broker }, { name: 'orders', broker });
 * ```
 */
export class MemoryBroker implements Broker, BrokerRuns, BrokerTopics {
  /** 2 minutes. */
  readonly onceWindow = ONCE_WINDOW_MS;
  private readonly logs = new Map<string, MemoryLog>();
  private readonly runs = new MemoryRuns();

  async open(log: string, retention: BrokerRetention): Promise<void> {
    this.openLog(log, retention);
  }

  async openTopics(log: string, retention: TopicRetention): Promise<void> {
    this.openLog(log, retention);
  }

  async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.logOf(log).append(entry);
  }

  /** Tails the log of a hub if it is open, and otherwise the log of a run, which need not exist. */
  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const open = this.logs.get(log);
    if (!open) {
      return this.runs.tail(log, listener);
    }
    const { listeners, position } = open;
    // A new function, so that the same listener can be added twice.
    const deliver: BrokerListener = (records) => listener(records);
    listeners.add(deliver);
    return { ...position, stop: () => void listeners.delete(deliver) };
  }

  async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const open = this.logs.get(log);
    return open ? open.window.after(after, count) : this.runs.read(log, after, count);
  }

  async tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    return this.topicsOf(log).tail(listener);
  }

  async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    return this.topicsOf(log).read(requests, count);
  }

  create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    condition?: BrokerCondition,
  ): Promise<BrokerPosition | false> {
    return this.runs.create(log, entries, ms, condition);
  }

  appendAll(
    log: string,
    entries: readonly BrokerEntry[],
    condition?: BrokerCondition,
  ): Promise<BrokerPosition | false> {
    return this.runs.appendAll(log, entries, condition);
  }

  expire(log: string, ms: number): Promise<boolean> {
    return this.runs.expire(log, ms);
  }

  drop(log: string): Promise<void> {
    return this.runs.drop(log);
  }

  close(): Promise<void> {
    for (const log of this.logs.values()) {
      log.close();
    }
    this.logs.clear();
    this.runs.close();
    return Promise.resolve();
  }

  private openLog(log: string, retention: BrokerRetention | TopicRetention): void {
    const open = this.logs.get(log);
    if (open) {
      open.retain(retention);
    } else {
      this.logs.set(log, new MemoryLog(retention));
    }
  }

  private logOf(log: string): MemoryLog {
    const open = this.logs.get(log);
    if (!open) {
      throw new Error(`The log "${log}" is not open`);
    }
    return open;
  }

  private topicsOf(log: string): MemoryTopics {
    const { topics } = this.logOf(log);
    if (!topics) {
      throw new Error(`The log "${log}" is not open with a history for each topic`);
    }
    return topics;
  }
}
