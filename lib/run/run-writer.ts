import { setTimeout as pause } from 'node:timers/promises';
import type { Broker, BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { StreamError } from '../util/errors.js';
import { PAGE } from './run-log.js';
import { controlIn, figuresIn, figuresKey } from './run-record.js';

/** The first and the longest wait before a broker that could not append is asked again, in milliseconds. */
const RETRY_MS = { first: 50, longest: 1_000 };

/** Errors of a broker after which the same entries may be appended again. */
const TEMPORARY = new Set<unknown>(['broker-unavailable', 'broker-busy', 'publish-unknown']);

/** The log does not belong to this producer any more: another process has ended the run, or the log has disappeared. */
export class FencedError extends Error {
  /** @param over whether the log contains the end of the run */
  constructor(readonly over: boolean) {
    super('The log of the run belongs to another producer, or has disappeared');
  }
}

/** What the appended chunks amount to. */
interface Weight {
  readonly items: number;
  readonly bytes: number;
}

/**
 * Appends the chunks of a run. Each append has the condition that the log ends where this writer has left it, or with records of other processes that are
 * not the end of the run. So no chunk is appended twice, and none after the end.
 */
export class RunWriter {
  /** The number of chunks in the log, and of their bytes. */
  items = 0;
  bytes = 0;
  private appends = 0;

  /**
   * @param position where the log ends
   * @param patience how long to ask a broker again that cannot append, in milliseconds
   */
  constructor(
    private readonly log: string,
    private readonly broker: Broker & BrokerRuns,
    private position: BrokerPosition,
    private readonly patience: number,
  ) {}

  /**
   * Appends entries. Calls must not overlap.
   * @throws {FencedError} if the log belongs to another producer
   * @throws {StreamError} the error of the broker, if it could not append for too long
   */
  async append(entries: readonly BrokerEntry[], { items, bytes }: Weight): Promise<void> {
    const figures = { append: ++this.appends, items: this.items + items, bytes: this.bytes + bytes };
    const marked = entries.map((entry, index) =>
      index === entries.length - 1 ? { ...entry, key: figuresKey(figures) } : entry,
    );
    await this.insist(marked);
    this.items = figures.items;
    this.bytes = figures.bytes;
  }

  private async insist(entries: readonly BrokerEntry[]): Promise<void> {
    const end = performance.now() + this.patience;
    for (let wait = RETRY_MS.first; ; wait = Math.min(2 * wait, RETRY_MS.longest)) {
      try {
        if (await this.attempt(entries)) {
          return;
        }
        wait = RETRY_MS.first;
      } catch (error) {
        if (!(error instanceof StreamError && TEMPORARY.has(error.code)) || performance.now() + wait > end) {
          throw error;
        }
        await pause(wait);
      }
    }
  }

  /** Returns whether the entries are in the log now. If not, records of other processes came before them. */
  private async attempt(entries: readonly BrokerEntry[]): Promise<boolean> {
    const position = await this.broker.appendAll(this.log, entries, { after: this.position });
    if (position) {
      this.position = position;
      return true;
    }
    const records = await this.broker.read(this.log, this.position.offset, PAGE);
    const newest = records.at(-1);
    if (newest?.epoch !== this.position.epoch) {
      throw new FencedError(false);
    }
    this.position = { epoch: newest.epoch, offset: newest.offset };
    // The answer to an earlier attempt may have been lost.
    if (records.some((record) => this.isOwn(record))) {
      return true;
    }
    if (records.some((record) => controlIn(record)?.kind === 'end')) {
      throw new FencedError(true);
    }
    return false;
  }

  private isOwn(record: BrokerRecord): boolean {
    return figuresIn(record)?.append === this.appends;
  }
}
