import { Controller, RequestMethod, type Type } from '@nestjs/common';
import { event, Stream, StreamSignal } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import type { AiSdk } from './programs/ai-sdk.js';
import type { AnthropicSdk } from './programs/anthropic.js';
import type { OpenAi } from './programs/openai.js';
import { FAILURE, type Outcome, type Pending, Stage, useClient, useScenes } from './support.js';

const openai = useClient<OpenAi>('openai.ts');
const anthropic = useClient<AnthropicSdk>('anthropic.ts');
const aiSdk = useClient<AiSdk>('ai-sdk.ts');
const start = useScenes();

/** Plain Server-Sent Events with ids, whose error record is plain JSON, and after which the body is cut off. */
function plainRoute(stage: Stage, items: readonly Item[]): Type {
  @Controller()
  class Plain {
    @Stream(['chat/completions', 'v1/messages', 'chat'], {
      method: RequestMethod.POST,
      format: 'sse',
      events: 'explicit',
    })
    async *answer(@StreamSignal() signal: AbortSignal) {
      const events = items.map((data, i) => event({ data, id: String(i), type: data.type }));
      yield* stage.play(events, signal);
      throw FAILURE;
    }
  }
  return Plain;
}

interface Item {
  readonly type?: string;
  readonly [field: string]: unknown;
}

const RECORD = '{"statusCode":503,"message":"The model is away"}';
const COMPLETIONS: readonly Item[] = ['Nest', ' sends'].map((content) => ({
  choices: [{ index: 0, delta: { content } }],
}));
const EVENTS: readonly Item[] = [{ type: 'message_start' }, { type: 'content_block_start' }];
const CHUNKS: readonly Item[] = [{ type: 'start' }, { type: 'data-weather', data: { sky: 'clear' } }];

/**
 * The clients, what they read, and what they make of it. Those that know the event type `error` report its message. Those of AG-UI are not
 * among them, because an error record without a type is none of its events: they need the format agUi.
 */
const CLIENTS: readonly [string, (url: string) => Pending, readonly Item[], Outcome][] = [
  [
    'openai 6',
    (url) => openai().call('completions', url, 6),
    COMPLETIONS,
    { items: ['Nest', ' sends', null], error: { name: 'TypeError', message: 'terminated' } },
  ],
  [
    'openai 7',
    (url) => openai().call('completions', url, 7),
    COMPLETIONS,
    { items: ['Nest', ' sends'], error: { name: 'APIError', message: 'The model is away' } },
  ],
  [
    '@anthropic-ai/sdk 1',
    (url) => anthropic().call('messages', url),
    EVENTS,
    { items: ['message_start', 'content_block_start'], error: { name: 'APIError', message: 'The model is away' } },
  ],
  [
    'the AI SDK 7',
    (url) => aiSdk().call('chunks', `${url}/chat`),
    CHUNKS,
    { items: CHUNKS, error: { name: 'AI_TypeValidationError', message: expect.stringContaining(`Value: ${RECORD}`) } },
  ],
];

describe.each(PLATFORMS)('%s: plain Server-Sent Events with ids and heartbeats', (platform) => {
  it.each(CLIENTS)(
    'are read by %s, and so is their error record, which is JSON',
    async (_name, ask, items, expected) => {
      const stage = new Stage('complete');
      const { wire } = await start(platform, stage, { controllers: [plainRoute(stage, items)] });

      expect(await ask(wire.url).outcome).toEqual(expected);
    },
  );
});
