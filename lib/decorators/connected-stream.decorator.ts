import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects the {@link StreamConnection} of this request. A method that injects it may push, and then returns
 * nothing: the stream stays open until `close()`. Pipes are not run on it.
 *
 * @example
 * ```ts
 * @Stream('tail', { format: 'ndjson' })
 * tail(@ConnectedStream() stream: StreamConnection<LogLine>) {
 *   stream.header('X-Tail', 'on');
 *   void stream.send({ line: 'connected' });
 * }
 * ```
 */
export const ConnectedStream: () => ParameterDecorator = createStreamParameter('connection');
