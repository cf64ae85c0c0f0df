import { type StreamCloseCode, StreamCloseError } from './errors.js';

/** How a stream ended. `onClose` hooks receive it. */
export interface StreamCloseReason {
  /**
   * - `completed`: the source ended, or `close()` was called
   * - `client-closed`: the client disconnected
   * - `error`: the source, a hook or a value failed; see `error`
   * - `server-closed`: closed through {@link StreamRegistry}
   * - `shutdown`: the application is closing
   * - `slow-consumer`: more waited for the client than `queue` allows
   * - `send-timeout`: the client took nothing for `sendTimeout`
   * - `deadline`: `maxDuration` is over
   */
  readonly code: StreamCloseCode;
  /** With `error`: the error. With `client-closed`: how a WebSocket client broke the protocol, if it did. */
  readonly error?: unknown;
}

const MESSAGES: Readonly<Record<StreamCloseCode, string>> = {
  'client-closed': 'The client closed the connection',
  completed: 'The stream has ended',
  error: 'The stream failed',
  'server-closed': 'The server closed the stream',
  shutdown: 'The application is shutting down',
  'slow-consumer': 'The client is too slow for what is sent to it',
  'send-timeout': 'The client took nothing for the send timeout',
  deadline: 'The stream reached its maximum duration',
};

/** The error with which the signal of a stream is aborted and pending sends reject. `name` says which stream it is. */
export function closeErrorOf(
  name: string,
  { code, error }: StreamCloseReason = { code: 'completed' },
): StreamCloseError {
  return new StreamCloseError(code, `${name}: ${messageOf(code)}`, error === undefined ? undefined : { cause: error });
}

export function messageOf(code: StreamCloseCode): string {
  return MESSAGES[code];
}
