import { finished, type Readable } from 'node:stream';
import { DONE, type Step } from '../util/iteration.js';
import { type PullSource } from './source.js';

/** Reads a Node.js `Readable` with `read()`. Its async iterator would cost five times as much. */
export class ReadableSource implements PullSource {
  readonly kind = 'pull';
  private outcome: { readonly error?: unknown } | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly readable: Readable) {
    readable.on('readable', () => this.wake?.());
    finished(readable, { writable: false }, (error) => {
      this.outcome = error ? { error } : {};
      this.wake?.();
    });
  }

  pull(): Step | PromiseLike<Step> {
    const value: unknown = this.readable.destroyed ? null : this.readable.read();
    if (value !== null) {
      return { done: false, value };
    }
    return this.outcome ? this.end(this.outcome) : this.wait();
  }

  stop(): void {
    this.wake = undefined;
    this.readable.destroy();
  }

  private end({ error }: { readonly error?: unknown }): Step {
    if (error !== undefined) {
      throw error;
    }
    return DONE;
  }

  private wait(): PromiseLike<Step> {
    return new Promise<void>((resolve) => {
      this.wake = resolve;
    }).then(() => {
      this.wake = undefined;
      return this.pull();
    });
  }
}
