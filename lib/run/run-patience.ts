import { setTimeout as pause } from 'node:timers/promises';
import { StreamError } from '../util/errors.js';

/** The first and the longest wait before a broker is called again, in milliseconds. */
const RETRY_MS = { first: 50, longest: 1_000 };

/** Errors of a broker after which the same call may be repeated. */
const TEMPORARY = new Set<unknown>(['broker-unavailable', 'broker-busy', 'publish-unknown']);

/**
 * Calls a broker, and calls it again while it cannot be reached.
 *
 * @param patience how long it is called again, in milliseconds
 * @param isOver returns whether nobody waits for the result any more
 * @throws the error of the last call
 */
export async function patiently<R>(patience: number, isOver: () => boolean, call: () => Promise<R>): Promise<R> {
  const end = performance.now() + patience;
  for (let wait = RETRY_MS.first; ; wait = Math.min(2 * wait, RETRY_MS.longest)) {
    try {
      return await call();
    } catch (error) {
      const isTemporary = error instanceof StreamError && TEMPORARY.has(error.code);
      if (!isTemporary || performance.now() + wait > end || isOver()) {
        throw error;
      }
      await pause(wait, undefined, { ref: false });
    }
  }
}
