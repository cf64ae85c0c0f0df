import { Deadline } from '../util/deadline.js';
import type { Command } from './connection.js';
import { busy } from './redis-errors.js';

/** How many entries may wait for Redis, and how many bytes of data they may have. */
export interface PendingLimits {
  readonly entries: number;
  readonly bytes: number;
}

/** Handles what becomes of a payload that was sent to Redis. */
export interface AppendOwner<P, R> {
  onAnswer(append: Append<P, R>, answer: unknown): void;
  onError(append: Append<P, R>, message: string): void;
  /** The payload was not appended, and can be sent again. */
  onRefused(append: Append<P, R>): void;
  onLost(append: Append<P, R>, message: string): void;
  /** The payload has waited for too long. */
  onExpired(append: Append<P, R>): void;
}

/** What waits for Redis. */
interface Waiting {
  readonly settled: boolean;
  readonly time: number;
  /** The number of its entries, and of the bytes of their data. */
  readonly entries: number;
  readonly bytes: number;
  /** Called when it has waited for too long. */
  expire(): void;
}

/** One call that appends a payload, an entry or several, until its promise settles. */
export class Append<P, R> implements Command, Waiting {
  /** Whether it was sent, and not answered yet. */
  sent = false;
  settled = false;
  /** How many times the log was lost before the entry was appended. */
  losses = 0;
  readonly time = performance.now();

  constructor(
    private readonly owner: AppendOwner<P, R>,
    private readonly pending: PendingAppends,
    readonly payload: P,
    readonly entries: number,
    readonly bytes: number,
    private readonly onDone: (result: R) => void,
    private readonly onFailed: (error: Error) => void,
  ) {}

  resolve(result: R): void {
    this.settle();
    this.onDone(result);
  }

  reject(error: Error): void {
    this.settle();
    this.onFailed(error);
  }

  expire(): void {
    this.owner.onExpired(this);
  }

  onAnswer(answer: unknown): void {
    this.owner.onAnswer(this, answer);
  }

  onError(message: string): void {
    this.owner.onError(this, message);
  }

  onElsewhere(): void {
    this.owner.onRefused(this);
  }

  onLost(message: string): void {
    this.owner.onLost(this, message);
  }

  private settle(): void {
    if (!this.settled) {
      this.settled = true;
      this.pending.remove(this);
    }
  }
}

/** Limits the number, the size and the age of the entries that wait for Redis, over all logs of a broker. */
export class PendingAppends {
  /** In the order of their times. Contains settled ones, too. */
  private readonly appends: Waiting[] = [];
  /** The index of the oldest one that may not be settled. */
  private oldest = 0;
  /** One deadline watches the oldest entry. It is not restarted for every entry. */
  private readonly deadline = new Deadline(() => this.onPassed());
  private entries = 0;
  private bytes = 0;

  constructor(
    private readonly limits: PendingLimits,
    private readonly timeout: number,
    private readonly server: string,
  ) {}

  get count(): number {
    return this.entries;
  }

  /** Adds an entry. @throws {StreamError} `broker-busy` if too many wait */
  admit(append: Waiting): void {
    const { entries, bytes } = this.limits;
    if (this.entries >= entries) {
      throw busy(this.server, `${entries} events`);
    }
    if (this.bytes + append.bytes > bytes && this.entries > 0) {
      throw busy(this.server, `${bytes} bytes of events`);
    }
    this.entries += append.entries;
    this.bytes += append.bytes;
    this.appends.push(append);
    this.deadline.start(this.timeout);
  }

  remove({ entries, bytes }: Waiting): void {
    this.entries -= entries;
    this.bytes -= bytes;
    if (this.entries === 0) {
      this.appends.length = 0;
      this.oldest = 0;
    } else if (this.oldest > 1_000) {
      this.appends.splice(0, this.oldest);
      this.oldest = 0;
    }
    while (this.appends[this.oldest]?.settled) {
      this.oldest++;
    }
  }

  /** Rejects all entries. */
  close(): void {
    this.deadline.clear();
    for (const append of this.appends.slice(this.oldest)) {
      if (!append.settled) {
        append.expire();
      }
    }
  }

  private onPassed(): void {
    const end = performance.now() - this.timeout;
    for (let oldest = this.appends[this.oldest]; oldest && oldest.time <= end; oldest = this.appends[this.oldest]) {
      if (!oldest.settled) {
        oldest.expire();
      }
      if (this.appends[this.oldest] === oldest) {
        this.oldest++;
      }
    }
    const next = this.appends[this.oldest];
    if (next) {
      this.deadline.start(Math.max(1, next.time - end));
    }
  }
}
