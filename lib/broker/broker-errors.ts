import { StreamError } from '../util/errors.js';

// The errors of brokers with a store on a server.

const SERVICE_UNAVAILABLE = { statusCode: 503 };

/** Nothing was appended: the store cannot be reached, or cannot be used. */
export function unusable(message: string): StreamError {
  return new StreamError('broker-unavailable', message, SERVICE_UNAVAILABLE);
}

/** The records of a run may or may not have been appended. */
export function unknownRecords(server: string, reason: string): StreamError {
  return new StreamError(
    'publish-unknown',
    `${server} has not confirmed the records, so that they may or may not be in the log: ${reason}. Read the log to find out`,
    SERVICE_UNAVAILABLE,
  );
}

/** The event may or may not have been appended. */
export function unknownOutcome(server: string, reason: string): StreamError {
  return new StreamError(
    'publish-unknown',
    `${server} has not confirmed the event, so that it may or may not be in the log: ${reason}. Publish it again with the same "once"`,
    SERVICE_UNAVAILABLE,
  );
}

/** Too many entries wait. */
export function busy(server: string, what: string): StreamError {
  return new StreamError(
    'broker-busy',
    `More than ${what} wait for ${server}: the event was not published. Publish fewer at a time, or raise "pending"`,
    SERVICE_UNAVAILABLE,
  );
}
