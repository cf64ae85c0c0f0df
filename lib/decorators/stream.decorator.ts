import type { StreamOptions } from '../options/streaming.options.js';
import { decorateStream } from '../route/route-decorator.js';

/**
 * Marks a method as a stream and maps its route: what it returns (a generator or another iterable, an
 * Observable, a Node.js or web stream, a web `Response`, or a promise of one of these) is sent to the client
 * chunk by chunk, in the format the client asks for. A method that returns nothing pushes, through
 * `@ConnectedStream()`.
 *
 * Without a path beside `@Get()`, `@Post()`, … it only marks, in whatever order the two stand; alone it maps `/`.
 *
 * @param path the route path or paths
 * @param options see {@link StreamOptions}; they override those of the application
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
