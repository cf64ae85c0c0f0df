import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects an `AbortSignal` that is aborted when the stream ends, whatever ended it. When the client disconnects, that happens in the same turn.
 * Its reason is a {@link StreamCloseError}. Pipes do not run on it.
 *
 * A listener of its `abort` event must not throw: Node.js makes that an uncaught exception, as with every `EventTarget`.
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
