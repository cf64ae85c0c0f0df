import type { BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { PendingAppends } from '../broker/pending-appends.js';
import { BatchAppender } from './batch-appender.js';
import type { Database } from './database.js';
import type { Doorbell } from './doorbell.js';
import type { Row, Value } from './driver.js';
import { inSchema } from './migrations.js';
import type { PostgresBrokerSettings } from './postgres-broker.options.js';
import { readLog } from './read-log.js';
import { storedText } from './rows.js';
import { type RunWrite, runAppend } from './run-append.js';
import type { TailReader } from './tail-reader.js';

const EXPIRE = `UPDATE "ns".log SET expires = clock_timestamp() + $2 * interval '1 millisecond'
WHERE name = $1 AND expires > clock_timestamp() RETURNING 1`;
const DROP = 'SELECT "ns".ns_drop($1, $2)';
/** Postgres refuses a time that it cannot add to the present one. */
const LONGEST_MS = 2 ** 52;

/** The logs of runs. This process keeps nothing of them but their tails. */
export class RunLogs {
  /** Whether there was a call. */
  used = false;
  private readonly appender: BatchAppender<RunWrite, BrokerPosition | false>;

  constructor(
    private readonly database: Database,
    private readonly settings: PostgresBrokerSettings,
    pending: PendingAppends,
    doorbell: Doorbell,
    private readonly reader: TailReader,
  ) {
    const kind = runAppend(settings.schema, (stored, epoch) => {
      reader.saw(stored, epoch);
      doorbell.ring(stored);
      reader.wake(stored);
    });
    this.appender = new BatchAppender(database, pending, kind);
  }

  /** Creates a log, or appends to it. */
  write(
    log: string,
    entries: readonly BrokerEntry[],
    { creates, after, ms }: { creates: boolean; after: BrokerPosition | undefined; ms: number | undefined },
  ): Promise<BrokerPosition | false> {
    const wholeMs = ms === undefined ? undefined : whole(ms);
    return this.appender.append({ stored: storedText(log), entries, after, creates, ms: wholeMs }, entries);
  }

  async expire(log: string, ms: number): Promise<boolean> {
    const { schema } = this.settings;
    return (await this.database.query(inSchema(EXPIRE, schema), [storedText(log), whole(ms)])).length > 0;
  }

  async drop(log: string): Promise<void> {
    const { schema, timeout } = this.settings;
    await this.database.query(inSchema(DROP, schema), [storedText(log), Math.ceil(timeout / 2)]);
  }

  async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const { schema } = this.settings;
    const stored = storedText(log);
    const query = (text: string, values: readonly Value[]): Promise<readonly Row[]> =>
      this.database.query(text, values);
    const records = await readLog(query, schema, stored, after, count);
    const [first] = records;
    if (first) {
      this.reader.saw(stored, first.epoch);
    }
    return records;
  }

  close(): void {
    this.appender.close();
  }
}

function whole(ms: number): number {
  return Math.ceil(Math.min(ms, LONGEST_MS));
}
