import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects an `AbortSignal` that is aborted when the stream ends, whatever ended it. When the client disconnects, that happens in the same turn.
 * Its reason is a {@link StreamCloseError}. Pipes do not run on it.
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
