import { unusable } from '../broker/broker-errors.js';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

/** Nobody listens to a subject, so that nothing was done: JetStream is off or starting, the stream does not exist, or it has no leader. */
export class NoRespondersError extends Error {
  constructor() {
    super('neither a stream nor JetStream listens there: it is not enabled, or it is starting');
  }
}

/** JetStream has answered with an error: nothing was changed. */
export class JetStreamError extends Error {
  constructor(
    description: string,
    /** A number of JetStream, such as 10059 for a stream that does not exist. */
    readonly number: number,
  ) {
    super(description);
  }
}

/** There was no answer: the request may or may not have been received. */
export class UnansweredError extends Error {}

/** NATS does not permit a subject to the user. */
export class PermissionError extends Error {}

/** The stream of a hub has the other kind of history. */
export class OtherKindError extends Error {
  /** @param perTopic whether the stream has a history for each topic, and this process has none */
  constructor(hub: string, stream: string, perTopic: boolean) {
    const kinds = ['a history for each topic', 'one history of all events'];
    const [found, own] = perTopic ? kinds : kinds.reverse();
    super(
      `The stream "${stream}" has ${found} of the hub "${hub}", and this process registers the hub with ${own}. Register it with the same kind in all processes, or give it another name; or stop the processes with the other kind, and remove its events with "nats stream rm ${stream}"`,
    );
  }
}

/** Nothing was appended: NATS cannot be reached, or cannot be used. */
export function unavailable(server: string, reason: unknown): StreamError {
  if (reason instanceof StreamError) {
    return reason;
  }
  if (reason instanceof PermissionError) {
    return unusable(
      `${server} does not permit what the broker needs: ${reason.message}. See "Permissions" in the guide "NATS"`,
    );
  }
  if (reason instanceof OtherKindError) {
    return unusable(reason.message);
  }
  const text = textOf(reason);
  return unusable(
    reason instanceof JetStreamError ? `${server} answered "${text}"` : `${server} cannot be used: ${text}`,
  );
}

/** An entry is larger than the messages that the server accepts. */
export function tooLarge(bytes: number, most: number): StreamError {
  return new StreamError(
    'too-large',
    `The event has ${bytes} bytes, and NATS accepts at most ${most} ("max_payload" of the server): publish less data, such as an address where it can be read`,
    { statusCode: 413 },
  );
}
