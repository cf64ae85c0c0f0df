import { Controller, Get, Param, ParseIntPipe, Query, RequestMethod, type Type, UseFilters } from '@nestjs/common';
import { chatCompletions, OpenAiErrorFilter, responses } from '../../lib/ai/index.js';
import { Stream, StreamSignal } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import type { OpenAi } from './programs/openai.js';
import type { ClientError } from './programs/program.js';
import { describeProtocol, KEPT, type Outcome, Stage, useClient, useScenes } from './support.js';

const client = useClient<OpenAi>('openai.ts');
const start = useScenes();

const WORDS = ['Nest', ' sends', ' streams', ' of tokens'];
const KEPT_WORDS = WORDS.slice(0, KEPT);
const MAJORS = [6, 7];

const REFUSED: ClientError = {
  name: 'RateLimitError',
  message: '429 Too many questions',
  status: 429,
  type: 'rate_limit_error',
};
const CLOSED = 'The server closed the stream';
const CUT: ClientError = { name: 'TypeError', message: 'terminated' };

function completion(content: string | undefined) {
  const [delta, finish_reason] = content === undefined ? [{}, 'stop'] : [{ role: 'assistant', content }, null];
  return {
    id: 'c',
    object: 'chat.completion.chunk',
    created: 0,
    model: 'm',
    choices: [{ index: 0, delta, finish_reason }],
  };
}

function completionsRoute(stage: Stage): Type {
  @Controller('v1')
  @UseFilters(OpenAiErrorFilter)
  class Completions {
    @Stream('chat/completions', { method: RequestMethod.POST, format: chatCompletions })
    complete(@StreamSignal() signal: AbortSignal) {
      return stage.play([...WORDS, undefined].map(completion), signal);
    }
  }
  return Completions;
}

for (const major of MAJORS) {
  describeProtocol({
    name: `openai ${major}, which reads chatCompletions,`,
    route: completionsRoute,
    ask: (url) => client().call('completions', `${url}/v1`, major),
    outcomes: {
      complete: { items: [...WORDS, 'stop'] },
      refused: { items: [], error: REFUSED },
      failed: { items: KEPT_WORDS, error: { name: 'APIError', message: 'The model is away', type: 'server_error' } },
      aborted: { items: KEPT_WORDS },
      closed: {
        items: KEPT_WORDS,
        error: { name: 'APIError', message: CLOSED, type: 'server_error', code: 'server-closed' },
      },
      cut: { items: KEPT_WORDS, error: CUT },
      cutWithin: { items: KEPT_WORDS, error: CUT },
    },
  });
}

const EVENTS = [
  ...WORDS.map((delta) => ({
    type: 'response.output_text.delta',
    item_id: 'i',
    output_index: 0,
    content_index: 0,
    delta,
  })),
  { type: 'response.completed', response: { id: 'r', output: [] } },
];

function responsesRoute(stage: Stage): Type {
  @Controller('v1/responses')
  @UseFilters(OpenAiErrorFilter)
  class Responses {
    @Stream({ method: RequestMethod.POST, format: responses })
    create(@StreamSignal() signal: AbortSignal) {
      return stage.play(EVENTS, signal);
    }

    @Get(':id')
    @Stream({ format: responses })
    resume(
      @Param('id') id: string,
      @Query('starting_after', ParseIntPipe) after: number,
      @StreamSignal() signal: AbortSignal,
    ) {
      const events = EVENTS.map((event, sequence_number) => ({ ...event, id, sequence_number }));
      return stage.play(events.slice(after + 1), signal);
    }
  }
  return Responses;
}

/** An event of the type `error` is an event for openai 6, and an error for openai 7. */
function failed(major: number, code: string, message: string): Outcome {
  return major === 6
    ? { items: [...KEPT_WORDS, { type: 'error', code, message, param: null, sequence_number: KEPT }] }
    : { items: KEPT_WORDS, error: { name: 'APIError', message, code, type: 'error' } };
}

for (const major of MAJORS) {
  describeProtocol({
    name: `openai ${major}, which reads responses,`,
    route: responsesRoute,
    ask: (url) => client().call('responses', `${url}/v1`, major),
    outcomes: {
      complete: { items: [...WORDS, 'response.completed'] },
      refused: { items: [], error: REFUSED },
      failed: failed(major, 'server_error', 'The model is away'),
      aborted: { items: KEPT_WORDS },
      closed: failed(major, 'server-closed', CLOSED),
      cut: { items: KEPT_WORDS, error: CUT },
      cutWithin: { items: KEPT_WORDS, error: CUT },
    },
  });
}

describe.each(PLATFORMS)('%s: openai', (platform) => {
  it.each(MAJORS)('%i resumes a response after the event that it names', async (major) => {
    const stage = new Stage('complete');
    const { wire } = await start(platform, stage, { controllers: [responsesRoute(stage)] });

    expect((await client().call('resume', `${wire.url}/v1`, major, 'r', 1).outcome).items).toMatchObject([
      { delta: ' streams', id: 'r', sequence_number: 2 },
      { delta: ' of tokens', sequence_number: 3 },
      { type: 'response.completed', sequence_number: 4 },
    ]);
  });

  it.each(MAJORS)('%i collects a message with its helper, which needs [DONE] and whole chunks', async (major) => {
    const stage = new Stage('complete');
    const { wire } = await start(platform, stage, { controllers: [completionsRoute(stage)] });

    expect(await client().call('collected', `${wire.url}/v1`, major).outcome).toEqual({
      items: WORDS,
      result: WORDS.join(''),
    });
  });
});
