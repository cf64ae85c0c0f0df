import { unusable } from '../broker/broker-errors.js';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

export { unknownOutcome, unknownRecords, unusable } from '../broker/broker-errors.js';

/** Answers with which a server says that it does not serve the key, or not yet: the command was not run, and another connection is needed. */
const ELSEWHERE = /^(?:MOVED|ASK|READONLY|LOADING|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|NOAUTH)\b/;
/** An answer to the offset 1 when there is a later epoch: it was not appended. */
const OTHER_EPOCH = 'equal or smaller than the target stream top item';
/** Answers that another attempt cannot change. */
const REFUSED = /^(?:NOPERM|WRONGPASS|NOAUTH)\b|invalid username-password|invalid password/;

/** An error that Redis answered, and not one of the driver or the socket. The answer begins with a word in capitals. */
export function isAnswer(message: string): boolean {
  return /^[A-Z][A-Z0-9]*(?: |$)/.test(message);
}

export function isElsewhere(message: string): boolean {
  return ELSEWHERE.test(message);
}

export function isOtherEpoch(message: string): boolean {
  return message.includes(OTHER_EPOCH);
}

/** Whether an attempt to connect failed for a reason that the next attempt would have, too. */
export function isRefusal(error: unknown): boolean {
  return error instanceof StreamError || REFUSED.test(textOf(error));
}

/** The event was not appended. */
export function unavailable(server: string, reason: unknown): StreamError {
  return unusable(`${server} ${reasonOf(reason)}`);
}

/** Returns a reason as the end of a sentence. It never contains a password: neither Redis nor the drivers put one in these messages. */
function reasonOf(reason: unknown): string {
  const text = textOf(reason);
  return isAnswer(text) ? `answered "${text}"` : `cannot be reached: ${text}`;
}
