import type { Broker, BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { BrokerTopics, TopicRetention } from '../broker/broker-topics.js';
import type { HubReset } from '../event/hub-event.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { FanOut } from './fan-out.js';
import type { HubLog, Lane } from './lane.js';
import { LazyLane } from './lazy-lane.js';
import type { FindStart, Loss, Start, StartRequest } from './start.js';
import { TopicHistory } from './topic-history.js';
import { TopicLoader } from './topic-loader.js';
import { TopicPages } from './topic-pages.js';
import { TopicStarts } from './topic-starts.js';
import { WholeLog } from './whole-log.js';

/** How long clients that have just subscribed may take to start while the hub closes, in milliseconds. */
const STARTS_TIMEOUT_MS = 1_000;

/** The log of a hub of which this process receives the topics that have subscribers here. */
export class TopicLog implements HubLog, Lane {
  readonly fanOut: FanOut;
  private readonly history: TopicHistory;
  private readonly pages: TopicPages;
  private readonly starts: TopicStarts;
  /** The lane of subscribers of all topics, if the hub can have them. */
  private readonly all: LazyLane | undefined;

  /**
   * @param onDelivered called when an event was received
   * @param newest returns the position of the newest event in the log that was published in this process
   */
  constructor(
    readonly name: string,
    private readonly broker: Broker & BrokerTopics,
    retention: TopicRetention,
    readonly warn: (message: string, error?: unknown) => void,
    onDelivered: () => void,
    newest: () => BrokerPosition | undefined,
  ) {
    const onReached = (number: number): void => {
      this.fanOut.advance(number);
      onDelivered();
      this.starts.onDelivered();
    };
    const listener = {
      onEvent: (event: Parameters<FanOut['send']>[0]) => {
        this.fanOut.send(event);
        onReached(event.seq);
      },
      onReached,
      onMissed: (topic: string | undefined, isLost: boolean) => this.onMissed(topic, isLost),
    };
    this.history = new TopicHistory(name, broker, retention, listener, warn);
    this.starts = new TopicStarts(this.history, new TopicLoader(broker, this.history));
    this.pages = new TopicPages(this.history);
    this.fanOut = new FanOut(this.pages);
    if (retention.all) {
      const whole = new WholeLog(name, opened(broker), retention, warn, onDelivered, newest);
      this.all = new LazyLane(whole, () => this.idAt(this.history.end));
    }
  }

  get floor(): number {
    return this.history.floor;
  }

  get figures(): { readonly received: number; readonly kept: number } {
    const { received, interest } = this.history;
    const all = this.all?.opened?.figures;
    return { received: received + (all?.received ?? 0), kept: interest.kept + (all?.kept ?? 0) };
  }

  open(): Promise<void> {
    return this.history.open();
  }

  openToAppend(): Promise<void> {
    return this.history.openToAppend();
  }

  async append(entry: BrokerEntry): Promise<BrokerPosition> {
    if (entry.topic === undefined && !this.all) {
      throw topicRequired(`publish() to the hub "${this.name}"`);
    }
    const position = await this.broker.append(this.name, entry);
    this.history.learn(position);
    return position;
  }

  id(position: BrokerPosition): string {
    return this.history.id(position);
  }

  expects(topic: string | undefined): boolean {
    const wanted = topic === undefined ? undefined : this.history.interest.get(topic);
    return this.all?.opened !== undefined || (wanted !== undefined && wanted.adding === undefined);
  }

  isDelivered(position: BrokerPosition): boolean {
    return this.history.isDelivered(position) && (this.all?.opened?.isDelivered(position) ?? true);
  }

  laneOf(topics: readonly string[] | undefined): Lane {
    if (topics) {
      return this;
    }
    if (!this.all) {
      throw topicRequired(`subscribe() to the hub "${this.name}"`);
    }
    return this.all;
  }

  async finished(): Promise<void> {
    await Promise.all([this.fanOut.finished(), this.all?.fanOut.finished()]);
  }

  stopRetrying(): void {
    this.history.reader.close();
    this.all?.stopRetrying();
  }

  async close(): Promise<void> {
    // A client that has subscribed before receives what was published before, or a position at least.
    await atMost(STARTS_TIMEOUT_MS, this.starts.settled());
    await Promise.all([this.history.close(), this.all?.close()]);
  }

  endStarts(): void {
    this.starts.close();
    this.all?.endStarts();
  }

  clear(): void {
    this.pages.clear();
    this.history.interest.clear();
    this.all?.opened?.clear();
  }

  idAt(number: number): string {
    const { epoch } = this.history;
    return this.history.id({ epoch, offset: this.history.offsetAt(number) });
  }

  /** A client that sent no id reads from its start, which the windows of its topics have. */
  oldestStart(): number {
    return 0;
  }

  requestOf(request: StartRequest): FindStart {
    return this.starts.requestOf(request);
  }

  continueAfter(number: number, each: ReadonlyMap<string, number> | undefined): FindStart {
    return this.starts.continueAfter(number, each);
  }

  reset(
    { reason, topics: lost }: Loss,
    { after, each }: Start,
    topics: readonly string[] = [],
  ): { readonly after: number; readonly data: HubReset } {
    const oldest = this.oldestOf(lost ?? topics, after, each);
    return { after, data: { reason, oldest, ...(lost && { topics: lost }) } };
  }

  enter(topics: readonly string[] = []): void {
    this.history.interest.enter(topics);
  }

  leave(topics: readonly string[] = []): void {
    this.history.interest.leave(topics);
  }

  /** Returns the id of the oldest event of some topics that a client receives. */
  private oldestOf(
    topics: readonly string[],
    after: number,
    each: ReadonlyMap<string, number> | undefined,
  ): string | null {
    let oldest: number | undefined;
    for (const name of topics) {
      const window = this.history.interest.get(name)?.window;
      const number = window?.numberAt(window.indexAfter(Math.max(after, each?.get(name) ?? 0)));
      oldest = number === undefined ? oldest : Math.min(oldest ?? number, number);
    }
    return oldest === undefined ? null : this.idAt(oldest);
  }

  /** Live subscribers find out again where they continue. Those that still read the history notice that it has changed. */
  private onMissed(topic: string | undefined, isLost: boolean): void {
    const { fanOut, history, starts } = this;
    const loss: Loss | undefined = isLost && topic !== undefined ? { reason: 'evicted', topics: [topic] } : undefined;
    for (const member of fanOut.members(topic)) {
      member.restart((reached) => starts.continueAfter(reached, undefined, loss));
    }
    if (topic === undefined) {
      fanOut.startAfter(history.last);
    }
  }
}

/** Returns a broker for a log that is open already. */
function opened(broker: Broker): Broker {
  return {
    open: () => Promise.resolve(),
    append: (log, entry) => broker.append(log, entry),
    tail: (log, listener) => broker.tail(log, listener),
    read: (log, after, count) => broker.read(log, after, count),
    close: () => broker.close(),
  };
}

function topicRequired(what: string): StreamError {
  return new StreamError(
    'topic-required',
    `${what} needs a topic, because the hub has a history for each topic: pass "topic", or register the hub with all: true`,
    { statusCode: 400 },
  );
}
