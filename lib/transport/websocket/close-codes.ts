import type { StreamCloseCode } from '../../util/errors.js';

/** The subprotocol in which every message is a JSON object with the fields of an event. */
export const EVENTS_PROTOCOL = 'events.v1+json';

const FAILED = 1011;

/** Policy violation: closes a connection whose client did something that is not allowed. */
export const POLICY = 1008;

/** Tells a client of {@link EVENTS_PROTOCOL} to authenticate again: 4000 plus the status of HTTP (RFC 6455 §7.4.2: a code for private use). */
const UNAUTHORIZED = 4401;

/** The close code of a WebSocket for each close code of a stream (RFC 6455 §7.4.1; 1013: IANA registry). The reason is the close code of the stream. */
export const CLOSE_CODES: Readonly<Record<StreamCloseCode, number>> = {
  completed: 1000,
  'client-closed': 1000,
  'server-closed': 1000,
  shutdown: 1001,
  deadline: 1001,
  expired: POLICY,
  revoked: POLICY,
  stopped: 1000,
  error: FAILED,
  'slow-consumer': 1013,
  'send-timeout': 1013,
};

/**
 * Returns the code for a complete stream. If it failed, its last message was an error record.
 * @param protocol the subprotocol of the WebSocket
 */
export function endCodeOf(why: StreamCloseCode, protocol: string | undefined): number {
  if (protocol === EVENTS_PROTOCOL && CLOSE_CODES[why] === POLICY) {
    return UNAUTHORIZED;
  }
  return why === 'error' ? CLOSE_CODES.completed : CLOSE_CODES[why];
}

/** Returns the code for a stream that is cut off by an error. The HTTP status of the error tells whether client or server caused it. */
export function closeCodeOf(status: number): number {
  return status < 500 ? POLICY : FAILED;
}
