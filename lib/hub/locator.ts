import type { BrokerPosition } from '../broker/broker.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { LogReader } from './log-reader.js';

/**
 * How long a tail may take to deliver an event that another process has delivered, before the broker is asked; and before a tail that does not
 * deliver an event of the log counts as stalled. In milliseconds. Tests change them.
 */
export const TAIL_TIMEOUTS = { askMs: 250, stalledMs: 10_000 };
/** The number of epochs that are remembered as over. Ids come from clients, and may name any epoch. */
const MAX_EPOCHS = 100;

/** The part of a history that knows how far it is. */
interface LocatedHistory {
  readonly epoch: string;
  /** Returns whether the log is in the epoch of a position, and the record there was delivered to this process. */
  hasReached(position: BrokerPosition): boolean;
  /** Returns whether the log has left an epoch for another one. */
  hasLeft(epoch: string): boolean;
  /** Continues up to the position at which the log ends. Resolves when this process is there. */
  advance(position: BrokerPosition): Promise<void>;
}

/** A client that waits until this process has reached its position. */
interface Waiting {
  readonly position: BrokerPosition;
  readonly reached: Deferred<void>;
}

/**
 * Finds out whether the log has a position that this process has not reached. Another process may be ahead: it has delivered an event, or
 * has learned of a new epoch, before this process has. After a restart, thousands of clients may name such positions at once. All of them
 * share one question to the broker.
 */
export class Locator {
  private readonly waiting = new Set<Waiting>();
  /** Epochs of ids that the log no longer had when the broker was asked. An epoch never comes back. */
  private readonly over = new Set<string>();
  private asking: Promise<boolean> | undefined;
  /** The last answer. */
  private end: BrokerPosition | undefined;
  /** The number of questions so far. */
  private asked = 0;
  private closed = false;

  constructor(
    private readonly hub: string,
    private readonly history: LocatedHistory,
    private readonly reader: LogReader,
    private readonly warn: (message: string, error?: unknown) => void,
  ) {}

  /** Returns whether the log is known to have left an epoch. */
  isOver(epoch: string): boolean {
    return this.over.has(epoch) || this.history.hasLeft(epoch);
  }

  /** Called when this process has received an event. */
  onDelivered(): void {
    for (const { position, reached } of this.waiting) {
      if (this.isSettled(position)) {
        reached.resolve();
      }
    }
  }

  /** Ends all waiting: no more records are received. */
  close(): void {
    this.closed = true;
    for (const { reached } of this.waiting) {
      reached.resolve();
    }
  }

  /**
   * Waits until this process has reached a position. Returns `false` if the log does not have it, or if the broker cannot be asked.
   * @throws {StreamError} `hub-closed` if the hub closes before this is known
   */
  async reaches(position: BrokerPosition): Promise<boolean> {
    const waiting: Waiting = { position, reached: deferred() };
    this.waiting.add(waiting);
    try {
      await this.settle(waiting, this.asked);
    } finally {
      this.waiting.delete(waiting);
    }
    const found = this.history.hasReached(position);
    if (this.closed && !found) {
      throw new StreamError('hub-closed', `The hub "${this.hub}" is closed: subscribe() again in another process`);
    }
    return found;
  }

  private async settle({ position, reached }: Waiting, asked: number): Promise<void> {
    if (this.closed || this.isSettled(position)) {
      return;
    }
    // The tail is mostly only some milliseconds behind. A new epoch is rare, and is asked for at once.
    if (position.epoch === this.history.epoch && (await atMost(TAIL_TIMEOUTS.askMs, reached.promise))) {
      return;
    }
    await Promise.race([reached.promise, this.askSince(asked, position)]);
    const { end } = this;
    if (!this.isSettled(position) && position.epoch === end?.epoch && position.offset <= end.offset) {
      // The log has the event, so the tail will deliver it. Only if it does not, it is read: from a short history, events would be evicted.
      if (!(await atMost(TAIL_TIMEOUTS.stalledMs, reached.promise))) {
        await this.history.advance(end);
      }
    }
  }

  /** Whether this process has reached a position, or never will. */
  private isSettled(position: BrokerPosition): boolean {
    return this.history.hasReached(position) || this.isOver(position.epoch);
  }

  /** Waits for the answer to a question that was asked after the first `asked` ones, so that the answer is newer than the position. */
  private async askSince(asked: number, position: BrokerPosition): Promise<void> {
    while (!this.isSettled(position)) {
      const isNewer = this.asking === undefined || this.asked > asked;
      if (!this.asking && this.asked > asked) {
        return;
      }
      this.asking ??= this.ask();
      if (!(await this.asking) || isNewer) {
        return;
      }
    }
  }

  /** Asks the broker where the log ends. If it has a new epoch, continues there. Returns `false` if there is no answer. */
  private async ask(): Promise<boolean> {
    this.asked++;
    const { history } = this;
    const before = history.epoch;
    const named = new Set([...this.waiting].map(({ position }) => position.epoch));
    try {
      const end = await this.reader.end();
      // If the log has begun a new epoch in the meantime, the answer may be older than that.
      if (end.epoch !== before && history.epoch === before) {
        await history.advance(end);
      }
      if (history.epoch === end.epoch) {
        this.end = end;
        named.delete(end.epoch);
        this.remember(named);
      }
      return true;
    } catch (error) {
      this.warn(`The hub "${this.hub}" could not ask its broker where the log ends`, error);
      return false;
    } finally {
      this.asking = undefined;
    }
  }

  private remember(epochs: Iterable<string>): void {
    for (const epoch of epochs) {
      this.over.add(epoch);
    }
    for (const oldest of this.over) {
      if (this.over.size <= MAX_EPOCHS) {
        return;
      }
      this.over.delete(oldest);
    }
  }
}
