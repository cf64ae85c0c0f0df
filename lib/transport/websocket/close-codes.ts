import type { StreamCloseCode } from '../../util/errors.js';

const FAILED = 1011;

/** What a client did is not allowed. */
export const POLICY = 1008;

/** The codes a WebSocket is closed with (RFC 6455 §7.4.1; 1013 of the IANA registry). The reason is the close code of the stream. */
export const CLOSE_CODES: Readonly<Record<StreamCloseCode, number>> = {
  completed: 1000,
  'client-closed': 1000,
  'server-closed': 1000,
  shutdown: 1001,
  deadline: 1001,
  error: FAILED,
  'slow-consumer': 1013,
  'send-timeout': 1013,
};

/** The code of a stream that ends whole. That may be after an error: then the last message was a record that says so. */
export function endCodeOf(why: StreamCloseCode): number {
  return why === 'error' ? CLOSE_CODES.completed : CLOSE_CODES[why];
}

/** The code of a stream that is cut off by an error that would have this status: whose fault it is. */
export function closeCodeOf(status: number): number {
  return status < 500 ? POLICY : FAILED;
}
