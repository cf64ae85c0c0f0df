import type { BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import { unusable } from '../broker/broker-errors.js';
import type { TopicPage, TopicRequest } from '../broker/broker-topics.js';
import type { PendingAppends } from '../broker/pending-appends.js';
import { BatchAppender } from './batch-appender.js';
import type { Database } from './database.js';
import type { Doorbell } from './doorbell.js';
import type { Row, Value } from './driver.js';
import { hubAppend } from './hub-append.js';
import { type KeptRecords, KnownLog } from './known-log.js';
import { inSchema } from './migrations.js';
import type { PostgresBrokerSettings } from './postgres-broker.options.js';
import { readLog } from './read-log.js';
import { readTopics } from './read-topics.js';
import { storedText } from './rows.js';
import type { TailReader } from './tail-reader.js';

const OPEN = 'SELECT epoch, last FROM "ns".ns_open($1, $2, $3, $4, $5, $6, $7, $8, $9)';
const CHECK =
  'SELECT "ns".ns_check($1::text[], $2::bigint[], $3::bigint[], $4::boolean[], $5, $6::text[], $7::bigint[], $8, $9::boolean[])';
/** The part of the time limit in which a statement may wait for the lock of a log. */
const LOCK_PART = 0.75;

interface OpenLog {
  readonly log: KnownLog;
  readonly appender: BatchAppender<BrokerEntry, BrokerPosition>;
}

/** The logs of hubs that are open. */
export class HubLogs {
  private readonly logs = new Map<string, OpenLog>();

  constructor(
    private readonly database: Database,
    private readonly settings: PostgresBrokerSettings,
    private readonly pending: PendingAppends,
    private readonly doorbell: Doorbell,
    private readonly reader: TailReader,
  ) {}

  get size(): number {
    return this.logs.size;
  }

  get(name: string): KnownLog | undefined {
    return this.logs.get(name)?.log;
  }

  /** The stored names. */
  get names(): readonly string[] {
    return [...this.logs.values()].map(({ log }) => log.stored);
  }

  /** Opens a log. The newest call decides how many records are kept. */
  async open(name: string, retention: KeptRecords, topics: boolean): Promise<void> {
    const open = this.logs.get(name);
    const log = open?.log ?? new KnownLog(name, storedText(name), retention, topics);
    log.retention = retention;
    log.topics = topics;
    const { epoch, offset } = log.newest;
    const { schema, trustRestarts, timeout } = this.settings;
    const kept = [log.keep, log.ttl, topics, trustRestarts];
    const [row] = await this.database.query(inSchema(OPEN, schema), [
      log.stored,
      ...kept,
      epoch,
      offset,
      Math.ceil(timeout * LOCK_PART),
      log.all,
    ]);
    log.saw({ epoch: String(row?.[0]), offset: Number(row?.[1]) });
    if (!this.logs.has(name)) {
      this.logs.set(name, { log, appender: this.appenderOf(log) });
    }
  }

  append(name: string, entry: BrokerEntry): Promise<BrokerPosition> {
    const open = this.logs.get(name);
    return open ? open.appender.append(entry, [entry]) : Promise.reject(new Error(`The log "${name}" is not open`));
  }

  read(log: KnownLog, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return readLog((text, values) => this.database.query(text, values), this.settings.schema, log.stored, after, count);
  }

  async readTopics(name: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const { schema } = this.settings;
    const query = (text: string, values: readonly Value[]): Promise<readonly Row[]> =>
      this.database.query(text, values);
    const read = (): Promise<TopicPage | undefined> => readTopics(query, schema, storedText(name), requests, count);
    const page = await read();
    if (page) {
      return page;
    }
    // The log was lost. It begins a new epoch.
    await this.check();
    const again = await read();
    if (!again) {
      throw unusable(`The log "${name}" is not open`);
    }
    return again;
  }

  /** Looks for logs that were lost, or that have lost their newest records: they begin a new epoch. */
  async check(): Promise<void> {
    const logs = [...this.logs.values()].map(({ log }) => log);
    if (logs.length > 0) {
      const { schema, trustRestarts, timeout } = this.settings;
      await this.database.query(inSchema(CHECK, schema), [
        logs.map(({ stored }) => stored),
        logs.map(({ keep }) => keep),
        logs.map(({ ttl }) => ttl),
        logs.map(({ topics }) => topics),
        trustRestarts,
        logs.map(({ newest }) => newest.epoch),
        logs.map(({ newest }) => newest.offset),
        Math.ceil(timeout * LOCK_PART),
        logs.map(({ all }) => all),
      ]);
    }
  }

  close(): void {
    for (const { appender } of this.logs.values()) {
      appender.close();
    }
    this.logs.clear();
  }

  private appenderOf(log: KnownLog): BatchAppender<BrokerEntry, BrokerPosition> {
    const { schema, trustRestarts } = this.settings;
    const onAppended = (): void => {
      this.doorbell.ring(log.stored);
      this.reader.wake(log.stored);
    };
    return new BatchAppender(this.database, this.pending, hubAppend(log, { schema, trustRestarts, onAppended }));
  }
}
