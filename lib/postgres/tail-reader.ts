import { createHash } from 'node:crypto';
import type { BrokerRecord } from '../broker/broker.js';
import { countAfter } from '../broker/page-size.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { Driver, Row } from './driver.js';
import { ListenLink } from './listen-link.js';
import type { LogPart, LogTail } from './log-tail.js';
import { inSchema } from './migrations.js';
import { isRefusal, unavailable } from './postgres-errors.js';
import { COLUMNS, recordOf } from './rows.js';

/** How many logs one statement reads, and how many records of one log the first one reads. */
const LOGS = 64;
const FIRST_COUNT = 64;
/** How many logs of runs are looked at without a notification, each time. */
const POLLED_RUNS = 256;

/**
 * Reads the records that follow positions of logs. It returns no row for a log that ends at its position, and no record for a log without a position. About a
 * megabyte of each log is read.
 */
const READ = `SELECT t.n, l.epoch, l.last, l.trimmed, ${COLUMNS}
FROM unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS t(name, epoch, pos, n)
JOIN "ns".log l ON l.name = t.name AND (l.expires IS NULL OR l.expires > now())
LEFT JOIN LATERAL (
  SELECT p.*, sum(pg_column_size(p.data)) OVER (ORDER BY p.pos) - pg_column_size(p.data) AS size_before FROM (
    SELECT * FROM "ns".record a
    WHERE t.epoch IS NOT NULL AND a.life = l.life AND a.pos > CASE WHEN l.epoch = t.epoch THEN t.pos ELSE 0 END
    ORDER BY a.pos LIMIT $4
  ) p
) r ON r.size_before < 1048576
WHERE t.epoch IS NULL OR l.epoch <> t.epoch OR l.last <> t.pos
ORDER BY t.n, r.pos`;

export interface TailReaderOptions {
  readonly driver: Driver;
  readonly schema: string;
  readonly timeout: number;
  /** How often all logs are read without a notification, in milliseconds. */
  readonly poll: number;
  /** Looks for logs that have begun a new epoch. */
  readonly check: () => Promise<void>;
}

/** Tails, and the calls that wait until they are read. */
type Batch = readonly (readonly [LogTail, Deferred<void> | undefined])[];

/** Returns the text that stands for a log in a notification. */
export function tokenOf(stored: string): string {
  return createHash('sha256').update(stored).digest('hex').slice(0, 12);
}

/** Reads the new records of all logs on one connection: when a notification has come, and from time to time. */
export class TailReader {
  private readonly tails = new Map<string, LogTail>();
  private readonly byToken = new Map<string, LogTail>();
  /** The tails that have to be read, and the calls that wait for it. */
  private readonly due = new Map<LogTail, Deferred<void> | undefined>();
  private readonly link: ListenLink;
  private readonly text: string;
  private reading = false;
  private count = FIRST_COUNT;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly options: TailReaderOptions) {
    const { driver, timeout, schema, check } = options;
    this.text = inSchema(READ, schema);
    this.link = new ListenLink({
      driver,
      timeout,
      channel: schema,
      prepare: check,
      onConnected: () => this.ring(''),
      onFailed: (error) => this.onFailed(error),
      onNotification: (tokens) => this.ring(tokens),
    });
  }

  get connected(): boolean {
    return this.tails.size === 0 || this.link.connected;
  }

  /** Since when it is connected, or not, in milliseconds since 1970. */
  get since(): number {
    return this.link.since;
  }

  /** How long a record is known that was not delivered, in milliseconds. */
  get behindMs(): number {
    const oldest = Math.min(...[...this.tails.values()].map(({ behindSince }) => behindSince));
    return oldest === Number.POSITIVE_INFINITY ? 0 : performance.now() - oldest;
  }

  get(stored: string): LogTail | undefined {
    return this.tails.get(stored);
  }

  add(tail: LogTail): void {
    this.tails.set(tail.stored, tail);
    this.byToken.set(tokenOf(tail.stored), tail);
    this.timer ??= setInterval(() => this.poll(), this.options.poll);
    this.link.start();
  }

  remove(tail: LogTail): void {
    if (this.tails.get(tail.stored) === tail) {
      this.tails.delete(tail.stored);
      this.byToken.delete(tokenOf(tail.stored));
      this.due.delete(tail);
    }
  }

  /** Reads a log to the end that it has after this call. Never settles if there is no connection. */
  catchUp(tail: LogTail): Promise<void> {
    const done = this.due.get(tail) ?? deferred();
    this.due.set(tail, done);
    this.read();
    return done.promise;
  }

  /** Reads a log that has new records. */
  wake(stored: string): void {
    this.markBehind(this.tails.get(stored));
    this.read();
  }

  /** Called when another statement has found a log in an epoch. What is being read on the connection of the tails may be older. */
  saw(stored: string, epoch: string): void {
    const tail = this.tails.get(stored);
    if (tail && tail.at.epoch !== epoch) {
      tail.outdated = true;
    }
  }

  close(): void {
    clearInterval(this.timer);
    for (const tail of this.tails.values()) {
      tail.end();
    }
    this.tails.clear();
    this.due.clear();
    this.link.close();
  }

  /** Called with the logs that have new records: their tokens, or an empty text for all. */
  private ring(tokens: string): void {
    if (tokens === '') {
      this.tails.forEach(this.markDue);
    } else {
      for (const token of tokens.split(',')) {
        this.markBehind(this.byToken.get(token));
      }
    }
    this.read();
  }

  private readonly markDue = (tail: LogTail): void => {
    if (!this.due.has(tail)) {
      this.due.set(tail, undefined);
    }
  };

  private markBehind(tail: LogTail | undefined): void {
    if (tail) {
      tail.behindSince = Math.min(tail.behindSince, performance.now());
      this.markDue(tail);
    }
  }

  /** Looks at the logs of hubs, and at some of the logs of runs: there may be thousands. */
  private poll(): void {
    let runs = 0;
    for (const [stored, tail] of [...this.tails]) {
      if (!tail.isRun) {
        this.markDue(tail);
      } else if (runs < POLLED_RUNS) {
        runs++;
        this.markDue(tail);
        // The next call looks at others.
        this.tails.delete(stored);
        this.tails.set(stored, tail);
      }
    }
    this.read();
  }

  private onFailed(error: unknown): void {
    if (isRefusal(error)) {
      for (const [tail, done] of this.due) {
        this.due.set(tail, undefined);
        done?.reject(unavailable(this.options.driver.server, error));
      }
    }
  }

  private read(): void {
    if (this.reading || !this.link.connected || this.due.size === 0) {
      return;
    }
    this.reading = true;
    const batch = [...this.due].slice(0, LOGS);
    for (const [tail] of batch) {
      this.due.delete(tail);
      tail.outdated = false;
    }
    this.readBatch(batch)
      // On another connection, all are read again.
      .catch(() => batch.forEach(([tail, done]) => void this.putBack(tail, done)))
      .finally(() => {
        this.reading = false;
        this.read();
      });
  }

  private async readBatch(batch: Batch): Promise<void> {
    const rows = await this.link.query(this.text, [
      batch.map(([{ stored }]) => stored),
      batch.map(([{ position }]) => position?.epoch ?? null),
      batch.map(([{ position }]) => position?.offset ?? 0),
      this.count,
    ]);
    const parts = partsOf(rows);
    let largest: readonly BrokerRecord[] = [];
    for (const [index, [tail, done]] of batch.entries()) {
      const part = parts.get(index + 1);
      largest = part && part.records.length > largest.length ? part.records : largest;
      this.deliver(tail, done, part);
    }
    this.count = largest.length > 0 ? countAfter(largest) : this.count;
  }

  private deliver(tail: LogTail, done: Deferred<void> | undefined, part: LogPart | undefined): void {
    const { position } = tail;
    if (!tail.isRun && part && position?.epoch === part.end.epoch && part.end.offset < position.offset) {
      // The log has lost its newest records, and begins a new epoch.
      this.options.check().then(
        () => this.putBack(tail, done),
        () => this.putBack(tail, done),
      );
    } else if (tail.outdated || tail.take(part)) {
      this.putBack(tail, done);
    } else {
      done?.resolve();
    }
  }

  /** Reads a tail again, for the calls that wait for it. */
  private putBack(tail: LogTail, done: Deferred<void> | undefined): void {
    if (this.tails.get(tail.stored) === tail) {
      const later = this.due.get(tail);
      this.due.set(tail, done ?? later);
      if (done && later) {
        done.promise.then(later.resolve, later.reject);
      }
      this.read();
    }
  }
}

/** Returns the parts of the logs in rows of {@link READ}, by their numbers. */
function partsOf(rows: readonly Row[]): ReadonlyMap<number, LogPart> {
  const parts = new Map<number, LogPart & { readonly records: BrokerRecord[] }>();
  for (const row of rows) {
    const [n, epoch, last, trimmed, pos] = row;
    const part = parts.get(Number(n)) ?? {
      end: { epoch: String(epoch), offset: Number(last) },
      records: [],
      trimmed: Number(trimmed),
    };
    parts.set(Number(n), part);
    if (pos !== null) {
      part.records.push(recordOf(row, 4, part.end.epoch));
    }
  }
  return parts;
}
