import { performance } from 'node:perf_hooks';
import type { BrokerPosition, BrokerRetention } from '../broker/broker.js';
import type { BrokerTopicTail } from '../broker/broker-topics.js';
import { TopicWindow } from '../broker/topic-window.js';
import { atEndOfTurn } from '../util/scheduler.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { ByteBudget, type Evictable } from './byte-budget.js';
import type { LogEvent } from './log-event.js';
import type { LogReader } from './log-reader.js';

/** How long the events of a topic are still received after its last subscriber has left, in milliseconds. Clients often come back. */
const LINGER_MS = 30_000;
/** How often topics without subscribers and expired events are looked for, in milliseconds. */
const SWEEP_MS = 5_000;
/** The number of topics that are added to the tail at once. */
const BATCH = 512;
/** About how many bytes of memory the events of all topics may take in this process. Those of topics that were quiet for longest are evicted, and read again when they are needed. */
const BYTES = 64 * 1024 * 1024;

/** A topic whose events this process receives. */
export class WantedTopic implements Evictable {
  /** Its newest events. `undefined`: it is not known yet which of its events will be received. */
  window: TopicWindow<LogEvent> | undefined;
  /** Whether the log has no record of the topic that is older than those in the window. */
  exhausted = false;
  /** The number of subscribers. */
  users = 0;
  /** When the last subscriber has left. */
  idleSince = 0;
  /** Resolves when its events are received. `undefined`: they are. */
  adding: Deferred<void> | undefined = deferred();
  /** The number of clients that wait until its older events are read. Until then, it is not evicted: they may need several topics at once. */
  loading = 0;
  /** Whether it should have been evicted in that time. */
  isOverBudget = false;
  private bytes = 0;

  constructor(readonly name: string) {}

  get cost(): number {
    return this.bytes;
  }

  /** Its events can be read again. */
  evict(): void {
    const { window } = this;
    this.isOverBudget = this.loading > 0;
    if (window && !this.isOverBudget) {
      window.clear();
      this.startAfter(window.completeAfter);
    }
  }

  /** Replaces the window by one without events. All events with a higher sequence number will be received. */
  startAfter(number: number): void {
    this.window?.clear();
    this.bytes = 0;
    this.exhausted = false;
    this.window = new TopicWindow<LogEvent>(number, (event) => {
      this.bytes -= event.weight;
      event.leaveHistory();
    });
  }

  push(event: LogEvent, time: number, retention: BrokerRetention): void {
    if (!this.window) {
      this.startAfter(event.seq - 1);
    }
    this.bytes += event.weight;
    this.window?.push(event, event.seq, time, retention);
  }

  /** Adds older events. @param from every event with a higher number is in the window now */
  prepend(events: readonly LogEvent[], times: readonly number[], from: number): void {
    this.bytes += events.reduce((sum, { weight }) => sum + weight, 0);
    this.window?.prepend(
      events,
      events.map(({ seq }) => seq),
      times,
      from,
    );
  }
}

/** The topics whose events this process receives: those with subscribers, and those that had one a short time ago. */
export class TopicInterest {
  private readonly topics = new Map<string, WantedTopic>();
  private readonly budget = new ByteBudget(BYTES);
  /** The topics that are to be added to the tail. */
  private added: WantedTopic[] = [];
  private timer: NodeJS.Timeout | undefined;
  private tail: BrokerTopicTail | undefined;

  /** @param onAdded called with a position up to which all records of the other topics were delivered */
  constructor(
    private readonly retention: BrokerRetention,
    private readonly reader: LogReader,
    private readonly onAdded: (position: BrokerPosition, topics: readonly WantedTopic[]) => void,
  ) {}

  start(tail: BrokerTopicTail): void {
    this.tail = tail;
  }

  get all(): Iterable<WantedTopic> {
    return this.topics.values();
  }

  /** The number of events in memory. */
  get kept(): number {
    let sum = 0;
    for (const { window } of this.topics.values()) {
      sum += window?.size ?? 0;
    }
    return sum;
  }

  get(topic: string): WantedTopic | undefined {
    return this.topics.get(topic);
  }

  /** Counts a subscriber of topics. */
  enter(topics: readonly string[]): void {
    for (const name of topics) {
      const topic = this.topics.get(name) ?? this.add(name);
      topic.users++;
    }
  }

  leave(topics: readonly string[]): void {
    for (const name of topics) {
      const topic = this.topics.get(name);
      if (topic && --topic.users === 0) {
        topic.idleSince = performance.now();
      }
    }
  }

  /** Resolves when the events of topics are received. `undefined` if they are. */
  ready(topics: readonly string[]): Promise<unknown> | undefined {
    const waiting = topics.flatMap((name) => this.topics.get(name)?.adding?.promise ?? []);
    return waiting.length > 0 ? Promise.all(waiting) : undefined;
  }

  /** Adds an event to its topic, and counts its memory. */
  push(topic: WantedTopic, event: LogEvent, time: number): void {
    topic.push(event, time, this.retention);
    this.budget.use(topic);
  }

  /** Counts the memory of a topic after older events were added. */
  count(topic: WantedTopic): void {
    // It may have been removed in the meantime.
    if (this.topics.get(topic.name) === topic) {
      this.budget.use(topic);
    }
  }

  /** Stops receiving events. Nothing waits any more. */
  async close(): Promise<void> {
    clearInterval(this.timer);
    for (const { adding } of this.topics.values()) {
      adding?.resolve();
    }
    await this.tail?.stop();
  }

  clear(): void {
    for (const topic of this.topics.values()) {
      topic.window?.clear();
    }
    this.topics.clear();
  }

  private add(name: string): WantedTopic {
    const topic = new WantedTopic(name);
    this.topics.set(name, topic);
    if (this.added.push(topic) === 1) {
      atEndOfTurn(() => this.flush());
    }
    this.timer ??= setInterval(() => this.sweep(), SWEEP_MS).unref();
    return topic;
  }

  private flush(): void {
    const { added } = this;
    this.added = [];
    for (let at = 0; at < added.length; at += BATCH) {
      void this.addBatch(added.slice(at, at + BATCH));
    }
  }

  /** Adds topics to the tail. While the store is away, their clients wait. */
  private async addBatch(batch: readonly WantedTopic[]): Promise<void> {
    const { reader } = this;
    const names = batch.map(({ name }) => name);
    let position: BrokerPosition | undefined;
    do {
      position = await reader.retrying(() => this.tryToAdd(batch, names)).catch(() => undefined);
    } while (!position && !reader.closed);
    if (position) {
      this.onAdded(position, batch);
    }
    for (const topic of batch) {
      topic.adding?.resolve();
      topic.adding = undefined;
    }
  }

  private async tryToAdd(batch: readonly WantedTopic[], names: readonly string[]): Promise<BrokerPosition | undefined> {
    for (const topic of batch) {
      // What an attempt before has received may have a gap after it.
      topic.window = undefined;
    }
    return this.tail?.add(names);
  }

  private sweep(): void {
    const end = performance.now() - LINGER_MS;
    const unused: string[] = [];
    for (const [name, topic] of this.topics) {
      topic.window?.evict(this.retention);
      if (topic.isOverBudget) {
        this.budget.use(topic);
      }
      if (topic.users === 0 && topic.idleSince < end && !topic.adding) {
        unused.push(name);
        this.topics.delete(name);
        topic.window?.clear();
        this.budget.release(topic);
      }
    }
    if (unused.length > 0) {
      this.tail?.delete(unused);
    }
    if (this.topics.size === 0) {
      clearInterval(this.timer);
      this.timer = undefined;
    }
  }
}
