import type { StreamFormat } from '../format/format.js';
import { aiFormat } from './ai-format.js';

/**
 * The events of AG-UI. Each chunk is an event of that protocol. If the handler fails, or the server stops the stream, its last event is `RUN_ERROR`,
 * with the HTTP status of the error or the reason of the end as its `code`. After the event `RUN_FINISHED` or `RUN_ERROR` of the handler, none
 * is added.
 *
 * @example
 * ```ts
 * @Post('agent')
 * @Stream({ format: agUi })
 * run(@Body() input: RunAgentInput, @StreamSignal() signal: AbortSignal) {
 *   return this.agent.run(input, signal);
 * }
 * ```
 */
export const agUi: StreamFormat = aiFormat({
  name: 'agUi',
  last: new Set(['RUN_FINISHED', 'RUN_ERROR']),
  session: () => ({
    fail: ({ message, code, status }) => [{ type: 'RUN_ERROR', message, code: code ?? String(status) }],
  }),
});
