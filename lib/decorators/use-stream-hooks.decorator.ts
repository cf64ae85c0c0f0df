import type { StreamHooksLike } from '../options/streaming.options.js';
import { addHooks } from '../route/route-metadata.js';

/**
 * Gives hooks to all streams of a class, or to one method. Classes are resolved through DI, as with
 * `@UseInterceptors()`; they need not be listed as providers.
 * One instance serves all requests: a request-scoped class is refused at start-up.
 *
 * @param hooks run outermost first: those of the application, of the class, of the method
 *
 * @example
 * ```ts
 * @Stream('answer')
 * @UseStreamHooks<Token>(Metering, { beforeChunk: (token) => token.text })
 * answer() { … }
 * ```
 */
export function UseStreamHooks<T = unknown>(...hooks: StreamHooksLike<T>[]): ClassDecorator & MethodDecorator {
  return (target: object, _key?: string | symbol, descriptor?: PropertyDescriptor) => {
    addHooks(descriptor ? (descriptor.value as object) : target, hooks as StreamHooksLike[]);
  };
}
