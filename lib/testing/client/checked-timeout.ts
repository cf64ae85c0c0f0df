import { StreamError } from '../../errors.js';
import { LONGEST_MS } from '../../util/checks.js';

/**
 * @param name what the option is called
 * @throws {StreamError} `invalid-option` for what is no time to wait
 */
export function checkedTimeout(timeout: number, name = 'timeout'): number {
  if (!(typeof timeout === 'number' && timeout >= 0 && timeout <= LONGEST_MS)) {
    throw new StreamError(
      'invalid-option',
      `"${name}" is a number of milliseconds from 0 to ${LONGEST_MS}, and not ${timeout}`,
    );
  }
  return timeout;
}
