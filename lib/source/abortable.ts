import { textOf } from '../util/error-text.js';
import { demandStep } from '../util/iteration.js';

function aborted(signal: AbortSignal): { readonly promise: Promise<never>; release(): void } {
  let onAbort = (): void => undefined;
  const promise = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    if (signal.aborted) {
      onAbort();
    } else {
      signal.addEventListener('abort', onAbort, { once: true });
    }
  });
  return { promise, release: () => signal.removeEventListener('abort', onAbort) };
}

function raced<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T> {
  const abort = aborted(signal);
  return Promise.race([promise, abort.promise]).finally(() => abort.release());
}

/** Calls `return()` of an iterator. Its errors are ignored, because nothing waits for them any more. */
async function leave(iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch (error) {
    process.emitWarning(`What abortable() left could not clean up: ${textOf(error)}`);
  }
}

async function* wakeable<T>(iterable: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  signal.throwIfAborted();
  const iterator = iterable[Symbol.asyncIterator]();
  let ended = false;
  try {
    for (;;) {
      const step = await raced(iterator.next(), signal);
      demandStep(step);
      if (step.done) {
        ended = true;
        return;
      }
      yield step.value;
    }
  } catch (error) {
    // What threw by itself has ended; what was left by the signal has not.
    ended = !signal.aborted;
    throw error;
  } finally {
    if (!ended) {
      // Not awaited: a producer stuck in an await answers only when it wakes.
      void leave(iterator);
    }
  }
}

/**
 * Wakes a producer that waits for something which knows nothing of signals: the wait ends with the
 * signal's reason as soon as the signal is aborted, so that `finally` blocks run at once.
 *
 * The work behind a promise continues, but is no longer waited for. Of an async iterable, `return()` is called.
 *
 * @throws the `reason` of the signal, which for {@link StreamSignal} is a {@link StreamError} with the
 * close code of the stream
 *
 * @example
 * ```ts
 * async *tokens(@StreamSignal() signal: AbortSignal) {
 *   const session = await abortable(openSession(), signal);
 *   for await (const token of abortable(session.tokens(), signal)) yield token;
 * }
 * ```
 */
export function abortable<T>(iterable: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void, undefined>;
export function abortable<T>(promise: PromiseLike<T>, signal: AbortSignal): Promise<T>;
export function abortable<T>(
  work: AsyncIterable<T> | PromiseLike<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> | Promise<T> {
  return Symbol.asyncIterator in work ? wakeable(work, signal) : raced(work, signal);
}
