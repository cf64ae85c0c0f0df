import type { StreamCloseCode } from '../errors.js';

/** How a stream ended: what `onClose` hooks are given. */
export interface StreamCloseReason {
  /**
   * - `completed`: the source ended, or `close()` was called
   * - `client-closed`: the client went away
   * - `error`: the source, a hook or a value failed; see `error`
   * - `server-closed`: closed through {@link StreamRegistry}
   * - `shutdown`: the application is closing
   * - `slow-consumer`: more waited for the client than `queue` allows
   * - `send-timeout`: the client took nothing for `sendTimeout`
   * - `deadline`: `maxDuration` is over
   */
  readonly code: StreamCloseCode;
  /** With `error`: what was thrown. With `client-closed`: what was wrong with what a WebSocket client sent, if anything. */
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

export function messageOf(code: StreamCloseCode): string {
  return MESSAGES[code];
}
