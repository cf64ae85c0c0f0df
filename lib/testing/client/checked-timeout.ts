import { LONGEST_MS } from '../../util/checks.js';
import { StreamError } from '../../util/errors.js';

/**
 * Returns the timeout.
 *
 * @param name the name of the option
 * @throws {StreamError} `invalid-option` if it is not a duration in milliseconds
 */
export function checkedTimeout(timeout: number, name = 'timeout'): number {
  if (!(typeof timeout === 'number' && timeout >= 0 && timeout <= LONGEST_MS)) {
    throw new StreamError(
      'invalid-option',
      `"${name}" must be a number of milliseconds from 0 to ${LONGEST_MS}, not ${timeout}`,
    );
  }
  return timeout;
}
