import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Parameter decorator that injects an `AbortSignal`, which is aborted when the stream has ended for any reason. If the client disconnects, the
 * signal is aborted in the same turn of the event loop. Its `reason` is a {@link StreamCloseError}. Pipes do not run on the signal.
 *
 * A listener for its event `abort` must not throw: as with every `EventTarget`, Node.js turns the error into an uncaught exception.
 *
 * @example
 * ```ts
 * @Stream('answer')
 * async *answer(@StreamSignal() signal: AbortSignal) {
 *   yield* this.model.complete({ signal });
 * }
 * ```
 */
export const StreamSignal: () => ParameterDecorator = createStreamParameter('signal');
