import type { SseOptions } from '../options/streaming.options.js';
import { decorateStream } from '../route/route-decorator.js';

/**
 * `@Stream()` with `format: 'sse'`: Server-Sent Events. A drop-in for the decorator of the same name in
 * `@nestjs/common`: change the import and an existing `Observable<MessageEvent>` method works as before.
 *
 * @param path the route path. Default: `/`
 * @param options see {@link SseOptions}
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
