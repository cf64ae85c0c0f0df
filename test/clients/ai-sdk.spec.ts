import { Controller, Get, HttpCode, RequestMethod, type Type, UseFilters } from '@nestjs/common';
import { streamText } from 'ai';
import { MockLanguageModelV4 } from 'ai/test';
import { fromText, TextErrorFilter, uiMessages } from '../../lib/ai/index.js';
import { Stream, StreamSignal } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import type { AiSdk } from './programs/ai-sdk.js';
import type { ClientError } from './programs/program.js';
import { describeProtocol, HEARTBEAT_MS, KEPT, type Outcome, Stage, useClient, useScenes } from './support.js';

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

const ABORTED = { name: 'AbortError', message: 'This operation was aborted', code: 20 };
const FAILED: ClientError = { name: 'Error', message: 'The model is away' };
const CUT = { name: 'TypeError', message: 'terminated' };

interface Shown {
  readonly status: 'ready' | 'error';
  readonly error?: ClientError;
  readonly isAbort?: boolean;
  readonly finishReason?: string;
  /** The state of its text. Default: there is no text. */
  readonly state?: 'done' | 'streaming';
}

/** What a chat shows after it has got a number of words. */
function chat(words: number, { status, error, isAbort = false, finishReason, state }: Shown): Outcome {
  const texts = Array.from({ length: words }, (_, i) => WORDS.slice(0, i + 1).join(''));
  const text = texts.at(-1) ?? '';
  return {
    items: texts,
    result: {
      status,
      error,
      finish: { isAbort, isDisconnect: false, isError: error !== undefined, finishReason },
      text,
      parts: state && expect.arrayContaining([{ type: 'text', text, state }]),
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
    failed: chat(1, { status: 'error', error: FAILED, state: 'streaming' }),
    aborted: chat(1, { status: 'ready', isAbort: true, state: 'streaming' }),
    closed: chat(1, { status: 'ready', state: 'streaming' }),
    cut: chat(1, { status: 'error', error: CUT, state: 'streaming' }),
    cutWithin: chat(2, { status: 'error', error: CUT, state: 'streaming' }),
  },
});

/** Plays the chunks, which have a word after two others. */
function formatRoute(stage: Stage): Type {
  @Controller()
  @UseFilters(TextErrorFilter)
  class Chat {
    @Stream('chat', { method: RequestMethod.POST, format: uiMessages })
    chat(@StreamSignal() signal: AbortSignal) {
      return stage.play(CHUNKS, signal);
    }
  }
  return Chat;
}

const REFUSED: ClientError = { name: 'AI_APICallError', message: 'Too many questions', status: 429 };

describeProtocol({
  name: 'a chat of the AI SDK 7, which reads uiMessages,',
  route: formatRoute,
  ask: (url) => client().call('chat', `${url}/chat`),
  outcomes: {
    complete: chat(4, { status: 'ready', state: 'done' }),
    refused: chat(0, { status: 'error', error: REFUSED }),
    failed: chat(0, { status: 'error', error: FAILED, state: 'done' }),
    aborted: chat(0, { status: 'ready', isAbort: true, state: 'streaming' }),
    closed: chat(0, { status: 'ready', state: 'done' }),
    cut: chat(0, { status: 'error', error: CUT, state: 'streaming' }),
    cutWithin: chat(2, { status: 'error', error: CUT, state: 'streaming' }),
  },
});

const KEPT_CHUNKS = CHUNKS.slice(0, KEPT);

describeProtocol({
  name: 'the transport of the AI SDK 7, which reads uiMessages,',
  route: formatRoute,
  ask: (url) => client().call('chunks', `${url}/chat`),
  outcomes: {
    complete: { items: CHUNKS },
    refused: { items: [], error: REFUSED },
    failed: {
      items: [...KEPT_CHUNKS, { type: 'text-end', id: '1' }, { type: 'error', errorText: 'The model is away' }],
    },
    aborted: { items: KEPT_CHUNKS, error: ABORTED },
    closed: { items: [...KEPT_CHUNKS, { type: 'text-end', id: '1' }, { type: 'abort' }] },
    cut: { items: KEPT_CHUNKS, error: CUT },
    cutWithin: { items: CHUNKS.slice(0, 4), error: CUT },
  },
});

/** Plays plain text. */
function textRoute(stage: Stage): Type {
  @Controller()
  @UseFilters(TextErrorFilter)
  class Chat {
    @Stream('chat', { method: RequestMethod.POST, format: uiMessages })
    chat(@StreamSignal() signal: AbortSignal) {
      return fromText(stage.play(WORDS, signal));
    }
  }
  return Chat;
}

/** The states of a message, each with the text so far. */
const states = (words: number, ended: boolean) => {
  const texts = ['', ...WORDS.slice(0, words).map((_, i) => WORDS.slice(0, i + 1).join(''))];
  return [...texts, ...(ended ? [texts.at(-1)] : [])].map((text) => [text]);
};

describeProtocol({
  name: 'readUIMessageStream() of the AI SDK 7, which reads the uiMessages of fromText(),',
  route: textRoute,
  ask: (url) => client().call('read', `${url}/chat`),
  outcomes: {
    complete: { items: states(4, true) },
    refused: { items: [], error: REFUSED },
    failed: { items: states(2, true), error: FAILED },
    aborted: { items: states(2, false), error: ABORTED },
    closed: { items: states(2, true) },
    cut: { items: states(2, false), error: CUT },
    cutWithin: { items: states(2, false), error: CUT },
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

  it('shows an error if the application shuts down during an answer', async () => {
    const stage = new Stage('endless');
    const scene = await start(platform, stage, { controllers: [formatRoute(stage)] });
    const call = client().call('chat', `${scene.wire.url}/chat`);
    await stage.kept.promise;

    await scene.close();

    expect(await call.outcome).toEqual(
      chat(0, {
        status: 'error',
        error: { name: 'Error', message: 'The application is shutting down' },
        state: 'done',
      }),
    );
  });

  it('resumes an answer from its start, also after the page was loaded again', async () => {
    const stage = new Stage('complete');
    @Controller('chat')
    class Streams {
      @Get(':id/stream')
      @Stream({ format: uiMessages })
      resume(@StreamSignal() signal: AbortSignal) {
        return stage.play(CHUNKS, signal);
      }
    }
    const { wire } = await start(platform, stage, { controllers: [Streams] });

    expect(await client().call('resume', `${wire.url}/chat`).outcome).toEqual(
      chat(4, { status: 'ready', state: 'done' }),
    );
    expect(await client().call('reconnect', `${wire.url}/chat`).outcome).toEqual({ items: CHUNKS });
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
