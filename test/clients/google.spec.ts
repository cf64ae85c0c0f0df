import { Controller, type HttpException, RequestMethod, type Type } from '@nestjs/common';
import { Stream, StreamSignal } from '../../lib/index.js';
import type { Google } from './programs/google.js';
import { describeProtocol, FAILURE, KEPT, REFUSAL, type Stage, useClient } from './support.js';

const client = useClient<Google>('google.ts');

const WORDS = ['Nest', ' sends', ' streams', ' of tokens'];

/** An answer as Gemini sends it. */
async function* gemini(stage: Stage, signal: AbortSignal) {
  const chunks = WORDS.map((text) => ({ candidates: [{ content: { role: 'model', parts: [{ text }] } }] }));
  try {
    for await (const chunk of stage.play(chunks, signal)) {
      yield `data: ${JSON.stringify(chunk)}\r\n\r\n`;
    }
  } catch (error) {
    yield `data: ${JSON.stringify(errorOf(error as HttpException))}\r\n\r\n`;
  }
}

const errorOf = (error: HttpException) => ({
  error: { code: error.getStatus(), message: error.message, status: 'UNAVAILABLE' },
});

function returnedResponse(stage: Stage): Type {
  @Controller('v1/models')
  class Models {
    @Stream(':call', { method: RequestMethod.POST })
    generate(@StreamSignal() signal: AbortSignal) {
      if (stage.fate === 'refused') {
        return Response.json(errorOf(REFUSAL), { status: REFUSAL.getStatus() });
      }
      const body = ReadableStream.from(gemini(stage, signal)).pipeThrough(new TextEncoderStream());
      return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
    }
  }
  return Models;
}

const KEPT_WORDS = WORDS.slice(0, KEPT);

// This client splits the body at blank lines, and ignores a part that does not begin with `data:`. So the route sets no heartbeat.
describeProtocol({
  name: '@google/genai 3, whose server returns a Response,',
  route: returnedResponse,
  beats: 0,
  ask: (url) => client().call('generate', url),
  outcomes: {
    complete: { items: WORDS },
    refused: { items: [], error: { name: 'ApiError', status: 429, message: JSON.stringify(errorOf(REFUSAL)) } },
    failed: {
      items: KEPT_WORDS,
      error: { name: 'ApiError', status: 503, message: `got status: UNAVAILABLE. ${JSON.stringify(errorOf(FAILURE))}` },
    },
    aborted: {
      items: KEPT_WORDS,
      error: { name: 'AbortError', message: 'This operation was aborted', code: 20 },
    },
    closed: { items: KEPT_WORDS },
    cut: { items: KEPT_WORDS, error: { name: 'TypeError', message: 'terminated' } },
    cutWithin: { items: KEPT_WORDS, error: { name: 'TypeError', message: 'terminated' } },
  },
});
