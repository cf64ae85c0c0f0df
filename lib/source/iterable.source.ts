import type { PullSource, Step } from './source.js';
import { isThenable } from './thenable.js';

/** An async generator or any other async iterable, pulled directly: a generator around it would double its cost. */
export class AsyncIterableSource implements PullSource {
  readonly kind = 'pull';
  private readonly iterator: AsyncIterator<unknown>;

  constructor(iterable: AsyncIterable<unknown>) {
    this.iterator = iterable[Symbol.asyncIterator]();
  }

  pull(): PromiseLike<Step> {
    return this.iterator.next();
  }

  stop(): unknown {
    return this.iterator.return?.();
  }
}

/** A sync generator, an array or any other iterable. Promises in it are awaited, as `for await` does. */
export class IterableSource implements PullSource {
  readonly kind = 'pull';
  private readonly iterator: Iterator<unknown>;
  private stopped = false;

  constructor(iterable: Iterable<unknown>) {
    this.iterator = iterable[Symbol.iterator]();
  }

  pull(): Step | PromiseLike<Step> {
    const step = this.iterator.next();
    return !step.done && isThenable(step.value)
      ? step.value.then((value) => ({ done: false, value }), this.onRejected)
      : step;
  }

  stop(): unknown {
    if (this.stopped) {
      return undefined;
    }
    this.stopped = true;
    return this.iterator.return?.();
  }

  /** The iterator knows nothing of what became of its promise: it is told to clean up, as `for await` does. */
  private readonly onRejected = (error: unknown): never => {
    this.stop();
    throw error;
  };
}
