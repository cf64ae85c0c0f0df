import type { RequestListener } from 'node:http';
import { Controller, RequestMethod, type Type } from '@nestjs/common';
import { Stream, StreamSignal } from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { ChatServer } from '../support/chat-server.js';
import { type Upstream, upstream } from '../support/upstream.js';
import type { AgUi } from './programs/ag-ui.js';
import type { AiSdk } from './programs/ai-sdk.js';
import type { AnthropicSdk } from './programs/anthropic.js';
import type { Google } from './programs/google.js';
import type { OpenAi } from './programs/openai.js';
import { HEARTBEAT_MS, type Outcome, type Pending, useClient, useScenes, type Wire } from './support.js';

const openai = useClient<OpenAi>('openai.ts');
const anthropic = useClient<AnthropicSdk>('anthropic.ts');
const google = useClient<Google>('google.ts');
const aiSdk = useClient<AiSdk>('ai-sdk.ts');
const agUi = useClient<AgUi>('ag-ui.ts');
const start = useScenes();

/** Longer than `openDelay`. */
const LONG_MS = 5_000;
const BODY = '{"error":{"message":"Slow down","type":"rate_limit_error","code":429}}';

const origins: Upstream[] = [];
afterEach(() => {
  for (const origin of origins.splice(0)) {
    origin.close();
  }
});

async function startUpstream(respond: RequestListener): Promise<Upstream> {
  const origin = await upstream(respond);
  origins.push(origin);
  return origin;
}

/** Passes a request on in one line. */
function proxyTo(url: string): Type {
  @Controller()
  class Gateway {
    @Stream(['chat', 'chat/completions', 'v1/messages', 'v1/models/:call', 'agent'], {
      method: RequestMethod.POST,
      heartbeat: HEARTBEAT_MS,
    })
    proxy(@StreamSignal() signal: AbortSignal) {
      return fetch(url, { method: 'POST', signal });
    }
  }
  return Gateway;
}

/** What a client makes of the status 429. */
const tooMany = (name: string, message: string, details: object = {}): Outcome => ({
  items: [],
  error: { name, message, status: 429, ...details },
});

const CLIENTS: readonly [string, (url: string) => Pending, Outcome][] = [
  [
    'openai 6',
    (url) => openai().call('completions', url, 6),
    tooMany('RateLimitError', '429 Slow down', { code: 429, type: 'rate_limit_error' }),
  ],
  [
    'openai 7',
    (url) => openai().call('completions', url, 7),
    tooMany('RateLimitError', '429 Slow down', { code: 429, type: 'rate_limit_error' }),
  ],
  [
    '@anthropic-ai/sdk 1',
    (url) => anthropic().call('messages', url),
    tooMany('RateLimitError', `429 ${BODY}`, { type: 'rate_limit_error' }),
  ],
  ['@google/genai 3', (url) => google().call('generate', url), tooMany('ApiError', BODY)],
  ['the AI SDK 7', (url) => aiSdk().call('chunks', `${url}/chat`), tooMany('AI_APICallError', BODY)],
  ['@ag-ui/client 1', (url) => agUi().call('agent', `${url}/agent`), tooMany('Error', `HTTP 429: ${BODY}`)],
  [
    '@tanstack/ai-client',
    (url) => agUi().call('chat', `${url}/agent`),
    {
      items: ['RUN_ERROR'],
      result: {
        text: '',
        status: 'error',
        errors: [{ name: 'Error', message: 'HTTP error! status: 429 Too Many Requests' }],
      },
    },
  ],
];

describe.each(PLATFORMS)('%s: a route that returns fetch()', (platform) => {
  it.each(CLIENTS)('passes on the status 429, which came late, to %s', async (_name, ask, expected) => {
    const origin = await startUpstream((_request, response) => {
      response.writeHead(429, { 'Content-Type': 'application/json' });
      response.end(BODY);
    });
    const { wire, app, logs } = await start(platform, undefined, { controllers: [proxyTo(origin.url)] });
    const clock = useFakeClock(app);

    const { outcome } = ask(wire.url);
    await origin.asked;
    await clock.advance(LONG_MS);
    origin.gate.resolve();

    expect(await outcome).toEqual(expected);
    expect(logs.of('error')).toEqual([]);
  });

  it('adds heartbeats between the events of another server, which openai ignores', async () => {
    let wire: Wire | undefined;
    const origin = await startUpstream(async (_request, response) => {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' });
      for (const token of ['Nest', ' sends', ' streams']) {
        response.write(ChatServer.token(token));
        await wire?.beats(3);
      }
      response.end('data: [DONE]\n\n');
    });
    const scene = await start(platform, undefined, { controllers: [proxyTo(origin.url)] });
    ({ wire } = scene);
    origin.gate.resolve();

    expect(await openai().call('completions', wire.url, 6).outcome).toEqual({ items: ['Nest', ' sends', ' streams'] });
    expect(await openai().call('completions', wire.url, 7).outcome).toEqual({ items: ['Nest', ' sends', ' streams'] });
  });
});
