import type { SseOptions } from '../options/streaming.options.js';
import { decorateStream } from '../route/route-decorator.js';

/**
 * Marks a method as a stream of Server-Sent Events, like `@Stream()` with `format: 'sse'`. It replaces the decorator of the same name in
 * `@nestjs/common`: change the import, and an existing method that returns an `Observable<MessageEvent>` works as before.
 *
 * @param path the path or paths of the route. Default: `/`
 * @param options override the options of the application; see {@link SseOptions}
 * @throws {@link StreamError} with the code `invalid-route` if the method also has `@Stream()`. All options are checked when the application starts
 *
 * @example
 * ```ts
 * @Sse('time')
 * time(): Observable<MessageEvent> {
 *   return interval(1_000).pipe(map(() => ({ data: { now: Date.now() } })));
 * }
 * ```
 */
export function Sse(path?: string | readonly string[], options?: SseOptions): MethodDecorator;
export function Sse(options: SseOptions): MethodDecorator;
export function Sse(
  pathOrOptions?: string | readonly string[] | SseOptions,
  options: SseOptions = {},
): MethodDecorator {
  return decorateStream('Sse', pathOrOptions, options);
}
