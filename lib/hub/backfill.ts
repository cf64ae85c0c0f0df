import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import { StreamError } from '../util/errors.js';
import { inLaterTurn } from '../util/scheduler.js';
import type { LogReader } from './log-reader.js';
import type { StartingClient } from './start.js';

/** The number of records that are read from the broker at once. */
const PAGE = 512;

/** The part of a history that can grow at its old end. */
interface GrowingHistory {
  readonly name: string;
  readonly epoch: string;
  /** The sequence number of the newest event. */
  readonly last: number;
  /** The sequence number at which the epoch starts. */
  readonly floor: number;
  /** The sequence number of the oldest record in memory; if there is none, that of the next record. */
  readonly oldest: number;
  /** The number of records that may be added. */
  readonly room: number;
  /** Resolves when the records that were missed are read. `undefined` if none were missed. */
  readonly recovering: Promise<void> | undefined;
  offsetAt(number: number): number;
  /** Adds the records that precede the oldest one. */
  prepend(records: readonly BrokerRecord[]): void;
  advance(position: BrokerPosition): Promise<void>;
}

/**
 * Reads the records that were in the log before this process opened it. A hub begins with an empty history. When a client needs an older
 * event, the history is read backwards, page by page, up to that event. All clients share the reads, and each record is read once.
 */
export class Backfill {
  /** Resolves to the sequence number of the newest event when the read began, if it has failed. */
  private loading: Promise<number | undefined> | undefined;
  /** The sequence number of the oldest record that the history has had. If it was evicted, those before it are evicted too. */
  private edge = 0;

  constructor(
    private readonly history: GrowingHistory,
    private readonly reader: LogReader,
  ) {}

  /** Sets the sequence number of the next record, before which nothing is read yet. */
  startAt(number: number): void {
    this.edge = number;
  }

  /** Whether the log has no record for the history that was not read. */
  get complete(): boolean {
    const { floor, oldest, room } = this.history;
    return this.edge <= floor + 1 || oldest > this.edge || room <= 0;
  }

  /**
   * Reads older records until there are enough, or until there are no more. While the broker cannot be read, the client waits. If events arrive that it does
   * not receive for this reason, there are no more records.
   * @throws {StreamError} `hub-closed` if the broker cannot be read while the hub closes
   */
  async load(isEnough: () => boolean, client: StartingClient): Promise<void> {
    const { last } = this.history;
    while (!this.complete && !client.closed && !isEnough()) {
      this.loading ??= this.loadPage();
      const failed = await this.loading;
      if (failed !== undefined && failed > last) {
        return;
      }
    }
  }

  private async loadPage(): Promise<number | undefined> {
    const { history, reader } = this;
    const { last } = history;
    try {
      await this.readBackwards();
      // Lets others take their turn before the next page.
      await new Promise<void>(inLaterTurn);
      return undefined;
    } catch {
      if (reader.closed) {
        throw new StreamError(
          'hub-closed',
          `The hub "${history.name}" is closed: subscribe() again in another process`,
        );
      }
      return last;
    } finally {
      this.loading = undefined;
    }
  }

  private async readBackwards(): Promise<void> {
    const { history } = this;
    const { epoch, oldest } = history;
    const end = history.offsetAt(oldest) - 1;
    const start = Math.max(0, end - Math.min(PAGE, history.room));
    const records = await this.readRange(start, end);
    if (!records || history.epoch !== epoch || history.oldest !== oldest) {
      // The log was replaced, or the oldest record was evicted, and with it all before.
      return;
    }
    history.prepend(records);
    this.edge = records.length === end - start ? oldest - records.length : 0;
  }

  /**
   * Returns the records after an offset and up to another one. If some are evicted, returns those after them. If the log is being replaced, returns
   * `undefined`.
   */
  private async readRange(start: number, end: number): Promise<readonly BrokerRecord[] | undefined> {
    const { epoch } = this.history;
    let records: BrokerRecord[] = [];
    for (let at = start; at < end; ) {
      const before = at;
      const page = await this.reader.read(at, end - at);
      const last = page.at(-1);
      if (last && last.epoch !== epoch) {
        // The log was lost, and begins anew.
        await this.history.advance({ epoch: last.epoch, offset: last.offset });
        return this.history.recovering ? undefined : [];
      }
      for (const record of page) {
        if (record.epoch === epoch && record.offset > at && record.offset <= end) {
          records = record.offset === at + 1 ? records : [];
          records.push(record);
          at = record.offset;
        }
      }
      if (at === before || at !== last?.offset) {
        break;
      }
    }
    return records.at(-1)?.offset === end ? records : [];
  }
}
