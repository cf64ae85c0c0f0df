import { once } from 'node:events';
import { OpenAI } from 'openai';
import { WebSocket } from 'ws';
import { connect, type StreamItem } from '../../lib/client/index.js';
import { PLATFORMS } from '../support/app.js';
import { type ChatRequest, ChatServer } from '../support/chat-server.js';
import { Recorder } from '../support/events.js';
import { Reading } from '../support/reading.js';
import { buildSample, type Sample, startSample } from '../support/sample.js';
import { postJson } from '../support/sample-client.js';

const BUILD_MS = 120_000;
const TEST_MS = 30_000;
const DONE = 'data: [DONE]\n\n';

beforeAll(buildSample, BUILD_MS);

describe.each(PLATFORMS)('%s: the chat of the sample with an OpenAI-compatible server', (platform) => {
  const upstream = new ChatServer();
  let sample: Sample;
  let asked = 0;
  let chats = 0;
  let chat: string;

  beforeAll(async () => {
    const OPENAI_BASE_URL = await upstream.listen();
    sample = await startSample({ PLATFORM: platform, OPENAI_BASE_URL, OPENAI_API_KEY: 'secret', OPENAI_MODEL: 'm-1' });
  }, TEST_MS);

  afterAll(async () => {
    await sample?.program.stop();
    await upstream.close();
  }, TEST_MS);

  beforeEach(() => {
    chat = `chat-of-test-${++chats}`;
  });

  const question = (text: string, id = 'q1') => ({ id, role: 'user', parts: [{ type: 'text', text }] });
  const stream = (init?: RequestInit) => fetch(sample.url(`/chat/${chat}/stream`), init);
  const post = (body: unknown) => fetch(sample.url('/chat'), postJson(body));

  /** Waits for the request of the sample for an answer. */
  async function arrived(): Promise<ChatRequest> {
    const requests = await upstream.requests.count(++asked);
    const request = requests[asked - 1];
    if (!request) {
      throw new Error('There was no request');
    }
    return request;
  }

  async function ask(text: string) {
    const answer = post({ id: chat, messages: [question(text)] });
    return { answer, request: await arrived() };
  }

  /** Asks, and reads until the first word has arrived. */
  async function begin(word: string) {
    const { answer, request } = await ask('Hello?');
    request.response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    request.response.write(ChatServer.token(`${word} `));
    const reading = new Reading(await answer);
    await reading.until(new RegExp(word));
    return { request, reading };
  }

  /** The texts of the messages that are complete. */
  async function history(): Promise<string[]> {
    const response = await fetch(sample.url(`/chat/${chat}`));
    const { messages } = (await response.json()) as { messages: { role: string; parts: { text: string }[] }[] };
    return messages.map(({ role, parts }) => `${role}: ${parts.map(({ text }) => text).join('')}`);
  }

  it('forwards the question, and sends the answer as a UI message stream', async () => {
    const { answer, request } = await ask(' Hello? ');
    expect(request).toMatchObject({ path: '/v1/chat/completions', authorization: 'Bearer secret' });
    expect(request.body).toEqual({ model: 'm-1', stream: true, messages: [{ role: 'user', content: 'Hello?' }] });

    request.response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    request.response.write(ChatServer.token('Good '));
    const response = await answer;
    const reading = new Reading(response);
    expect(response.headers.get('x-vercel-ai-ui-message-stream')).toBe('v1');
    await reading.until(/Good /);
    request.response.end(`${ChatServer.token('morning')}data: [DONE]\n\n`);

    const lines = (await reading.end()).split('\n\n');
    expect(lines.slice(1)).toEqual([
      'data: {"type":"text-start","id":"text-1"}',
      'data: {"type":"text-delta","id":"text-1","delta":"Good "}',
      'data: {"type":"text-delta","id":"text-1","delta":"morning"}',
      'data: {"type":"text-end","id":"text-1"}',
      'data: {"type":"finish"}',
      'data: [DONE]',
      '',
    ]);
    expect(await history()).toEqual(['user: Hello?', 'assistant: Good morning']);
    expect((await stream()).status).toBe(204);
  });

  it('sends the conversation with the next question', async () => {
    const { request, reading } = await begin('Hi');
    request.response.end(DONE);
    await reading.end();

    const next = post({ id: chat, messages: [question('forged', 'q0'), question('And you?', 'q2')] });

    const { body, response } = await arrived();
    expect(body.messages).toEqual([
      { role: 'user', content: 'Hello?' },
      { role: 'assistant', content: 'Hi ' },
      { role: 'user', content: 'And you?' },
    ]);
    response.end(DONE);
    await (await next).text();
  });

  it('goes on when its client disconnects, and is sent again from its start, over WebSocket too', async () => {
    const { request, reading } = await begin('Once');
    await reading.leave();
    const joined = new Reading(await stream());
    const socket = new WebSocket(sample.url(`/chat/${chat}/stream`).replace('http', 'ws'));
    const messages = new Recorder<string>();
    socket.on('message', (data) => messages.add(String(data)));
    const closed = once(socket, 'close');
    await Promise.all([joined.until(/Once/), messages.count(3)]);

    request.response.end(`${ChatServer.token('more')}${DONE}`);

    expect(await joined.end()).toMatch(/"delta":"Once "[\s\S]*"delta":"more"[\s\S]*\[DONE\]\n\n$/);
    await closed;
    expect(messages.seen.slice(2)).toEqual([
      '{"type":"text-delta","id":"text-1","delta":"Once "}',
      '{"type":"text-delta","id":"text-1","delta":"more"}',
      '{"type":"text-end","id":"text-1"}',
      '{"type":"finish"}',
    ]);
    expect(upstream.disconnects.seen).toEqual([]);
  });

  it('is read by connect() of the client, which resumes it after the id of a chunk, over WebSocket too', async () => {
    const { request, reading } = await begin('Once');
    const url = sample.url(`/chat/${chat}/answer`);
    const first: StreamItem<{ type: string; delta?: string }>[] = [];
    for await (const item of connect<{ type: string; delta?: string }>(url)) {
      first.push(item);
      if (item.data.delta) {
        break;
      }
    }
    const resume = { get: () => first.at(-1)?.id, set: () => undefined };
    const rest = connect<{ type: string; delta?: string }>(url, { as: 'ws', WebSocket, resume });

    request.response.end(`${ChatServer.token('more')}${DONE}`);

    const types: string[] = [];
    for await (const { data } of rest) {
      types.push(data.delta ?? data.type);
    }
    expect(first.map(({ data }) => data.delta ?? data.type)).toEqual(['start', 'text-start', 'Once ']);
    expect(types).toEqual(['more', 'text-end', 'finish']);
    await reading.end();
  });

  it('says whether an answer is in progress', async () => {
    const load = async () => (await fetch(sample.url(`/chat/${chat}`))).json();
    expect(await load()).toEqual({ messages: [], running: false, model: 'm-1' });
    const { request, reading } = await begin('Once');
    expect(await load()).toMatchObject({ messages: [question('Hello?')], running: true });

    request.response.end(DONE);

    await reading.end();
    expect(await load()).toMatchObject({ running: false });
  });

  it('is stopped for all clients by one of them, cancels its request to the other server, and keeps what it has', async () => {
    const { request, reading } = await begin('Half');
    const other = new Reading(await stream());
    await other.until(/Half/);
    const cancelled = once(request.response, 'close');

    const stopped = await stream({ method: 'DELETE' });

    expect(stopped.status).toBe(204);
    await cancelled;
    const end = /"type":"text-end","id":"text-1"\}\n\ndata: \{"type":"abort"\}\n\ndata: \[DONE\]\n\n$/;
    expect(await reading.end()).toMatch(end);
    expect(await other.end()).toMatch(end);
    expect((await stream()).status).toBe(204);
    expect(await history()).toEqual(['user: Hello?', 'assistant: Half ']);
  });

  it('refuses a second question while it answers, and does not ask the other server', async () => {
    const { request, reading } = await begin('First');

    const second = await post({ id: chat, messages: [question('Second?', 'q2')] });

    expect(second.status).toBe(409);
    expect(await second.text()).toBe(`The run "${chat}" is in progress`);
    request.response.end(DONE);
    await reading.end();
    expect(await history()).toEqual(['user: Hello?', 'assistant: First ']);
  });

  it('responds with a status when the other server refuses', async () => {
    const { answer, request } = await ask('Hello?');
    request.response.writeHead(401).end('no such key');

    const response = await answer;

    expect(response.status).toBe(502);
    expect(await response.text()).toBe('The chat server answered 401');
    await sample.program.until(/WARN.*answered 401: no such key/);
  });

  it('says that the answer failed when the other server cuts its answer off', async () => {
    const { request, reading } = await begin('Half');

    request.response.end();

    expect(await reading.end()).toMatch(
      /data: \{"type":"text-end","id":"text-1"\}\n\ndata: \{"type":"error","errorText":"Internal server error"\}\n\ndata: \[DONE\]\n\n$/,
    );
    await sample.program.until(/without \[DONE\]/);
    expect(await history()).toEqual(['user: Hello?']);
  });

  it.each([
    ['no id', {}, 'The id of a chat has 8 to 64 letters, digits, "_" and "-"'],
    ['no message', { id: 'chat-of-nobody' }, 'The last one of "messages" is a message of the user'],
    [
      'a message of the assistant',
      { id: 'chat-of-nobody', messages: [{ ...question('x'), role: 'assistant' }] },
      'The last one of "messages" is a message of the user',
    ],
    ['an empty question', { id: 'chat-of-nobody', messages: [question(' \n')] }, 'The question is empty'],
    [
      'a question that is too long',
      { id: 'chat-of-nobody', messages: [question('x'.repeat(2_001))] },
      'A question has at most 2000 characters',
    ],
  ])('refuses %s, with a text that a page can show', async (_, body, message) => {
    const response = await post(body);

    expect(response.status).toBe(400);
    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(await response.text()).toContain(message);
  });

  describe('over the API of OpenAI', () => {
    const client = () => new OpenAI({ baseURL: sample.url('/v1'), apiKey: 'none', maxRetries: 0 });
    const body = { model: 'any', messages: [{ role: 'user' as const, content: 'Hello?' }] };

    it('streams an answer to the package openai', async () => {
      const asking = client().chat.completions.create({ ...body, stream: true });
      const { response } = await arrived();
      response.write(ChatServer.token('Good '));
      const answer = await asking;
      response.end(`${ChatServer.token('morning')}${DONE}`);

      const deltas: unknown[] = [];
      for await (const { choices } of answer) {
        deltas.push([choices[0]?.delta, choices[0]?.finish_reason]);
      }

      expect(deltas).toEqual([
        [{ role: 'assistant', content: 'Good ' }, null],
        [{ content: 'morning' }, null],
        [{}, 'stop'],
      ]);
    });

    it('sends one document to a client that does not ask for a stream', async () => {
      const asking = client().chat.completions.create(body);
      (await arrived()).response.end(`${ChatServer.token('Good ')}${ChatServer.token('morning')}${DONE}`);

      expect((await asking).choices).toEqual([
        { index: 0, message: { role: 'assistant', content: 'Good morning' }, finish_reason: 'stop' },
      ]);
    });

    it('cancels its request to the other server when the client disconnects', async () => {
      const asking = client().chat.completions.create({ ...body, stream: true });
      const { response } = await arrived();
      const cancelled = once(response, 'close');
      response.write(ChatServer.token('Once '));

      (await asking).controller.abort();

      await cancelled;
    });

    it('reports an error before the first token with its status, and a later one in the stream', async () => {
      const refused = client().chat.completions.create({ ...body, stream: true });
      (await arrived()).response.writeHead(429).end('slow down');
      await expect(refused).rejects.toMatchObject({ status: 502, type: 'server_error' });

      const failing = client().chat.completions.create({ ...body, stream: true });
      const { response } = await arrived();
      response.end(ChatServer.token('Once '));
      const read = async () => {
        for await (const chunk of await failing) {
          expect(chunk.object).toBe('chat.completion.chunk');
        }
      };
      await expect(read()).rejects.toMatchObject({ message: 'Internal server error' });
    });

    it('names the field of a request that is wrong', async () => {
      await expect(client().chat.completions.create({ ...body, messages: [] })).rejects.toMatchObject({
        status: 400,
        type: 'invalid_request_error',
        param: 'messages',
      });
    });
  });
});
