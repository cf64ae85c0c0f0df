import { StreamError } from '../errors.js';

/** Timers of Node.js take no more, and fire at once for what they do not take. */
const LONGEST_MS = 2 ** 31 - 1;

/** @throws {StreamError} `invalid-option` for what is no time to wait */
export function checkedTimeout(timeout: number): number {
  if (!(timeout >= 0 && timeout <= LONGEST_MS)) {
    throw new StreamError(
      'invalid-option',
      `"timeout" is a number of milliseconds from 0 to ${LONGEST_MS}, and not ${timeout}`,
    );
  }
  return timeout;
}
