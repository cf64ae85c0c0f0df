import { type Step } from '../util/iteration.js';
import { shelterAll } from '../util/thenable.js';
import { type PullSource } from './source.js';

/** An async generator or any other async iterable, pulled directly: a generator around it would double its cost. */
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

/** A sync generator, an array or any other iterable. */
export class IterableSource implements PullSource {
  readonly kind = 'pull';

  constructor(private readonly iterator: Iterator<unknown>) {}

  /** A collection, whose promises are there from the beginning: one may reject before it is its turn. */
  static of(collection: readonly unknown[] | ReadonlySet<unknown>): IterableSource {
    shelterAll(collection);
    return new IterableSource(collection[Symbol.iterator]());
  }

  pull(): Step {
    return this.iterator.next();
  }

  stop(): unknown {
    return this.iterator.return?.();
  }
}
