import type { BrokerEntry } from '../broker/broker.js';
import type { PendingAppends, WaitingAppend } from '../broker/pending-appends.js';
import { textOf } from '../util/error-text.js';
import type { StreamError } from '../util/errors.js';
import type { Database, Statement } from './database.js';
import type { Row } from './driver.js';
import { isPassing, isRefusal, isRolledBack, unavailable } from './postgres-errors.js';

/** How much one statement may append. */
const MOST_CALLS = 500;
const MOST_BYTES = 4 * 1024 * 1024;
/** The first wait before another attempt, and the longest, in milliseconds. */
const FIRST_WAIT_MS = 20;
const LONGEST_WAIT_MS = 2_000;
/** The part of the time limit in which a statement may wait for the lock of a log. The rest is for its answer. */
const LOCK_PART = 0.75;

/** What is appended by one statement. */
export interface AppendKind<P, R> {
  /** @param waitMs how long the statement may wait for a lock */
  statement(payloads: readonly P[], waitMs: number): Statement;
  /** Returns the result for each payload. */
  results(payloads: readonly P[], rows: readonly Row[]): readonly R[];
  /** Returns the error for a payload that may or may not have been appended. */
  unknown(server: string, reason: string): StreamError;
}

/** One call that waits to be appended, until its promise settles. */
class Append<P, R> implements WaitingAppend {
  /** Whether it was sent, and not answered yet. */
  sent = false;
  settled = false;
  readonly time = performance.now();

  constructor(
    private readonly owner: BatchAppender<P, R>,
    private readonly pending: PendingAppends,
    readonly payload: P,
    readonly entries: number,
    readonly bytes: number,
    private readonly onDone: (result: R) => void,
    private readonly onFailed: (error: Error) => void,
  ) {}

  resolve(result: R): void {
    if (this.settle()) {
      this.onDone(result);
    }
  }

  reject(error: Error): void {
    if (this.settle()) {
      this.onFailed(error);
    }
  }

  expire(): void {
    this.reject(this.owner.errorOfExpired(this.sent));
  }

  private settle(): boolean {
    const first = !this.settled;
    if (first) {
      this.settled = true;
      this.pending.remove(this);
    }
    return first;
  }
}

/**
 * Appends in the order of the calls: all that wait by one statement, and the next ones when it is committed. A call is sent again only if Postgres has said that
 * the transaction of its statement was rolled back.
 */
export class BatchAppender<P, R> {
  private queue: Append<P, R>[] = [];
  private sending = false;
  private timer: NodeJS.Timeout | undefined;
  private failures = 0;
  /** Why the last attempt has failed. */
  private failure: StreamError | undefined;

  constructor(
    private readonly database: Database,
    private readonly pending: PendingAppends,
    private readonly kind: AppendKind<P, R>,
  ) {}

  append(payload: P, entries: readonly BrokerEntry[]): Promise<R> {
    const bytes = entries.reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);
    return new Promise((resolve, reject) => {
      const append = new Append<P, R>(this, this.pending, payload, entries.length, bytes, resolve, reject);
      this.pending.admit(append);
      this.queue.push(append);
      this.flush();
    });
  }

  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  errorOfExpired(sent: boolean): StreamError {
    const { server } = this.database;
    return sent
      ? this.kind.unknown(server, 'it did not answer in time')
      : (this.failure ?? unavailable(server, new Error('it did not answer in time')));
  }

  private flush(): void {
    if (!this.sending && this.timer === undefined && this.queue.length > 0) {
      this.sending = true;
      void this.send();
    }
  }

  private async send(): Promise<void> {
    let batch: readonly Append<P, R>[] = [];
    let wait = 0;
    try {
      const rows = await this.database.execute(() => {
        batch = this.take();
        return batch.length === 0 ? undefined : this.statementOf(batch);
      });
      this.failures = 0;
      this.failure = undefined;
      this.onAnswer(batch, rows);
    } catch (error) {
      wait = this.onError(batch, error);
    }
    this.sending = false;
    if (wait === 0) {
      this.flush();
    } else if (this.queue.length > 0) {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.flush();
      }, wait);
    }
  }

  /** Returns the next calls, which are about to be sent. */
  private take(): readonly Append<P, R>[] {
    this.queue = this.queue.filter(({ settled }) => !settled);
    let bytes = 0;
    let count = 0;
    for (const append of this.queue) {
      bytes += append.bytes;
      if (count === MOST_CALLS || (count > 0 && bytes > MOST_BYTES)) {
        break;
      }
      append.sent = true;
      count++;
    }
    return this.queue.splice(0, count);
  }

  private statementOf(batch: readonly Append<P, R>[]): Statement {
    const waited = performance.now() - (batch[0]?.time ?? 0);
    const wait = Math.max(50, Math.ceil(this.database.timeout * LOCK_PART - waited));
    return this.kind.statement(
      batch.map(({ payload }) => payload),
      wait,
    );
  }

  private onAnswer(batch: readonly Append<P, R>[], rows: readonly Row[]): void {
    if (batch.length > 0) {
      const results = this.kind.results(
        batch.map(({ payload }) => payload),
        rows,
      );
      for (const [index, append] of batch.entries()) {
        append.resolve(results[index] as R);
      }
    }
  }

  /** Returns the time to wait before the next attempt, in milliseconds. */
  private onError(batch: readonly Append<P, R>[], error: unknown): number {
    const { server } = this.database;
    this.failure = unavailable(server, error);
    for (const append of batch) {
      append.sent = false;
    }
    if (batch.length === 0) {
      if (isRefusal(error)) {
        this.rejectAll(this.queue.splice(0), this.failure);
      }
      return this.nextWait();
    }
    if (!isRolledBack(error)) {
      this.rejectAll(batch, this.kind.unknown(server, textOf(error)));
      return 0;
    }
    if (!isPassing(error)) {
      this.rejectAll(batch, this.failure);
      return 0;
    }
    // What has waited for too long would not be answered in time: its error can say now that it was not appended.
    const late = performance.now() - this.database.timeout * LOCK_PART;
    this.rejectAll(
      batch.filter(({ time }) => time <= late),
      this.failure,
    );
    this.queue = [...batch.filter(({ settled }) => !settled), ...this.queue];
    return this.nextWait();
  }

  private rejectAll(appends: readonly Append<P, R>[], error: StreamError): void {
    for (const append of appends) {
      append.reject(error);
    }
  }

  private nextWait(): number {
    const longest = Math.min(FIRST_WAIT_MS * 2 ** this.failures++, LONGEST_WAIT_MS);
    return longest * (0.5 + Math.random() / 2);
  }
}
