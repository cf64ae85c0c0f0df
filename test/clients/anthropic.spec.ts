import { Controller, RequestMethod, type Type, UseFilters } from '@nestjs/common';
import { AnthropicErrorFilter, messages } from '../../lib/ai/index.js';
import { Stream, StreamSignal } from '../../lib/index.js';
import type { AnthropicSdk } from './programs/anthropic.js';
import type { ClientError } from './programs/program.js';
import { describeProtocol, type Stage, useClient } from './support.js';

const client = useClient<AnthropicSdk>('anthropic.ts');

const CUT: ClientError = { name: 'TypeError', message: 'terminated' };
const USAGE = { input_tokens: 1, output_tokens: 1 };
const delta = (text: string) => ({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } });

/** The first two events announce the message, so a text comes next. */
const EVENTS = [
  {
    type: 'message_start',
    message: {
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'm',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage: USAGE,
    },
  },
  { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
  delta('Nest streams'),
  delta(' tokens'),
  { type: 'content_block_stop', index: 0 },
  { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: USAGE },
  { type: 'message_stop' },
];
const KEPT_TYPES = ['message_start', 'content_block_start'];

function messagesRoute(stage: Stage): Type {
  @Controller('v1')
  @UseFilters(AnthropicErrorFilter)
  class Messages {
    @Stream('messages', { method: RequestMethod.POST, format: messages })
    create(@StreamSignal() signal: AbortSignal) {
      return stage.play(EVENTS, signal);
    }
  }
  return Messages;
}

const body = (type: string, message: string): string => JSON.stringify({ type: 'error', error: { type, message } });
const REFUSED: ClientError = {
  name: 'RateLimitError',
  message: `429 ${body('rate_limit_error', 'Too many questions')}`,
  status: 429,
  type: 'rate_limit_error',
};
const FAILED: ClientError = {
  name: 'APIError',
  message: body('overloaded_error', 'The model is away'),
  type: 'overloaded_error',
};

const CLOSED: ClientError = {
  name: 'APIError',
  message: body('api_error', 'The server closed the stream'),
  type: 'api_error',
};

describeProtocol({
  name: '@anthropic-ai/sdk 1, which reads messages,',
  route: messagesRoute,
  ask: (url) => client().call('messages', url),
  outcomes: {
    complete: {
      items: [...KEPT_TYPES, 'Nest streams', ' tokens', 'content_block_stop', 'message_delta', 'message_stop'],
    },
    refused: { items: [], error: REFUSED },
    failed: { items: KEPT_TYPES, error: FAILED },
    aborted: { items: KEPT_TYPES },
    closed: { items: KEPT_TYPES, error: CLOSED },
    cut: { items: KEPT_TYPES, error: CUT },
    cutWithin: { items: KEPT_TYPES, error: CUT },
  },
});

describeProtocol({
  name: '@anthropic-ai/sdk 1, which collects messages with its helper,',
  route: messagesRoute,
  ask: (url) => client().call('collected', url),
  outcomes: {
    complete: { items: ['Nest streams', ' tokens'], result: [{ type: 'text', text: 'Nest streams tokens' }] },
    refused: { items: [], error: REFUSED },
    failed: { items: [], error: FAILED },
    aborted: { items: [], error: { name: 'APIUserAbortError', message: 'Request was aborted.' } },
    closed: { items: [], error: CLOSED },
    cut: { items: [], error: { ...CUT, name: 'AnthropicError' } },
    cutWithin: { items: [], error: { ...CUT, name: 'AnthropicError' } },
  },
});
