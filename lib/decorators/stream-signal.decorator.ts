import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects an `AbortSignal` that is aborted when the stream is over, whatever ended it, in the same turn as the
 * client's going. Its reason is a {@link StreamError} with the {@link StreamCloseCode}.
 * Pipes are not run on it.
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
