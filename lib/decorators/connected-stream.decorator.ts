import { createParamDecorator } from '@nestjs/common';
import { exchangeIn } from '../stream-handler.js';

/**
 * Injects the {@link StreamConnection} of this request. A method that injects it may push, and then returns
 * nothing: the stream stays open until `close()`.
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
export const ConnectedStream: () => ParameterDecorator = createParamDecorator((_: unknown, context) =>
  exchangeIn(context).claim(),
);
