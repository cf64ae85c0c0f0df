import type { StreamFormat } from '../format/format.js';
import { type AiItem, aiFormat } from './ai-format.js';
import type { Failure } from './failure.js';

const TYPES: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  402: 'billing_error',
  403: 'permission_error',
  404: 'not_found_error',
  408: 'timeout_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
  504: 'timeout_error',
  529: 'overloaded_error',
};

function typeOf(status: number): string {
  return TYPES[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');
}

/** Returns the body of an error response of Anthropic, which is also the event of an error within a stream. */
export function anthropicError({ status, message }: Failure): AiItem {
  return { type: 'error', error: { type: typeOf(status), message } };
}

/**
 * The stream of Anthropic's Messages API. Each chunk is an event with a `type`, such as `content_block_delta`, which is also the type of the event.
 * Heartbeats are events of the type `ping`. If the handler fails, or the server stops the stream, its last event has the type `error`.
 */
export const messages: StreamFormat = aiFormat({
  name: 'messages',
  named: true,
  heartbeat: 'event: ping\ndata: {"type":"ping"}\n\n',
  last: new Set(['message_stop', 'error']),
  session: () => ({ fail: (failure) => [anthropicError(failure)] }),
});
