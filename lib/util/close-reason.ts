import { type StreamCloseCode, StreamCloseError } from './errors.js';

/** Why a stream has ended. `onClose` hooks receive it. */
export interface StreamCloseReason {
  /**
   * - `completed`: the source ended, or `close()` was called
   * - `client-closed`: the client disconnected
   * - `error`: the source or a hook threw, or a chunk could not be encoded; see `error`
   * - `server-closed`: the stream was closed through {@link StreamRegistry}
   * - `shutdown`: the application is closing
   * - `slow-consumer`: more chunks waited for the client than `queue` allows
   * - `send-timeout`: the client read nothing for `sendTimeout`
   * - `deadline`: the stream was open for `maxDuration`
   * - `expired`: the access of the client has expired: the option `expiresAt`, or `stream.expire()`
   * - `revoked`: the access of the client was revoked: a guard of `reauthorize` or an `onAuth` hook has refused it, or it was closed with this code through
   *   {@link StreamRegistry}
   * - `stopped`: only as the reason of the signal of a run that was stopped
   */
  readonly code: StreamCloseCode;
  /** If the code is `error`, the error. If it is `expired` or `revoked`, the exception that describes it to the client. If it is `client-closed`, the protocol error of a WebSocket client, if there was one. */
  readonly error?: unknown;
}

/** The codes of a close through {@link StreamRegistry}. */
export type ServerCloseCode = 'server-closed' | 'revoked';

const MESSAGES: Readonly<Record<StreamCloseCode, string>> = {
  'client-closed': 'The client closed the connection',
  completed: 'The stream has ended',
  error: 'The stream failed',
  'server-closed': 'The server closed the stream',
  shutdown: 'The application is shutting down',
  'slow-consumer': 'The client is too slow, and its queue is full',
  'send-timeout': 'The client read nothing within the send timeout',
  deadline: 'The stream reached its maximum duration',
  expired: 'The access of the client has expired',
  revoked: 'The access of the client was revoked',
  stopped: 'The run was stopped',
};

/** Returns the error with which the signal of a stream is aborted, and pending sends reject. `name` identifies the stream in its message. */
export function closeErrorOf(
  name: string,
  { code, error }: StreamCloseReason = { code: 'completed' },
): StreamCloseError {
  return new StreamCloseError(code, `${name}: ${messageOf(code)}`, error === undefined ? undefined : { cause: error });
}

export function messageOf(code: StreamCloseCode): string {
  return MESSAGES[code];
}
