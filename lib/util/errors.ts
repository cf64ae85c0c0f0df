/** Why a stream has ended: see {@link StreamCloseReason}. */
export type StreamCloseCode =
  | 'client-closed'
  | 'completed'
  | 'error'
  | 'server-closed'
  | 'shutdown'
  | 'slow-consumer'
  | 'send-timeout'
  | 'deadline'
  | 'expired'
  | 'revoked'
  | 'stopped';

/** The possible values of `code` of a {@link StreamError}. The guide "Error codes" explains the cause of each, and its remedy. */
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
  | 'topic-required'
  | 'invalid-id'
  | 'duplicate-hub'
  | 'duplicate-runs'
  | 'hub-closed'
  | 'broker-unavailable'
  | 'broker-busy'
  | 'publish-unknown'
  | 'run-elsewhere'
  | 'run-exists'
  | 'run-limit'
  | 'run-lost'
  | 'run-stopped'
  | 'run-unknown'
  | 'too-large'
  | 'module-missing'
  | 'module-duplicate'
  | 'unknown-route'
  | 'worker-failed';

/**
 * The class of all errors that this package throws, except {@link StreamCloseError}. `code` identifies the kind of error, and `message` says how to
 * correct it.
 */
export class StreamError extends Error {
  override readonly name: string = 'StreamError';
  /** The HTTP status of the response of Nest's exception filter, if the client caused the error. `undefined` for other errors: the status is then 500. */
  declare readonly statusCode?: number;

  constructor(
    /** Identifies the kind of error. */
    readonly code: StreamErrorCode,
    message: string,
    options?: ErrorOptions & { statusCode?: number },
  ) {
    super(message, options);
    const { statusCode } = options ?? {};
    if (statusCode !== undefined) {
      // The properties of errors of the library "http-errors", which Nest, Express and Fastify use for the response.
      Object.assign(this, { statusCode, status: statusCode, expose: true });
    }
  }
}

/**
 * The error that says why a stream has ended. It is the `reason` of the signal of the stream, and pending calls of `send()` reject with it. If
 * its `code` is `error`, its `cause` is the error with which the stream failed.
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
    /** Why the stream has ended. */
    readonly code: StreamCloseCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Thrown by an operation that is not allowed in the current state of a stream, such as `header()` after the head was sent. Its `code` is `invalid-state`. */
export class StreamStateError extends StreamError {
  override readonly name: string = 'StreamStateError';

  constructor(message: string, options?: ErrorOptions) {
    super('invalid-state', message, options);
  }
}

/** Errors that were logged already, or that are not worth a message. */
const reported = new WeakSet<object>();

/** Marks an error that need not be logged for each stream that fails with it. */
export function markReported<E>(error: E): E {
  if (typeof error === 'object' && error !== null) {
    reported.add(error);
  }
  return error;
}

/** Returns whether an error need not be logged for each stream that fails with it. */
export function isReported(error: unknown): boolean {
  return typeof error === 'object' && error !== null && reported.has(error);
}
