import type { BrokerPosition } from '../broker/broker.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { LogReader } from './log-reader.js';
import type { StartingClient } from './start.js';

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
  /** The sequence number of the newest event. */
  readonly last: number;
  /** Returns whether the log is in the epoch of a position, and the record there was delivered to this process. */
  hasReached(position: BrokerPosition): boolean;
  /** Returns whether the log has left an epoch for another one. */
  hasLeft(epoch: string): boolean;
  /** Continues up to the position at which the log ends. Resolves when this process is there, or when the broker takes too long. */
  advance(position: BrokerPosition): Promise<void>;
}

/** A question that was not answered. */
interface Failure {
  /** The sequence number of the newest event when the question was asked. */
  readonly last: number;
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
  private asking: Promise<Failure | undefined> | undefined;
  /** The last answer. */
  private end: BrokerPosition | undefined;
  /** The number of questions so far, and the number of the last one that was answered. */
  private asked = 0;
  private answered = 0;
  private closed = false;

  constructor(
    private readonly hub: string,
    private readonly history: LocatedHistory,
    private readonly reader: LogReader,
    private readonly askMs?: number,
  ) {}

  /** Returns whether the log is known to have left an epoch. */
  isOver(epoch: string): boolean {
    return this.over.has(epoch) || this.history.hasLeft(epoch);
  }

  /** Called when this process has received an event. */
  onDelivered(): void {
    for (const { position, reached } of this.waiting) {
      if (this.isKnown(position)) {
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
   * Waits until this process has reached a position. Returns `false` if the log does not have it. While the store of the broker is away, there is no answer,
   * but also no event that the client could miss: it waits. Returns `false` if the broker cannot be asked although this process receives events.
   * @throws {StreamError} `hub-closed` if the hub closes before this is known
   */
  async reaches(position: BrokerPosition, client: StartingClient): Promise<boolean> {
    const waiting: Waiting = { position, reached: deferred() };
    this.waiting.add(waiting);
    try {
      await this.settle(waiting, client);
    } finally {
      this.waiting.delete(waiting);
    }
    const found = this.history.hasReached(position);
    if (this.closed && !found) {
      throw new StreamError('hub-closed', `The hub "${this.hub}" is closed: subscribe() again in another process`);
    }
    return found;
  }

  private async settle({ position, reached }: Waiting, client: StartingClient): Promise<void> {
    // The answer to a question that was asked before may be older than the position.
    const question = this.asked + 1;
    // The tail is mostly only some milliseconds behind. A new epoch is rare, and is asked for at once.
    const isLate = position.epoch === this.history.epoch && !this.isKnown(position);
    const { askMs = TAIL_TIMEOUTS.askMs } = this;
    if (isLate && askMs > 0 && (await atMost(askMs, reached.promise))) {
      return;
    }
    while (!this.isKnown(position) && !client.closed) {
      const end = await Promise.race([reached.promise, this.answerTo(question, position, client)]);
      if (!end || this.isKnown(position) || end.epoch !== position.epoch || end.offset < position.offset) {
        return;
      }
      // The log has the event, so the tail will deliver it. Only if it does not, it is read: from a short history, events would be evicted.
      if (!(await atMost(TAIL_TIMEOUTS.stalledMs, reached.promise))) {
        await this.history.advance(end);
      }
    }
  }

  /** Whether this process has reached a position, or never will. */
  private isKnown(position: BrokerPosition): boolean {
    return this.closed || this.history.hasReached(position) || this.isOver(position.epoch);
  }

  /** Returns the answer to a question, or to a later one; `undefined` if there is none. */
  private async answerTo(
    question: number,
    position: BrokerPosition,
    client: StartingClient,
  ): Promise<BrokerPosition | undefined> {
    const { last } = this.history;
    while (this.answered < question && !this.isKnown(position) && !client.closed) {
      this.asking ??= this.ask();
      const failure = await this.asking;
      if (failure && failure.last > last) {
        return undefined;
      }
    }
    return this.answered < question ? undefined : this.end;
  }

  /** Asks the broker where the log ends. If it has a new epoch, continues there. */
  private async ask(): Promise<Failure | undefined> {
    const question = ++this.asked;
    const { history } = this;
    const { epoch: before, last } = history;
    const named = new Set([...this.waiting].map(({ position }) => position.epoch));
    try {
      const end = await this.reader.end();
      if (history.epoch !== before && history.epoch !== end.epoch) {
        // The log has begun a new epoch in the meantime. The answer may be older than that.
        return undefined;
      }
      if (end.epoch !== history.epoch) {
        await history.advance(end);
      }
      this.answered = question;
      this.end = end;
      if (history.epoch === end.epoch) {
        named.delete(end.epoch);
        this.remember(named);
      }
      return undefined;
    } catch {
      if (this.reader.closed) {
        this.close();
      }
      return { last };
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
