/** Why a stream ended. See {@link StreamCloseReason}. */
export type StreamCloseCode =
  | 'client-closed'
  | 'completed'
  | 'error'
  | 'server-closed'
  | 'shutdown'
  | 'slow-consumer'
  | 'send-timeout'
  | 'deadline';

/** Every `code` a {@link StreamError} can have. */
export type StreamErrorCode =
  | StreamCloseCode
  | 'invalid-option'
  | 'invalid-state'
  | 'invalid-source'
  | 'invalid-event'
  | 'invalid-hook'
  | 'not-serializable'
  | 'invalid-header'
  | 'invalid-topic'
  | 'duplicate-hub'
  | 'hub-closed'
  | 'module-missing'
  | 'module-duplicate';

/**
 * Base of every error this package throws. `code` says which, `message` says what to do about it.
 *
 * The reason of an aborted {@link StreamSignal} is a `StreamError` too; its `code` is then the
 * {@link StreamCloseCode} of the stream.
 *
 * @example
 * ```ts
 * signal.addEventListener('abort', () => {
 *   if (signal.reason.code === 'client-closed') upstream.cancel();
 * });
 * ```
 */
export class StreamError extends Error {
  override readonly name: string = 'StreamError';
  /** The HTTP status Nest's exception filter answers with, where the error is a client's. Default: none, which is 500. */
  declare readonly statusCode?: number;

  constructor(
    readonly code: StreamErrorCode,
    message: string,
    options?: ErrorOptions & { statusCode?: number },
  ) {
    super(message, options);
    const { statusCode } = options ?? {};
    if (statusCode !== undefined) {
      // The marks of the "http-errors" library, by which Nest, Express and Fastify know what a client may be told.
      Object.assign(this, { statusCode, status: statusCode, expose: true });
    }
  }
}

/**
 * Thrown by what the state of a stream does not allow, such as `header()` once the head is on its
 * way. Its `code` is `invalid-state`.
 */
export class StreamStateError extends StreamError {
  override readonly name: string = 'StreamStateError';

  constructor(message: string, options?: ErrorOptions) {
    super('invalid-state', message, options);
  }
}
