import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerTopicListener } from '../broker/broker-topics.js';
import { atMost } from '../util/at-most.js';
import { textOf } from '../util/error-text.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { Connection } from './connection.js';
import type { Driver } from './driver.js';
import type { KnownLog } from './known-log.js';
import { Link } from './link.js';
import { unavailable } from './redis-errors.js';
import { recordIn } from './stream-id.js';
import { deliver, isBehind, type TopicChannel, TopicChannels } from './topic-channels.js';
import { TopicTail, type TopicTailOwner } from './topic-tail.js';

/** How often tails look where their logs end, in milliseconds. */
const ROUND_MS = 800;
/** How long a mark may take, in milliseconds. */
const MARK_MS = 3_000;
/** How many topics a round compares with their newest offsets. */
const COMPARED = 512;
/** The longest wait before a process subscribes to its topics again, in milliseconds, and how many topics make it 1 ms longer. */
const JITTER_MS = 1_000;
const JITTER_TOPICS = 20;

export interface TopicTailsOptions {
  readonly driver: Driver;
  /** A key of this process: the tails connect to the server that has it, and receive marks on the channel with its name. */
  readonly key: string;
  readonly timeout: number;
  /** Runs commands on another connection. Rejects with a `StreamError` if there is none in time, or if Redis refuses a command. */
  readonly use: <T>(commands: (connection: Connection) => Promise<T>) => Promise<T>;
  /** Called when the connection is established, and when it is lost. */
  readonly onChange: () => void;
}

/** Where logs ended at the same time, or later. */
type Positions = ReadonlyMap<KnownLog, BrokerPosition>;

/** A channel, and the offset of the newest record of its topic. */
interface Comparison {
  readonly channel: TopicChannel;
  readonly newest: number;
}

/**
 * Receives the records of topics of all logs of one server, or of one slot of a Cluster, as messages on one connection.
 *
 * It works in rounds. A round subscribes to the topics that were added, asks on the connection for commands where the logs end, and then publishes a mark on a
 * channel of this process. When the mark arrives, all records up to these positions have arrived. If it does not, the connection receives nothing, or is not
 * one to the right server, and another one is made.
 */
export class TopicTails implements TopicTailOwner {
  private readonly tails = new Set<TopicTail>();
  private readonly channels = new TopicChannels((message, name) => this.onMessage(message, name));
  private readonly link: Link;
  /** Messages that came before a new connection is ready. `undefined` if it is ready. */
  private held: [TopicChannel, BrokerRecord][] | undefined;
  private mark: { readonly text: string; readonly arrived: Deferred<void> } | undefined;
  private marks = 0;
  private round: Promise<Positions> | undefined;
  /** A round that begins after the present one. */
  private nextRound: Promise<Positions> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private unsubscribing: NodeJS.Immediate | undefined;

  constructor(private readonly options: TopicTailsOptions) {
    this.link = new Link({
      ...options,
      prepare: (connection) => this.prepare(connection),
      onChange: (connection) => this.onChange(connection),
    });
  }

  get connected(): boolean {
    return this.tails.size === 0 || this.link.connection !== undefined;
  }

  /** Begins to receive topics of a log, of none at first. */
  async tail(log: KnownLog, listener: BrokerTopicListener): Promise<TopicTail> {
    await this.ready();
    const position = await this.options.use((connection) => log.adopt(connection));
    const tail = new TopicTail(log, position, listener, this);
    this.tails.add(tail);
    this.schedule();
    return tail;
  }

  async add(tail: TopicTail, topics: readonly string[]): Promise<BrokerPosition> {
    for (const topic of topics) {
      this.channels.add(tail, topic);
    }
    // If the connection is lost in the meantime, there may be another one.
    const positions = await this.next().catch(() => this.next());
    const position = positions.get(tail.log);
    if (!position) {
      throw this.error(new Error('the tail has ended'));
    }
    return position;
  }

  delete(tail: TopicTail, topics: Iterable<string>): void {
    for (const topic of topics) {
      this.channels.delete(tail, topic);
    }
    this.unsubscribing ??= setImmediate(() => {
      this.unsubscribing = undefined;
      const { connection } = this.link;
      if (connection?.usable) {
        this.channels.unsubscribe(connection);
      }
    });
  }

  remove(tail: TopicTail): void {
    this.delete(tail, tail.topics);
    this.tails.delete(tail);
    if (![...this.tails].some(({ log }) => log === tail.log)) {
      this.noteReached(tail.log, undefined);
    }
  }

  /** Called with the position at which a log was found. */
  announce(log: KnownLog, position: BrokerPosition): void {
    for (const tail of this.tails) {
      if (tail.log === log) {
        tail.announce(position);
      }
    }
  }

  /** Called when commands are sent on another connection: another server may have the logs. */
  onCommands(): void {
    if (this.tails.size > 0) {
      this.next().catch(() => undefined);
    }
  }

  close(): void {
    clearTimeout(this.timer);
    clearImmediate(this.unsubscribing);
    for (const tail of this.tails) {
      tail.stop();
    }
    clearImmediate(this.unsubscribing);
    this.link.close();
  }

  /** Subscribes to everything on a new connection. What its tails may have missed, they read. */
  private async prepare(connection: Connection): Promise<void> {
    this.held = [];
    this.channels.reset();
    // Shows that the server is the right one.
    await Promise.all([...this.logs()].map((log) => log.adopt(connection)));
    await connection.subscribe([this.options.key], (text) => this.onMark(text));
    await sleep(Math.random() * Math.min(JITTER_MS, Math.floor(this.channels.size / JITTER_TOPICS)));
    await this.channels.subscribe(connection);
    const positions = await this.positions([]);
    const { held } = this;
    this.held = undefined;
    for (const tail of this.tails) {
      const position = positions.get(tail.log);
      if (position) {
        tail.missed(position);
      }
    }
    for (const [channel, record] of held) {
      deliver(channel, record);
    }
  }

  private onChange(connection: Connection | undefined): void {
    if (!connection) {
      this.mark?.arrived.reject(new Error('the connection was closed'));
    }
    this.options.onChange();
  }

  private onMessage(message: string, name: string): void {
    const channel = this.channels.get(name);
    const record = channel && recordIn(message, channel.topic);
    if (!record) {
      return;
    }
    if (this.held) {
      this.held.push([channel, record]);
    } else {
      deliver(channel, record);
    }
  }

  private onMark(text: string): void {
    if (this.mark?.text === text) {
      this.mark.arrived.resolve();
    }
  }

  private readonly probe = (): void => {
    this.timer = undefined;
    const again = (): void => this.schedule();
    this.next().then(again, again);
  };

  private schedule(): void {
    if (this.tails.size > 0) {
      this.timer ??= setTimeout(this.probe, ROUND_MS);
    }
  }

  /** Returns the round that begins next. All calls of one turn of the event loop, and those during the present round, share it. */
  private next(): Promise<Positions> {
    this.nextRound ??= this.runNext();
    return this.nextRound;
  }

  private async runNext(): Promise<Positions> {
    await this.round?.catch(() => undefined);
    this.round = this.nextRound;
    this.nextRound = undefined;
    return this.run();
  }

  private async run(): Promise<Positions> {
    const connection = await this.ready();
    try {
      await this.channels.subscribe(connection);
      const comparisons: Comparison[] = [];
      const positions = await this.positions(comparisons);
      await this.awaitMark(connection);
      this.compare(connection, comparisons, positions);
      for (const tail of this.tails) {
        const position = positions.get(tail.log);
        if (position) {
          this.noteReached(tail.log, position);
          tail.reached(position);
        }
      }
      return positions;
    } catch (error) {
      throw this.error(error);
    }
  }

  /** Asks where the logs end. Before that, asks for the newest records of some topics, and adds them to `comparisons`. */
  private positions(comparisons: Comparison[]): Promise<Positions> {
    return this.options.use(async (commands) => {
      const found = [...this.logs()].map(async (log) => {
        const channels = this.channels.next(log, COMPARED);
        const [offsets, position] = await Promise.all([newestOffsets(commands, log, channels), log.adopt(commands)]);
        if (offsets.epoch === position.epoch) {
          channels.forEach((channel, at) => void comparisons.push({ channel, newest: offsets.newest[at] ?? 0 }));
        }
        return [log, position] as const;
      });
      return new Map(await Promise.all(found));
    });
  }

  /** Publishes a mark, and waits until it arrives. */
  private async awaitMark(connection: Connection): Promise<void> {
    const { key, timeout, use } = this.options;
    const arrived = deferred<void>();
    arrived.promise.catch(() => undefined);
    const text = `${++this.marks}`;
    this.mark = { text, arrived };
    const receivers = await use((commands) => commands.request(['SPUBLISH', key, text]));
    const inTime = receivers !== 0 && (await atMost(Math.min(timeout, MARK_MS), arrived.promise));
    if (!inTime || !connection.usable) {
      const reason = 'it receives no messages';
      connection.lose(reason);
      throw new Error(reason);
    }
  }

  private compare(connection: Connection, comparisons: readonly Comparison[], positions: Positions): void {
    for (const { channel, newest } of comparisons) {
      const position = positions.get(channel.log);
      if (position && isBehind(channel, newest, position)) {
        const reason = 'it has not received a message';
        connection.lose(reason);
        throw new Error(reason);
      }
    }
  }

  private logs(): Set<KnownLog> {
    return new Set([...this.tails].map(({ log }) => log));
  }

  /** The tails of the whole log say what it has received, if it is also kept as a whole. */
  private noteReached(log: KnownLog, position: BrokerPosition | undefined): void {
    if (log.retention.all === false) {
      log.reached(position);
    }
  }

  /** Resolves to a connection; rejects if there is none within the time limit. */
  private async ready(): Promise<Connection> {
    const { timeout } = this.options;
    const ready = this.link.ready();
    if (await atMost(timeout, ready)) {
      return ready;
    }
    throw this.link.failure ?? this.error(new Error(`it did not answer within ${timeout} ms`));
  }

  private error(reason: unknown): Error {
    const isOwn = reason instanceof Error && 'code' in reason && reason.code === 'broker-unavailable';
    return isOwn ? reason : unavailable(this.options.driver.server, new Error(textOf(reason)));
  }
}

/** Returns the offset of the newest record of each topic, and the epoch that they are of. The epoch is empty if the index is not of the epoch that is known. */
async function newestOffsets(
  commands: Connection,
  log: KnownLog,
  channels: readonly TopicChannel[],
): Promise<{ readonly epoch: string; readonly newest: readonly number[] }> {
  const { epoch } = log;
  if (channels.length === 0) {
    return { epoch, newest: [] };
  }
  const topics = channels.map(({ topic }) => topic);
  const answer = await commands.request(['ZMSCORE', log.keys.index, `\n${epoch}`, ...topics]);
  const [marker, ...newest] = (answer as (string | null)[]).map((score) =>
    score === null ? undefined : Number(score),
  );
  return { epoch: marker === undefined ? '' : epoch, newest: newest.map((score) => score ?? 0) };
}
