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

/** Calls `return()` of an iterator. An error is only reported as a warning, since no caller waits for it. */
async function leave(iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch (error) {
    process.emitWarning(`What abortable() left could not clean up: ${textOf(error)}`);
  }
}

async function* abortableIterable<T>(
  iterable: AsyncIterable<T>,
  signal: AbortSignal,
): AsyncGenerator<T, void, undefined> {
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
    // An iterator that threw has ended. An iterator that was left because of the signal has not.
    ended = !signal.aborted;
    throw error;
  } finally {
    if (!ended) {
      // Not awaited: if the producer is stuck in an `await`, return() settles only after that.
      void leave(iterator);
    }
  }
}

/**
 * Makes a promise or an async iterable abortable, even if it does not support signals. As soon as the signal is aborted, waiting for it ends
 * with an error, so that the `finally` blocks of the caller run immediately.
 *
 * The work behind a promise is not cancelled, but its result is ignored. For an async iterable, `return()` is called.
 *
 * @returns a promise or an async generator with the same values
 * @throws the `reason` of the signal. For {@link StreamSignal}, it is a {@link StreamCloseError} with the close code of the stream
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
  return Symbol.asyncIterator in work ? abortableIterable(work, signal) : raced(work, signal);
}
