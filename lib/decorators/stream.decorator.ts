import type { StreamOptions } from '../options/streaming.options.js';
import { decorateStream } from '../route/route-decorator.js';

/**
 * Marks a method as a stream, and maps its route. The method may return a generator or another iterable, an Observable, a Node.js or web
 * stream, a web `Response`, a subscription of a hub, or a promise of one of these. The result is sent to the client chunk by chunk, in a format
 * that the client accepts. A method that returns `undefined` sends its chunks through `@ConnectedStream()`.
 *
 * If the method also has `@Get()`, `@Post()` or another route decorator, leave out the path: the other decorator maps the route. The order of
 * the decorators does not matter.
 *
 * @param path the path or paths of the route. Default: `/`
 * @param options override the options of the application; see {@link StreamOptions}
 * @throws {@link StreamError} with the code `invalid-route` if the method also has `@Sse()`. All options are checked when the application starts
 *
 * @example
 * ```ts
 * @Stream('numbers/:n')
 * async *numbers(@Param('n', ParseIntPipe) n: number) {
 *   for (let i = 1; i <= n; i++) yield { i };
 * }
 *
 * @Post('report')
 * @Stream({ format: 'text' })
 * report(@Body() query: Query) {
 *   return this.reports.run(query);
 * }
 * ```
 */
export function Stream(path?: string | readonly string[], options?: StreamOptions): MethodDecorator;
export function Stream(options: StreamOptions): MethodDecorator;
export function Stream(
  pathOrOptions?: string | readonly string[] | StreamOptions,
  options: StreamOptions = {},
): MethodDecorator {
  return decorateStream('Stream', pathOrOptions, options);
}
