import { Controller, RequestMethod, type Type, UseFilters } from '@nestjs/common';
import { agUi, TextErrorFilter } from '../../lib/ai/index.js';
import { Stream, StreamSignal } from '../../lib/index.js';
import type { AgUi } from './programs/ag-ui.js';
import type { ClientError } from './programs/program.js';
import { describeProtocol, type Stage, useClient } from './support.js';

const client = useClient<AgUi>('ag-ui.ts');

const delta = (text: string) => ({ type: 'TEXT_MESSAGE_CONTENT', messageId: 'm', delta: text });
const RUN = { threadId: 't', runId: 'r' };
const EVENTS = [
  { type: 'RUN_STARTED', ...RUN },
  { type: 'TEXT_MESSAGE_START', messageId: 'm', role: 'assistant' },
  delta('Nest streams'),
  delta(' tokens'),
  { type: 'TEXT_MESSAGE_END', messageId: 'm' },
  { type: 'RUN_FINISHED', ...RUN },
];

function agentRoute(stage: Stage): Type {
  @Controller()
  @UseFilters(TextErrorFilter)
  class Agent {
    @Stream('agent', { method: RequestMethod.POST, format: agUi })
    run(@StreamSignal() signal: AbortSignal) {
      return stage.play(EVENTS, signal);
    }
  }
  return Agent;
}

const KEPT_TYPES = ['RUN_STARTED', 'TEXT_MESSAGE_START'];
const CUT: ClientError = { name: 'TypeError', message: 'terminated' };
const SHOWN = EVENTS.map((event) => ('delta' in event ? event.delta : event.type));

// After a cut, this client cancels a body that has already failed, and does not handle the rejection: this would end its process. Therefore the
// error record of the format is not followed by a cut.
describeProtocol({
  name: '@ag-ui/client 1, which reads agUi,',
  route: agentRoute,
  ask: (url) => client().call('agent', `${url}/agent`),
  afterCut: async () => expect(await client().unhandled()).toEqual([expect.stringContaining('TypeError: terminated')]),
  outcomes: {
    complete: { items: SHOWN, result: { messages: ['Nest streams tokens'] } },
    refused: { items: [], error: { name: 'Error', message: 'HTTP 429: Too many questions', status: 429 } },
    failed: {
      items: [...KEPT_TYPES, 'RUN_ERROR'],
      result: { messages: [''], failed: { message: 'The model is away', code: '503' } },
    },
    aborted: {
      items: [...KEPT_TYPES, 'RUN_ERROR'],
      result: { messages: [''], failed: { message: 'This operation was aborted', code: 'abort' } },
    },
    closed: {
      items: [...KEPT_TYPES, 'RUN_ERROR'],
      result: { messages: [''], failed: { message: 'The server closed the stream', code: 'server-closed' } },
    },
    cut: { items: KEPT_TYPES, error: CUT },
    cutWithin: { items: KEPT_TYPES, error: CUT },
  },
});

/** What a chat of TanStack shows. */
const chat = (text: string, status: 'ready' | 'error', ...errors: ClientError[]) => ({ text, status, errors });
const LOST: ClientError = { name: 'StreamReadError', message: 'Stream response body read failed' };

describeProtocol({
  name: '@tanstack/ai-client, which reads agUi,',
  route: agentRoute,
  ask: (url) => client().call('chat', `${url}/agent`),
  outcomes: {
    complete: { items: SHOWN, result: chat('Nest streams tokens', 'ready') },
    refused: {
      items: ['RUN_ERROR'],
      result: chat('', 'error', { name: 'Error', message: 'HTTP error! status: 429 Too Many Requests' }),
    },
    failed: {
      items: [...KEPT_TYPES, 'RUN_ERROR'],
      result: chat('', 'error', { name: 'Error', message: 'The model is away', code: '503' }),
    },
    aborted: { items: KEPT_TYPES, result: chat('', 'ready') },
    closed: {
      items: [...KEPT_TYPES, 'RUN_ERROR'],
      result: chat('', 'error', { name: 'Error', message: 'The server closed the stream', code: 'server-closed' }),
    },
    cut: { items: [...KEPT_TYPES, 'RUN_ERROR'], result: chat('', 'error', LOST) },
    cutWithin: { items: [...KEPT_TYPES, 'RUN_ERROR'], result: chat('', 'error', LOST) },
  },
});
