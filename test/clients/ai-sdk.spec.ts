import { Controller, Get, HttpCode, RequestMethod, type Type } from '@nestjs/common';
import { streamText } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { Stream, StreamSignal } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import type { AiSdk } from './programs/ai-sdk.js';
import type { ClientError } from './programs/program.js';
import { describeProtocol, HEARTBEAT_MS, type Outcome, type Stage, useClient, useScenes } from './support.js';

const client = useClient<AiSdk>('ai-sdk.ts');
const start = useScenes();

const WORDS = ['Nest', ' sends', ' streams', ' of tokens'];
const DELTAS = WORDS.map((delta) => ({ type: 'text-delta', id: '1', delta }) as const);
/** An answer as chunks of a UI message stream. */
const CHUNKS = [
  { type: 'start', messageId: 'm' },
  { type: 'text-start', id: '1' },
  ...DELTAS,
  { type: 'text-end', id: '1' },
  { type: 'finish' },
] as const;

const CUT = { name: 'TypeError', message: 'terminated' };

interface Shown {
  readonly status: 'ready' | 'error';
  readonly error?: ClientError;
  readonly isAbort?: boolean;
  readonly finishReason?: string;
  readonly state?: 'done' | 'streaming';
}

/** What a chat shows after it has got a number of words. */
function chat(words: number, { status, error, isAbort = false, finishReason, state = 'streaming' }: Shown): Outcome {
  const texts = Array.from({ length: words }, (_, i) => WORDS.slice(0, i + 1).join(''));
  const text = texts.at(-1) ?? '';
  return {
    items: texts,
    result: {
      status,
      error,
      finish: { isAbort, isDisconnect: false, isError: error !== undefined, finishReason },
      text,
      parts: words === 0 ? undefined : expect.arrayContaining([{ type: 'text', text, state }]),
      data: [],
    },
  };
}

/** A model that reports exceptions as providers do. */
function modelOf(stage: Stage, signal: AbortSignal) {
  async function* parts() {
    try {
      const text = [{ type: 'text-start', id: '1' } as const, ...DELTAS, { type: 'text-end', id: '1' } as const];
      yield* stage.play(text, signal);
    } catch (error) {
      yield { type: 'error', error };
    }
  }
  return new MockLanguageModelV4({ doStream: async () => ({ stream: ReadableStream.from(parts()) as never }) });
}

function returnedResponse(stage: Stage): Type {
  @Controller()
  class Chat {
    @Stream('chat', { method: RequestMethod.POST, heartbeat: HEARTBEAT_MS })
    @HttpCode(200)
    chat(@StreamSignal() signal: AbortSignal) {
      const model = modelOf(stage, signal);
      const result = streamText({ model, prompt: 'What is streamed?', abortSignal: signal, onError: () => undefined });
      return result.toUIMessageStreamResponse({ onError: (error) => (error as Error).message });
    }
  }
  return Chat;
}

// The SDK sends its errors as chunks, with the status 200.
describeProtocol({
  name: 'a chat of the AI SDK 7, of which toUIMessageStreamResponse() makes a Response,',
  route: returnedResponse,
  ask: (url) => client().call('chat', `${url}/chat`),
  outcomes: {
    complete: chat(4, { status: 'ready', finishReason: 'other', state: 'done' }),
    refused: chat(0, { status: 'error', error: { name: 'Error', message: 'Too many questions' } }),
    failed: chat(1, { status: 'error', error: { name: 'Error', message: 'The model is away' } }),
    aborted: chat(1, { status: 'ready', isAbort: true }),
    closed: chat(1, { status: 'ready' }),
    cut: chat(1, { status: 'error', error: CUT }),
    cutWithin: chat(2, { status: 'error', error: CUT }),
  },
});

describe.each(PLATFORMS)('%s: a chat of the AI SDK 7', (platform) => {
  it('reads its chunks as data of plain Server-Sent Events if events are explicit, also a chunk that looks like an event', async () => {
    const weather = { type: 'data-weather', data: { sky: 'clear' } };
    @Controller()
    class Plain {
      @Stream('chat', { method: RequestMethod.POST, format: 'sse', events: 'explicit' })
      chat() {
        return [...CHUNKS.slice(0, 3), weather, ...CHUNKS.slice(3)];
      }
    }
    const { wire } = await start(platform, undefined, { controllers: [Plain] });

    expect((await client().call('chat', `${wire.url}/chat`).outcome).result).toMatchObject({
      status: 'ready',
      text: WORDS.join(''),
      data: [weather],
      finish: { isError: false },
    });
  });

  it('resumes nothing after the status 204, and reports another one', async () => {
    @Controller('chat')
    class Streams {
      @Get('c/stream')
      @HttpCode(204)
      none() {
        return undefined;
      }
    }
    const { wire } = await start(platform, undefined, { controllers: [Streams] });

    expect(await client().call('reconnect', `${wire.url}/chat`).outcome).toEqual({ items: [], result: null });
    expect(await client().call('resume', `${wire.url}/chat`).outcome).toMatchObject({
      items: [],
      result: { status: 'ready' },
    });
    expect(await client().call('reconnect', `${wire.url}/elsewhere`).outcome).toMatchObject({ error: { status: 404 } });
  });
});
