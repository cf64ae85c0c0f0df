import type { StreamHooksLike } from '../options/streaming.options.js';
import { addHooks } from '../route/route-metadata.js';

/**
 * Adds hooks to all streams of a class, or to one method. Classes are resolved through dependency injection, as with `@UseInterceptors()`, and do
 * not have to be listed as providers. One instance serves all requests: a request-scoped class is refused at start-up.
 *
 * @param hooks objects with hooks, or classes of hooks. The hooks of the application run first, then those of the class, then those of the
 * method, each in the order in which they are listed
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
