import type { PendingAppends, WaitingAppend } from '../broker/pending-appends.js';
import type { Command } from './connection.js';

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

/** One call that appends a payload, an entry or several, until its promise settles. */
export class Append<P, R> implements Command, WaitingAppend {
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
