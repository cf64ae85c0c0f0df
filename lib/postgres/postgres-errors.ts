import { unusable } from '../broker/broker-errors.js';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

/** Codes of answers that another attempt cannot change: no permission, a wrong password, a database or a table that does not exist. */
const REFUSED = /^(?:28|3D|42)/;
/**
 * Codes of answers after which the same statement may succeed: lock timeout, deadlock, serialization, too many connections, a server that starts, and one that is
 * a replica.
 */
const PASSING = /^(?:55P03|40P01|40001|53300|57P03|25006)$/;
/** Codes with which the server ends a connection: the statement may have been executed. */
const ENDED = /^(?:57P0[124]|08)/;

/** Returns the code of an answer of Postgres. Returns `undefined` for an error of the driver or of the socket. */
export function answerCode(error: unknown): string | undefined {
  const { severity, code } = (error ?? {}) as { readonly severity?: unknown; readonly code?: unknown };
  return typeof severity === 'string' && typeof code === 'string' ? code : undefined;
}

/** Whether Postgres has answered that it did not execute a statement. */
export function isRolledBack(error: unknown): boolean {
  const code = answerCode(error);
  return code !== undefined && !ENDED.test(code);
}

/** Whether another attempt may succeed. */
export function isPassing(error: unknown): boolean {
  const code = answerCode(error);
  return code === undefined ? !(error instanceof StreamError) : PASSING.test(code) || ENDED.test(code);
}

/** Whether an attempt to connect, or to open a log, failed for a reason that the next attempt would have, too. */
export function isRefusal(error: unknown): boolean {
  return error instanceof StreamError ? error.code === 'module-missing' : REFUSED.test(answerCode(error) ?? '');
}

/** Nothing was appended. */
export function unavailable(server: string, error: unknown): StreamError {
  return error instanceof StreamError ? error : unusable(`${server} ${reasonOf(error)}`);
}

/** Returns a reason as the end of a sentence. It never contains a password: neither Postgres nor the driver puts one in these messages. */
function reasonOf(error: unknown): string {
  const code = answerCode(error);
  if (code === '55P03') {
    return 'did not append in time: another transaction that has called ns_append() for the same hub, or that has locked its row, has not ended. End such transactions soon';
  }
  return code === undefined ? `cannot be reached: ${textOf(error)}` : `answered "${textOf(error)}" (${code})`;
}
