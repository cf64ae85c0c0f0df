import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Parameter decorator that injects the {@link StreamConnection} of the request. The method can then send chunks with `send()`. If it returns
 * `undefined`, the stream stays open until `close()` is called. Pipes do not run on the connection.
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
