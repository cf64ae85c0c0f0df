import type { Broker, BrokerEntry, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { PAGE } from './run-log.js';
import { patiently } from './run-patience.js';
import { controlIn, figuresIn, figuresKey } from './run-record.js';

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
   * @param patience how long to call a broker again that cannot append, in milliseconds
   * @param isClosed returns whether the process closes, so that there is no time to wait
   */
  constructor(
    private readonly log: string,
    private readonly broker: Broker & BrokerRuns,
    private position: BrokerPosition,
    private readonly patience: number,
    private readonly isClosed: () => boolean,
  ) {}

  /** The offset up to which this writer knows the log. */
  get reached(): number {
    return this.position.offset;
  }

  /**
   * Appends entries. Calls must not overlap.
   * @param expire the time after which the log expires then, in milliseconds. Default: it stays as it is
   * @throws {FencedError} if the log belongs to another producer
   * @throws {StreamError} the error of the broker, if it could not append for too long
   */
  async append(entries: readonly BrokerEntry[], { items, bytes }: Weight, expire?: number): Promise<void> {
    const figures = { append: ++this.appends, items: this.items + items, bytes: this.bytes + bytes };
    const last = entries.at(-1);
    const marked = last ? [...entries.slice(0, -1), { ...last, key: figuresKey(figures) }] : entries;
    while (!(await patiently(this.patience, this.isClosed, () => this.attempt(marked, expire)))) {
      // Again, after the records of other processes.
    }
    this.items = figures.items;
    this.bytes = figures.bytes;
  }

  /** Returns whether the entries are in the log now. If not, records of other processes came before them. */
  private async attempt(entries: readonly BrokerEntry[], expire: number | undefined): Promise<boolean> {
    const position = await this.broker.appendAll(this.log, entries, { after: this.position, expire });
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
