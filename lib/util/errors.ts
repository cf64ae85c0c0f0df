/** Why a stream ended: see {@link StreamCloseReason}. */
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
  | 'invalid-option'
  | 'invalid-argument'
  | 'invalid-route'
  | 'invalid-format'
  | 'invalid-state'
  | 'invalid-source'
  | 'invalid-event'
  | 'invalid-hook'
  | 'not-serializable'
  | 'invalid-header'
  | 'invalid-topic'
  | 'invalid-id'
  | 'duplicate-hub'
  | 'hub-closed'
  | 'module-missing'
  | 'module-duplicate'
  | 'unknown-route';

/** Base of every error that this package throws, except {@link StreamCloseError}. `code` identifies it, and `message` says what to do about it. */
export class StreamError extends Error {
  override readonly name: string = 'StreamError';
  /** The HTTP status that Nest's exception filter responds with, if the error is that of a client. Default: none, so the filter responds with 500. */
  declare readonly statusCode?: number;

  constructor(
    readonly code: StreamErrorCode,
    message: string,
    options?: ErrorOptions & { statusCode?: number },
  ) {
    super(message, options);
    const { statusCode } = options ?? {};
    if (statusCode !== undefined) {
      // The properties of errors of the "http-errors" library, by which Nest, Express and Fastify decide what a client gets.
      Object.assign(this, { statusCode, status: statusCode, expose: true });
    }
  }
}

/**
 * Says why a stream is over. The signal of a stream is aborted with it, and pending calls of `send()` reject with it. With the code `error`, `cause` is
 * the error that the stream failed with.
 *
 * @example
 * ```ts
 * signal.addEventListener('abort', () => {
 *   const { code } = signal.reason as StreamCloseError;
 *   if (code === 'client-closed') upstream.cancel();
 * });
 * ```
 */
export class StreamCloseError extends Error {
  override readonly name: string = 'StreamCloseError';

  constructor(
    readonly code: StreamCloseCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Thrown by an operation that the state of a stream does not allow, such as `header()` after the head was sent. Its `code` is `invalid-state`. */
export class StreamStateError extends StreamError {
  override readonly name: string = 'StreamStateError';

  constructor(message: string, options?: ErrorOptions) {
    super('invalid-state', message, options);
  }
}
