import type {
  Broker,
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerStatus,
  BrokerTail,
} from '../broker/broker.js';
import type { BrokerCondition, BrokerRuns } from '../broker/broker-runs.js';
import type {
  BrokerTopicListener,
  BrokerTopics,
  BrokerTopicTail,
  TopicPage,
  TopicRequest,
  TopicRetention,
} from '../broker/broker-topics.js';
import { PendingAppends } from '../broker/pending-appends.js';
import type { BrokerRoster } from '../broker/roster.js';
import { Database, within } from './database.js';
import { Doorbell } from './doorbell.js';
import { driverOf } from './driver.js';
import { HubLogs } from './hub-logs.js';
import { LogTail } from './log-tail.js';
import { type PostgresBrokerOptions, type PostgresBrokerSettings, settingsOf } from './postgres-broker.options.js';
import { unavailable } from './postgres-errors.js';
import { PostgresRoster } from './roster.js';
import { storedText } from './rows.js';
import { RunLogs } from './run-logs.js';
import { prepareSchema } from './schema.js';
import { TailReader } from './tail-reader.js';
import { TopicTail } from './topic-tail.js';
import { Upkeep } from './upkeep.js';

/** How long Postgres remembers `once` of an event, in milliseconds. */
const ONCE_WINDOW_MS = 120_000;

/**
 * Keeps the logs of hubs and runs in Postgres 13 or newer, so that the processes of an application share them. Events can be published within a transaction of the
 * application, by the function `ns_append()`.
 *
 * @example
 * ```ts
 * StreamingModule.forRoot({ broker: new PostgresBroker({ url: 'postgres://localhost/app' }) });
 * ```
 */
export class PostgresBroker implements Broker, BrokerRuns, BrokerTopics {
  /** How long Postgres remembers `once` of an event, in milliseconds: 2 minutes. */
  readonly onceWindow: number = ONCE_WINDOW_MS;
  /** Keeps figures of the processes in Postgres, for `hub.count()` and `StreamRegistry.close()`. */
  readonly roster: BrokerRoster;
  private readonly settings: PostgresBrokerSettings;
  private readonly database: Database;
  private readonly pending: PendingAppends;
  private readonly doorbell: Doorbell;
  private readonly reader: TailReader;
  private readonly hubs: HubLogs;
  private readonly runs: RunLogs;
  private readonly upkeep: Upkeep;
  /** Resolves if the schema exists, and the user may use it. */
  private prepared: Promise<void> | undefined;

  /** @throws a `StreamError` with the code `invalid-option` */
  constructor(options: PostgresBrokerOptions) {
    this.settings = settingsOf(options);
    const { schema, timeout, poll, notify, pending } = this.settings;
    const driver = driverOf({ url: options.url, pool: options.pool, listen: options.listen, timeout });
    this.database = new Database(driver, timeout);
    this.pending = new PendingAppends(pending, timeout, driver.server);
    this.doorbell = new Doorbell(this.database, schema, notify);
    const check = (): Promise<void> => this.hubs.check();
    this.reader = new TailReader({ driver, schema, timeout, poll, check });
    this.hubs = new HubLogs(this.database, this.settings, this.pending, this.doorbell, this.reader);
    this.runs = new RunLogs(this.database, this.settings, this.pending, this.doorbell, this.reader);
    this.upkeep = new Upkeep(this.database, {
      schema,
      names: () => this.hubs.names,
      check,
      hasRuns: () => this.runs.used,
    });
    this.roster = new PostgresRoster(async (text, values) => {
      await this.ready();
      return this.database.query(text, values);
    }, schema);
  }

  /**
   * Opens the log of a hub. The newest call decides how many records are kept.
   * @throws a `StreamError` with the code `broker-unavailable` if Postgres cannot be reached within `timeout`, refuses the user, lacks a privilege, or is too old
   */
  async open(log: string, retention: BrokerRetention): Promise<void> {
    await this.ready();
    await this.hubs.open(log, retention, false);
    this.upkeep.start();
  }

  append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.hubs.append(log, entry);
  }

  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const isRun = this.hubs.get(log) === undefined;
    if (isRun) {
      await this.readyForRuns();
    }
    return this.caughtUp(log, isRun, (tail) => tail.add(listener));
  }

  async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const hub = this.hubs.get(log);
    if (hub) {
      return this.hubs.read(hub, after, count);
    }
    await this.readyForRuns();
    return this.runs.read(log, after, count);
  }

  /**
   * Opens the log of a hub that has a history for each topic.
   * @throws a `StreamError` as `open()` does
   */
  async openTopics(log: string, retention: TopicRetention): Promise<void> {
    await this.ready();
    await this.hubs.open(log, retention, true);
    this.upkeep.start();
  }

  tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    return this.caughtUp(log, false, (tail) => new TopicTail(tail, listener, () => this.catchUp(tail)));
  }

  readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    return this.hubs.readTopics(log, requests, count);
  }

  /** Creates the log of a run. Nothing is checked at start-up: if Postgres cannot be reached, or the user lacks a privilege, the first call rejects. */
  async create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    { after }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    await this.readyForRuns();
    return this.runs.write(log, entries, { creates: true, after, ms });
  }

  async appendAll(
    log: string,
    entries: readonly BrokerEntry[],
    { after, expire: ms }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    await this.readyForRuns();
    return this.runs.write(log, entries, { creates: false, after, ms });
  }

  async expire(log: string, ms: number): Promise<boolean> {
    await this.readyForRuns();
    return this.runs.expire(log, ms);
  }

  async drop(log: string): Promise<void> {
    await this.readyForRuns();
    await this.runs.drop(log);
  }

  /** Closes all connections at once. What waits to be appended is rejected. */
  close(): Promise<void> {
    this.upkeep.close();
    this.doorbell.close();
    this.reader.close();
    this.hubs.close();
    this.runs.close();
    this.pending.close();
    this.database.close();
    return Promise.resolve();
  }

  status(): BrokerStatus {
    const { database, reader } = this;
    const connected = database.connected && reader.connected;
    return { connected, since: Math.max(database.since, reader.since), behindMs: reader.behindMs };
  }

  /** Calls a function with the tail of a log, once it has received the log up to the end that it had at the time of the call. */
  private caughtUp<T>(log: string, isRun: boolean, begin: (tail: LogTail) => T): Promise<T> {
    const stored = storedText(log);
    const tail = this.reader.get(stored) ?? this.newTail(stored, isRun);
    return tail.during(this.catchUp(tail), () => begin(tail));
  }

  private catchUp(tail: LogTail): Promise<void> {
    const { timeout } = this.settings;
    const late = (): Error => unavailable(this.database.server, new Error(`it did not answer within ${timeout} ms`));
    return within(timeout, this.reader.catchUp(tail), late);
  }

  private newTail(stored: string, isRun: boolean): LogTail {
    const tail = new LogTail(stored, isRun, () => this.reader.remove(tail));
    this.reader.add(tail);
    return tail;
  }

  /** Always waits, so that calls keep their order. */
  private async readyForRuns(): Promise<void> {
    this.runs.used = true;
    await this.ready();
    this.upkeep.start();
  }

  /** Creates the schema, or checks it, before the first statement. */
  private async ready(): Promise<void> {
    this.prepared ??= prepareSchema(this.database, this.settings.schema);
    const { prepared } = this;
    try {
      await prepared;
    } catch (error) {
      // The next call checks again.
      this.prepared = this.prepared === prepared ? undefined : this.prepared;
      throw error;
    }
  }
}
