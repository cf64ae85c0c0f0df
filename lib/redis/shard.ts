import type { BrokerEntry, BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail, TopicPage, TopicRequest } from '../broker/broker-topics.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { Appender, type AppenderOptions } from './appender.js';
import type { Connection } from './connection.js';
import type { Driver } from './driver.js';
import type { KnownLog, LogRetention } from './known-log.js';
import { Link } from './link.js';
import { LogTail, type Tails } from './log-tail.js';
import { checkPermissions } from './permissions.js';
import { PubSubTail } from './pubsub-tail.js';
import { unavailable } from './redis-errors.js';
import { RunLogs } from './run-logs.js';
import { READ } from './scripts.js';
import { recordsOf, type StreamEntries } from './stream-id.js';
import { TailReader } from './tail-reader.js';
import { readTopics } from './topic-read.js';
import { TopicTails } from './topic-tails.js';

/** How often the logs are looked for on a connection that works, in milliseconds: a proxy may hide that another server has taken over. */
const CHECK_MS = 5_000;
/** How long the stream that ends a read of this process exists after its last use, in milliseconds. */
const WAKE_TTL_MS = 60_000;
/** About how many characters the records of one answer have at most. */
const PAGE_CHARACTERS = 1024 * 1024;

export interface ShardOptions extends AppenderOptions {
  readonly driver: Driver;
  readonly timeout: number;
}

/** One log with its parts. */
interface OpenLog {
  readonly log: KnownLog;
  readonly appender: Appender;
  tail: LogTail | undefined;
}

/** All logs of one server, or those of one slot of a Cluster, with one connection to append and one to receive. */
export class Shard {
  private readonly logs = new Map<string, OpenLog>();
  private readonly link: Link;
  private readonly tails: Tails;
  /** Connects when there is a tail. */
  private readonly topicTails: TopicTails;
  /** `undefined` until there is a run. */
  private runLogs: RunLogs | undefined;
  private timer: NodeJS.Timeout | undefined;
  /** The logs that are open, or being opened. */
  private users = 0;
  /** The calls of use() that have not ended. */
  private calls = 0;
  private wasConnected = false;
  private changedAt = Date.now();

  /** @param wakeKey the stream that ends a read of this process. It is in the slot of the shard */
  constructor(
    private readonly options: ShardOptions,
    private readonly wakeKey: string,
  ) {
    const { driver, timeout, publishes } = options;
    this.link = new Link({
      driver,
      key: wakeKey,
      timeout,
      prepare: (connection) => this.prepare(connection),
      onChange: (connection) => this.onChange(connection),
    });
    this.tails = publishes
      ? new PubSubTail({ driver, key: wakeKey, timeout, commands: this.link, onChange: this.noteStatus })
      : new TailReader({ driver, wakeKey, wake: () => this.wake(), onChange: this.noteStatus });
    this.topicTails = new TopicTails({
      driver,
      key: `${wakeKey}:topics`,
      timeout,
      use: (commands) => this.use(commands),
      onChange: this.noteStatus,
    });
  }

  get connected(): boolean {
    const { link, tails, topicTails, runLogs } = this;
    return link.connection !== undefined && tails.connected && topicTails.connected && (runLogs?.connected ?? true);
  }

  /** Since when it is connected, or not, in milliseconds since 1970. */
  get since(): number {
    return this.changedAt;
  }

  get behindMs(): number {
    return Math.max(0, ...[...this.logs.values()].map(({ log }) => log.behindMs));
  }

  /** The logs of runs. From the first call on, the connections are kept. */
  get runs(): RunLogs {
    const { driver, timeout, pending, server } = this.options;
    this.runLogs ??= new RunLogs({
      driver,
      timeout,
      pending,
      server,
      key: this.wakeKey,
      link: this.link,
      use: (commands) => this.use(commands),
      onChange: this.noteStatus,
    });
    this.timer ??= setTimeout(this.check, CHECK_MS);
    return this.runLogs;
  }

  /** Whether a log is open, or being opened, or whether there are runs. */
  get hasLogs(): boolean {
    return this.users > 0 || this.runLogs !== undefined;
  }

  /** Whether the connections are not needed. */
  get idle(): boolean {
    return !this.hasLogs && this.calls === 0;
  }

  /** @throws {StreamError} if Redis cannot be reached in time, or refuses a command */
  async open(log: KnownLog): Promise<void> {
    const appender = new Appender(log, this.options, this.link, (position) => this.onFound(log, position));
    this.users++;
    try {
      const connection = await this.connection();
      await checkPermissions(connection, log, this.options.publishes);
      this.logs.set(log.name, { log, appender, tail: undefined });
      // Not after a wait, as close() may be called in the meantime.
      this.timer ??= setTimeout(this.check, CHECK_MS);
      await log.adopt(connection, true);
      await appender.adopt(connection);
    } catch (error) {
      this.logs.delete(log.name);
      this.users--;
      throw this.errorOf(error);
    }
  }

  /** Opens a log again, with another retention. */
  async reopen(log: KnownLog, retention: LogRetention): Promise<void> {
    try {
      const connection = await this.connection();
      // Not before: a new connection takes over the retention that Redis has.
      log.retention = retention;
      await log.adopt(connection, true);
    } catch (error) {
      throw this.errorOf(error);
    }
  }

  append({ name }: KnownLog, entry: BrokerEntry): Promise<BrokerPosition> {
    const open = this.logs.get(name);
    return open ? open.appender.append(entry) : Promise.reject(new Error(`The log "${name}" is not open`));
  }

  async tail(log: KnownLog, listener: BrokerListener): Promise<BrokerTail> {
    const connection = await this.connection();
    const position = await log.adopt(connection).catch((error: unknown) => Promise.reject(this.errorOf(error)));
    const open = this.logs.get(log.name);
    if (!open) {
      throw this.errorOf(new Error('the broker is closed'));
    }
    const tail = open.tail ?? new LogTail(log, position, () => this.onUnused(open));
    const started = tail.add(listener, position);
    if (!open.tail) {
      open.tail = tail;
      try {
        // If there is no connection in time, the tail starts when there is one.
        await atMost(this.options.timeout, this.tails.add(tail));
      } catch (error) {
        await started.stop();
        throw this.errorOf(error);
      }
    }
    return started;
  }

  async tailTopics(log: KnownLog, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    try {
      return await this.topicTails.tail(log, listener);
    } catch (error) {
      throw this.errorOf(error);
    }
  }

  readTopics(log: KnownLog, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    return this.use((connection) => readTopics(connection, log, requests, count));
  }

  async read({ keys, retention }: KnownLog, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const expired = Number.isFinite(retention.ttl) ? Date.now() - retention.ttl : 0;
    const args = [after, count, retention.limit, expired, PAGE_CHARACTERS].map(String);
    const entries = await this.use((connection) => connection.run(READ, [keys.stream], ...args));
    return recordsOf(entries as StreamEntries);
  }

  /**
   * Runs commands on the connection. No log need be open.
   * @throws {StreamError} if Redis cannot be reached in time, or refuses a command
   */
  async use<T>(commands: (connection: Connection) => Promise<T>): Promise<T> {
    this.calls++;
    try {
      return await commands(await this.connection());
    } catch (error) {
      throw this.errorOf(error);
    } finally {
      this.calls--;
    }
  }

  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.tails.close();
    this.topicTails.close();
    this.runLogs?.close();
    this.link.close();
    this.logs.clear();
  }

  /** Resolves to a connection; rejects if there is none within the time limit. */
  private async connection(): Promise<Connection> {
    const ready = this.link.ready();
    if (await atMost(this.options.timeout, ready)) {
      return ready;
    }
    throw this.link.failure ?? this.errorOf(new Error(`it did not answer within ${this.options.timeout} ms`));
  }

  private async prepare(connection: Connection): Promise<void> {
    const prepared = [...this.logs.values()].map(({ appender }) => appender.adopt(connection));
    await Promise.all([...prepared, this.runLogs?.prepare(connection)]);
  }

  private onChange(connection: Connection | undefined): void {
    this.noteStatus();
    if (connection) {
      for (const { appender } of this.logs.values()) {
        appender.flush();
      }
      // What has ended the connection before has probably ended that of the tails, too.
      this.tails.check();
      this.topicTails.onCommands();
      this.runLogs?.onConnection();
    }
  }

  private readonly noteStatus = (): void => {
    if (this.connected !== this.wasConnected) {
      this.wasConnected = this.connected;
      this.changedAt = Date.now();
    }
  };

  private onFound(log: KnownLog, position: BrokerPosition): void {
    this.logs.get(log.name)?.tail?.announce(position);
    this.topicTails.announce(log, position);
  }

  private onUnused(open: OpenLog): void {
    if (open.tail) {
      this.tails.remove(open.tail);
      open.tail = undefined;
    }
  }

  private readonly check = (): void => {
    this.timer = setTimeout(this.check, CHECK_MS);
    const { connection } = this.link;
    this.runLogs?.check();
    if (connection?.usable) {
      const found = [...this.logs.values()].map(async ({ log }) => this.onFound(log, await log.adopt(connection)));
      // If the connection is lost, the next one finds the logs.
      Promise.all(found).then(
        () => this.tails.check(),
        () => undefined,
      );
    }
  };

  private wake(): void {
    const { connection } = this.link;
    if (connection?.usable) {
      const ended = [
        connection.request(['XADD', this.wakeKey, 'MAXLEN', '1', '*', 'w', '']),
        connection.request(['PEXPIRE', this.wakeKey, `${WAKE_TTL_MS}`]),
      ];
      // Without it, the read ends by itself after a while.
      Promise.all(ended).catch(() => undefined);
    }
  }

  private errorOf(error: unknown): StreamError {
    return error instanceof StreamError ? error : unavailable(this.options.driver.server, error);
  }
}
