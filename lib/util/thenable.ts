import { StreamError } from '../errors.js';

export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    value !== null &&
    (typeof value === 'object' || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * A promise that somebody awaits later. Until then its rejection does not count as unhandled, which would end the process.
 *
 * The `Promise.resolve()` here and elsewhere costs nothing for a promise of Node.js, and settles once whatever other thenables do.
 */
function awaitedLater<T>(value: PromiseLike<T>): Promise<T> {
  const promise = Promise.resolve(value);
  onRejection(promise, () => undefined);
  return promise;
}

/** Returns a chunk that may have to wait for its turn. Neither its rejection nor that of its `data`, as of an event, is unhandled then. */
export function queued(chunk: unknown): unknown {
  if (isThenable(chunk)) {
    return awaitedLater(chunk);
  }
  if (typeof chunk === 'object' && chunk !== null && Object.hasOwn(chunk, 'data')) {
    onRejection((chunk as { readonly data: unknown }).data, () => undefined);
  }
  return chunk;
}

/** As {@link queued}, for a list of chunks. */
export function allQueued(chunks: Iterable<unknown>): void {
  for (const chunk of chunks) {
    try {
      queued(chunk);
    } catch {
      // What throws when it is asked for then() does so again when it is its turn.
    }
  }
}

/** Passes the error of a promise on that is not awaited, as the chunk that it stands for is not sent. */
export function onRejection(value: unknown, fail: (error: unknown) => void): void {
  if (isThenable(value)) {
    Promise.resolve(value).then(undefined, fail);
  }
}

/** Runs when a wait is over, at once if there is none; what goes wrong is for `fail`. */
export function after(wait: unknown, run: () => void, fail: (error: unknown) => void): void {
  if (isThenable(wait)) {
    Promise.resolve(wait).then(run).then(undefined, fail);
  } else {
    run();
  }
}

/**
 * Returns the answer of a function that has to answer at once: a promise would be true, whatever it resolves to.
 * @throws {StreamError} `invalid-option` for a promise
 */
export function answered<T>(answer: T, what: string): T {
  if (isThenable(answer)) {
    onRejection(answer, () => undefined);
    throw new StreamError('invalid-option', `${what} returned a promise: it has to answer at once`);
  }
  return answer;
}
