import { kindOf, textOf } from '../util/error-text.js';
import { short } from './stream-description.js';

/** How many kinds of errors are kept. */
const KEPT = 20;

/** Errors with the same route, class and message, as the page shows them. */
export interface RepeatedError {
  readonly route: string;
  /** The name of the class of the error. */
  readonly name: string;
  readonly message: string;
  readonly count: number;
  /** When it last occurred, in milliseconds since 1970. */
  readonly at: number;
}

/** The errors of streams: each kind once, with its number. When there are too many, the one that has not occurred for the longest time is dropped. */
export class ErrorLog {
  /** By route, name and message. The newest is the last. */
  private readonly kinds = new Map<string, RepeatedError>();

  add(route: string, error: unknown): void {
    const name = short(kindOf(error));
    const message = short(textOf(error));
    const key = `${route}\n${name}\n${message}`;
    const count = (this.kinds.get(key)?.count ?? 0) + 1;
    this.kinds.delete(key);
    this.kinds.set(key, { route, name, message, count, at: Date.now() });
    const [oldest] = this.kinds.keys();
    if (this.kinds.size > KEPT && oldest !== undefined) {
      this.kinds.delete(oldest);
    }
  }

  /** Returns the newest first. */
  newest(): RepeatedError[] {
    return [...this.kinds.values()].reverse();
  }
}
