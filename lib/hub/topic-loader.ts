import type { Broker } from '../broker/broker.js';
import type { BrokerTopics, TopicRecords } from '../broker/broker-topics.js';
import type { TopicWindow } from '../broker/topic-window.js';
import { atEndOfTurn } from '../util/scheduler.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { LogEvent } from './log-event.js';
import type { StartingClient } from './start.js';
import type { TopicHistory } from './topic-history.js';
import type { WantedTopic } from './topic-interest.js';

/** The number of topics that are read at once, and of records of each. */
const BATCH = 128;
const PAGE = 128;

/** A topic whose older events are read. */
interface Load {
  readonly topic: WantedTopic;
  /** The window when the reading began, and the sequence number after which it was complete. */
  readonly window: TopicWindow<LogEvent>;
  readonly end: number;
  /** Events with a higher sequence number are read. */
  readonly after: number;
  /** The log has all events with a higher sequence number than this one. */
  from: number;
  /** The events that were read, and their times. */
  readonly events: LogEvent[];
  readonly times: number[];
  readonly done: Deferred<void>;
}

/** Reads older events of topics into their windows. Clients share the reads of a topic, and topics share the calls of the broker. */
export class TopicLoader {
  private readonly loads = new Map<WantedTopic, Load>();
  private waiting: Load[] = [];

  constructor(
    private readonly broker: Broker & BrokerTopics,
    private readonly history: TopicHistory,
  ) {}

  /**
   * Reads the events of topics after a sequence number, as far as the log has them. While the store is away, the client waits.
   * @throws {StreamError} `hub-closed` if the broker cannot be read while the hub closes
   */
  async load(topics: readonly string[], after: number, client: StartingClient): Promise<void> {
    const held = topics.flatMap((name) => this.missing(name, after));
    for (const topic of held) {
      topic.loading++;
    }
    try {
      await this.loadAll(topics, after, client);
    } finally {
      for (const topic of held) {
        topic.loading--;
      }
    }
  }

  private async loadAll(topics: readonly string[], after: number, client: StartingClient): Promise<void> {
    const { epoch, reader } = this.history;
    const missing = (): WantedTopic[] => topics.flatMap((name) => this.missing(name, after));
    for (let wanted = missing(); wanted.length > 0 && !client.closed; wanted = missing()) {
      if (this.history.epoch !== epoch) {
        return;
      }
      await Promise.all(wanted.map((topic) => this.loadOne(topic, after)));
      if (reader.closed && missing().length > 0) {
        throw this.history.closedError();
      }
    }
  }

  /** Returns a topic whose window may get more events after a sequence number; nothing if it has all that there are. */
  private missing(name: string, after: number): WantedTopic | [] {
    const topic = this.history.interest.get(name);
    return topic?.window && !topic.exhausted && topic.window.completeAfter > after ? topic : [];
  }

  private loadOne(topic: WantedTopic, after: number): Promise<void> {
    const running = this.loads.get(topic);
    if (running || !topic.window) {
      return running?.done.promise ?? Promise.resolve();
    }
    const { window } = topic;
    const end = window.completeAfter;
    const load: Load = { topic, window, end, after, from: after, events: [], times: [], done: deferred() };
    this.loads.set(topic, load);
    this.enqueue(load);
    return load.done.promise;
  }

  private enqueue(load: Load): void {
    if (this.waiting.push(load) === 1) {
      atEndOfTurn(() => {
        const { waiting } = this;
        this.waiting = [];
        for (let at = 0; at < waiting.length; at += BATCH) {
          void this.readBatch(waiting.slice(at, at + BATCH));
        }
      });
    }
  }

  private async readBatch(batch: readonly Load[]): Promise<void> {
    const { broker, history } = this;
    const { epoch, name } = history;
    try {
      const requests = batch.map(({ topic, after, events }) => ({
        topic: topic.name,
        after: history.offsetAt(events.at(-1)?.seq ?? after),
      }));
      const page = await history.reader.retrying(() => broker.readTopics(name, requests, PAGE));
      history.learn(page.position);
      for (const [index, load] of batch.entries()) {
        const records = page.topics[index];
        // If the window was replaced in the meantime, the topic is read again.
        const isSame = history.epoch === epoch && page.position.epoch === epoch && load.topic.window === load.window;
        if (!records || !isSame || this.take(load, records)) {
          this.finish(load);
        } else {
          this.enqueue(load);
        }
      }
    } catch {
      // The reader has logged it. The clients that wait ask again.
      for (const load of batch) {
        this.finish(load);
      }
    }
  }

  /** Adds what was read. Returns whether nothing is missing any more. */
  private take(load: Load, { records, completeAfter, more }: TopicRecords): boolean {
    const { history } = this;
    const { topic, after, end, events, times } = load;
    if (load.window.completeAfter !== end) {
      // The window has evicted events in the meantime, and with them all that are older.
      topic.exhausted = true;
      return true;
    }
    const oldest = history.numberAt(completeAfter);
    if (oldest > (events.at(-1)?.seq ?? after)) {
      // Records were removed that follow those of the page before.
      load.from = oldest;
      events.length = 0;
      times.length = 0;
    }
    for (const record of records) {
      if (history.numberAt(record.offset) <= end) {
        events.push(history.eventOf(record));
        times.push(record.time);
      }
    }
    const last = records.at(-1);
    if (more && last && history.numberAt(last.offset) < end) {
      return false;
    }
    topic.prepend(events, times, Math.min(load.from, end));
    topic.exhausted = load.from > after;
    history.interest.count(topic);
    return true;
  }

  private finish(load: Load): void {
    this.loads.delete(load.topic);
    load.done.resolve();
  }
}
