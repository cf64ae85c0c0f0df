import { type Step } from '../util/iteration.js';
import { markAllHandled } from '../util/thenable.js';
import { type PullSource } from './source.js';

/** Reads an async generator, or any other async iterable. Its iterator is called directly: a generator around it would double the cost. */
export class AsyncIterableSource implements PullSource {
  readonly kind = 'pull';

  constructor(private readonly iterator: AsyncIterator<unknown>) {}

  pull(): PromiseLike<Step> {
    return this.iterator.next();
  }

  stop(): unknown {
    return this.iterator.return?.();
  }
}

/** Reads a sync generator, an array, or any other iterable. */
export class IterableSource implements PullSource {
  readonly kind = 'pull';

  constructor(private readonly iterator: Iterator<unknown>) {}

  /** Returns a source for a collection. All of its promises exist from the beginning, so that one may reject before it is read. */
  static of(collection: readonly unknown[] | ReadonlySet<unknown>): IterableSource {
    markAllHandled(collection);
    return new IterableSource(collection[Symbol.iterator]());
  }

  pull(): Step {
    return this.iterator.next();
  }

  stop(): unknown {
    return this.iterator.return?.();
  }
}
