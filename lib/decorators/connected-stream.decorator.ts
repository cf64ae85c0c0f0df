import { createStreamParameter } from '../route/route-parameter.js';

/**
 * Injects the {@link StreamConnection} of the request. A method that injects it can send chunks by calling `send()`. If it returns `undefined`, the stream
 * stays open until `close()` is called. Pipes do not run on the connection.
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
