import type { StreamFormat } from '../format/format.js';
import { jsonText } from '../format/json-text.js';
import { type AiItem, aiFormat, type Session } from './ai-format.js';
import type { Failure } from './failure.js';

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  429: 'rate_limit_error',
};

function typeOf(status: number): string {
  return TYPES[status] ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
}

/** Returns the body of an error response of OpenAI, which is also the record of an error within a stream of chat completions. */
export function openAiError({ status, message, code, param }: Failure): AiItem {
  return { error: { message, type: typeOf(status), code, param } };
}

/** Numbers the events of a response. */
class NumberedEvents implements Session {
  private next = 0;

  json(item: AiItem): string {
    const { sequence_number: own } = item;
    const number = typeof own === 'number' ? own : this.next;
    this.next = number + 1;
    return jsonText(own === number ? item : { ...item, sequence_number: number });
  }

  fail({ message, code, param, status }: Failure): readonly AiItem[] {
    return [{ type: 'error', code: code ?? typeOf(status), message, param }];
  }
}

/**
 * The stream of OpenAI's Chat Completions API, which many clients read. Each chunk is an object `chat.completion.chunk`. The stream ends with
 * `[DONE]`. If the handler fails, or the server stops the stream, a record `{ "error": … }` precedes it.
 *
 * @example
 * ```ts
 * @Post('v1/chat/completions')
 * @Stream({ format: chatCompletions })
 * @UseFilters(OpenAiErrorFilter)
 * async complete(@Body() body: ChatCompletionRequest, @StreamSignal() signal: AbortSignal) {
 *   return this.openai.chat.completions.create({ ...body, stream: true }, { signal });
 * }
 * ```
 */
export const chatCompletions: StreamFormat = aiFormat({
  name: 'chatCompletions',
  typed: false,
  last: new Set(),
  done: '[DONE]',
  session: () => ({ fail: (failure) => [openAiError(failure)] }),
});

/**
 * The stream of OpenAI's Responses API. Each chunk is an event with a `type`, such as `response.output_text.delta`, which is also the type of the
 * event. Events without a `sequence_number` are numbered, from 0 or from the number after the last one. If the handler fails, or the server stops
 * the stream, its last event has the type `error`.
 */
export const responses: StreamFormat = aiFormat({
  name: 'responses',
  named: true,
  last: new Set(['response.completed', 'response.failed', 'response.incomplete', 'error']),
  session: () => new NumberedEvents(),
});
