import { on, once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type IncomingMessage, request } from 'node:http';
import type { OpenAPIObject } from '@nestjs/swagger';
import { WebSocket } from 'ws';
import { PLATFORMS } from '../support/app.js';
import { NEST_MAJOR } from '../support/nest.js';
import { Reading } from '../support/reading.js';
import { buildSample, Program, type Sample, startSample } from '../support/sample.js';
import { events, postJson } from '../support/sample-client.js';
import { itWith } from '../support/tools.js';

const POSTED = { $ref: '#/components/schemas/Posted' };
const BUILD_MS = 120_000;
const TEST_MS = 30_000;

beforeAll(buildSample, BUILD_MS);

describe.each(PLATFORMS)('%s: the console of the sample', (platform) => {
  it.each([
    ['is there, with a link to it, after npm start', '', 200],
    ['is there, with a link to it, in development', 'development', 200],
    ['is not there in production', 'production', 404],
  ])(
    '%s',
    async (_, NODE_ENV, status) => {
      const sample = await startSample({ PLATFORM: platform, NODE_ENV });

      expect((await fetch(sample.url('/console'))).status).toBe(status);
      expect((await (await fetch(sample.url('/'))).text()).includes('<a href="/console">')).toBe(status === 200);
      await sample.program.stop();
    },
    TEST_MS,
  );

  it(
    'does not respond to a request for another host name',
    async () => {
      const sample = await startSample({ PLATFORM: platform });
      const outgoing = request(sample.url('/console'), { headers: { Host: 'sample.example' }, agent: false }).end();

      const [response] = (await once(outgoing, 'response')) as [IncomingMessage];

      expect(response.statusCode).toBe(403);
      response.destroy();
      await sample.program.stop();
    },
    TEST_MS,
  );
});

describe.each(PLATFORMS)('%s: the sample', (platform) => {
  let sample: Sample;

  beforeAll(async () => {
    sample = await startSample({ PLATFORM: platform });
  }, TEST_MS);

  afterAll(() => sample?.program.stop(), TEST_MS);

  it(
    'streams the figures of the machine as events with a type and an id',
    async () => {
      const [machine, first, second] = await events(await fetch(sample.url('/metrics')), 3, 'machine', 'sample');

      expect(machine).toMatchObject({ event: 'machine', id: undefined });
      expect(JSON.parse(machine?.data ?? '')).toMatchObject({
        nest: expect.stringMatching(new RegExp(`^${process.env.NEST ?? NEST_MAJOR}\\.`)),
        node: process.version,
      });
      expect(first).toMatchObject({ event: 'sample', id: expect.stringMatching(/^[\w-]{4}\.\w+\.\w+$/) });
      const [one, two] = [JSON.parse(first?.data ?? ''), JSON.parse(second?.data ?? '')];
      expect(two.n).toBe(one.n + 1);
      expect(one.memory.used).toBeGreaterThan(0);
      expect(one.memory.used).toBeLessThan(one.memory.total);
      expect(two.streams).toBeGreaterThanOrEqual(1);
      expect(two.loop.p99).toBeGreaterThanOrEqual(0);
    },
    TEST_MS,
  );

  it(
    'resumes the figures after the Last-Event-ID',
    async () => {
      const [first, second] = await events(await fetch(sample.url('/metrics')), 2, 'sample');
      const headers = { 'Last-Event-ID': first?.id ?? '' };

      const [next] = await events(await fetch(sample.url('/metrics'), { headers }), 1, 'sample');

      expect(next).toEqual(second);
    },
    TEST_MS,
  );

  it(
    'resumes the figures over a WebSocket after the id of its subprotocol',
    async () => {
      const [first, second] = await events(await fetch(sample.url('/metrics')), 2, 'sample');
      const protocols = ['events.v1+json', `last-event-id.${first?.id}`];
      const socket = new WebSocket(sample.url('/metrics').replace('http', 'ws'), protocols);

      for await (const [data] of on(socket, 'message')) {
        const { type, ...event } = JSON.parse(String(data));
        if (type === 'sample') {
          expect(event).toEqual({ id: second?.id, data: JSON.parse(second?.data ?? '') });
          break;
        }
        expect(['machine', 'watching']).toContain(type);
      }

      socket.terminate();
    },
    TEST_MS,
  );

  it(
    'sends the same figures, and the number of viewers, to all viewers',
    async () => {
      const watchers = await Promise.all([1, 2, 3].map(async () => new Reading(await fetch(sample.url('/metrics')))));
      await Promise.all(watchers.map((watcher) => watcher.until(/"watching":3\}\n\n/)));
      await watchers[2]?.leave();

      const shared = /"watching":3\}\n\n[\s\S]*?"watching":2\}\n\n[\s\S]*?event: sample\nid: .*\ndata: .*\n\n/;
      const received = await Promise.all(watchers.slice(0, 2).map((watcher) => watcher.until(shared)));

      const [one, other] = received.map((text) => shared.exec(text)?.[0]);
      expect(one).toMatch(/event: sample\nid: /);
      expect(other).toBe(one);
      await Promise.all(watchers.slice(0, 2).map((watcher) => watcher.leave()));
    },
    TEST_MS,
  );

  it('describes its streams in an OpenAPI document, and shows that on a page', async () => {
    const { paths, components } = (await (await fetch(sample.url('/api-json'))).json()) as OpenAPIObject;
    const shown = await fetch(sample.url('/api'));

    expect(Object.keys(paths).sort()).toEqual([
      '/board',
      '/chat',
      '/chat/{id}',
      '/chat/{id}/answer',
      '/chat/{id}/stream',
      '/export',
      '/log',
      '/metrics',
      '/primes/{limit}',
      '/v1/chat/completions',
    ]);
    expect(paths['/board']?.get).toMatchObject({
      parameters: [{ name: 'Last-Event-ID', in: 'header' }],
      responses: {
        200: {
          content: {
            'text/event-stream': { itemSchema: { properties: { data: { contentSchema: POSTED } } } },
            'application/x-ndjson': { schema: { type: 'string' }, itemSchema: POSTED },
          },
        },
        406: {},
        503: {},
      },
    });
    expect(components?.schemas).toHaveProperty('Posted.properties.at.type', 'number');
    expect(await shown.text()).toContain('swagger-ui');
    expect((await fetch(sample.url('/api/swagger-ui.css'))).status).toBe(200);
  });

  it('sends the figures as NDJSON too', async () => {
    const figures = new Reading(await fetch(sample.url('/metrics'), { headers: { Accept: 'application/x-ndjson' } }));

    await figures.until(/^\{"cpu":.*\}\n[\s\S]*\{"n":\d+,"at":.*\}\n/);
    await figures.leave();
  });

  it('pushes a line of the access log for a request that is over', async () => {
    const log = new Reading(await fetch(sample.url('/log?last=0')));

    const response = await fetch(sample.url('/nothing-here'));

    expect(response.status).toBe(404);
    const [line = ''] = (await log.until(/\/nothing-here.*\n/)).split('\n').filter((text) => text.includes('nothing'));
    expect(JSON.parse(line)).toMatchObject({ method: 'GET', path: '/nothing-here', status: 404, complete: true });
    await log.leave();
  });

  it('logs that a client disconnected from a stream', async () => {
    const log = new Reading(await fetch(sample.url('/log?last=0')));
    const left = new Reading(await fetch(sample.url('/export?rate=1024')));
    await left.until(/./);

    await left.leave();

    expect(await log.until(/rate=1024.*\n/)).toMatch(/"complete":false/);
    await log.leave();
  });

  it('exports a whole file with its length', async () => {
    const response = await fetch(sample.url('/export'));

    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    const content = await readFile('package-lock.json', 'utf8');
    expect(response.headers.get('x-export-bytes')).toBe(String(Buffer.byteLength(content)));
    expect(await response.text()).toBe(content);
  });

  it('exports at the requested pace', async () => {
    const response = await fetch(sample.url('/export?file=LICENSE&rate=4000'));

    expect(await response.text()).toBe(await readFile('LICENSE', 'utf8'));
  });

  it('streams the primes that a worker computes', async () => {
    const headers = { Accept: 'application/x-ndjson' };

    expect(await (await fetch(sample.url('/primes/20'), { headers })).text()).toBe('2\n3\n5\n7\n11\n13\n17\n19\n');
  });

  it.each([
    '/export?file=../package.json',
    '/export?file=/etc/passwd',
    '/export?rate=3',
    '/export?rate=fast',
    '/log?last=few',
    '/primes/many',
  ])('refuses %s with a reason', async (path) => {
    const response = await fetch(sample.url(path));

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ message: expect.any(String) });
  });

  it('serves the files of the page, and no other files', async () => {
    const page = await fetch(sample.url('/'));

    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(await page.text()).toContain('/page/main.js');
    expect((await fetch(sample.url('/page/main.js'))).headers.get('content-type')).toMatch(/^text\/javascript/);
    expect((await fetch(sample.url('/page/client/index.js'))).headers.get('content-type')).toMatch(/^text\/javascript/);
    expect((await fetch(sample.url('/page/..%2Fpage.controller.js'))).status).toBe(404);
    expect((await fetch(sample.url('/page/client/index.d.ts'))).status).toBe(404);
  });

  itWith('curl')(
    'is readable with curl -N',
    async () => {
      const curl = (...args: string[]) => Program.start('curl', ['-sN', ...args]);
      const metrics = curl(sample.url('/metrics'));
      const log = curl(sample.url('/log?last=5'));
      const board = curl('-H', 'Accept: application/x-ndjson', sample.url('/board'));
      const file = curl(sample.url('/export?file=LICENSE'));
      const question = '{"stream":true,"messages":[{"role":"user","content":"What is backpressure?"}]}';
      const chat = curl('-H', 'Content-Type: application/json', '-d', question, sample.url('/v1/chat/completions'));

      await metrics.until(/event: sample\nid: .*\ndata: \{.*\}\n\n/);
      await log.until(/^\{"at":.*\}\n/);
      curl('-H', 'Content-Type: application/json', '-d', '{"name":"curl","text":"Hello"}', sample.url('/board'));
      await board.until(/\{"name":"curl","text":"Hello","at":\d+\}\n/);
      await chat.until(/[Bb]ackpressure/);
      expect(await file.ended()).toBe(0);
      expect(file.output).toBe(await readFile('LICENSE', 'utf8'));
      expect(await chat.ended()).toBe(0);
      expect(chat.output).toMatch(/data: \[DONE\]\n\n$/);
      await Promise.all([metrics, log, board].map((program) => program.stop()));
    },
    TEST_MS,
  );
});

describe.each(PLATFORMS)('%s: the message board of the sample', (platform) => {
  let sample: Sample;

  beforeAll(async () => {
    sample = await startSample({ PLATFORM: platform });
  }, TEST_MS);

  afterAll(() => sample?.program.stop(), TEST_MS);

  const board = (headers: Record<string, string> = {}) => fetch(sample.url('/board'), { headers });

  async function post(text: string, name?: string): Promise<string> {
    const response = await fetch(sample.url('/board'), postJson({ name, text }));
    expect(response.status).toBe(201);
    const { id } = (await response.json()) as { id: string };
    return id;
  }

  it('sends a posted message to all readers, with its id', async () => {
    const readers = await Promise.all([board(), board()]);
    const read = readers.map((reader) => events(reader, 1, 'message'));

    const id = await post(' Hello, <b>all</b> ', 'Ada');

    const [one, other] = await Promise.all(read);
    expect(one).toMatchObject([{ id, event: 'message' }]);
    expect(JSON.parse(one?.[0]?.data ?? '')).toEqual({
      name: 'Ada',
      text: 'Hello, <b>all</b>',
      at: expect.any(Number),
    });
    expect(other).toEqual(one);
  });

  it('sends the last 50 messages to a new client', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 51; n++) {
      ids.push(await post(`message ${n}`));
    }

    const shown = await events(await board(), 50, 'message');

    expect(shown.map(({ id }) => id)).toEqual(ids.slice(1));
    expect(JSON.parse(shown[0]?.data ?? '')).toMatchObject({ name: 'Somebody', text: 'message 1' });
  });

  it('resumes after the id in the header', async () => {
    const [first, second, third] = [await post('one'), await post('two'), await post('three')];

    const missed = await events(await board({ 'Last-Event-ID': first }), 2);

    expect(missed.map(({ id }) => id)).toEqual([second, third]);
  });

  it('sends a reset if an id does not belong to its hub', async () => {
    const newest = await post('the newest');
    const json = new Reading(await board({ 'Last-Event-ID': 'x', Accept: 'application/x-ndjson' }));

    const [reset] = await events(await board({ 'Last-Event-ID': 'x' }), 1);

    expect(reset?.event).toBe('reset');
    expect(JSON.parse(reset?.data ?? '')).toMatchObject({ reason: 'malformed' });
    expect(await json.until(/the newest/)).toMatch(/^\{"reset":\{"reason":"malformed",/);
    await json.leave();
    expect(newest).not.toBe(reset?.id);
  });

  it.each([
    ['no text', '{}', 'text is not a string'],
    ['an empty text', '{"text":" \\n"}', 'text is empty'],
    ['a text that is not a string', '{"text":["a"]}', 'text is not a string'],
    ['a text that is too long', JSON.stringify({ text: 'x'.repeat(501) }), 'text has at most 500 characters'],
    ['a name that is too long', JSON.stringify({ name: 'x'.repeat(41), text: 'x' }), 'name has at most 40 characters'],
    ['a list', '[]', 'text is not a string'],
    ['what is not JSON', '{"text":', expect.any(String)],
  ])('refuses %s', async (_, body, message) => {
    const response = await fetch(sample.url('/board'), { ...postJson(undefined), body });

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ message });
  });

  it.each(['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data'])(
    'refuses %s, because a form of another site could send it',
    async (type) => {
      const response = await fetch(sample.url('/board'), {
        method: 'POST',
        headers: { 'Content-Type': type },
        body: 'text=Hello',
      });

      expect(response.status).toBe(415);
    },
  );
});

describe.each(PLATFORMS)('%s: stopping the sample', (platform) => {
  it(
    'ends endless streams cleanly, cuts off incomplete ones, and exits',
    async () => {
      const { program, url } = await startSample({ PLATFORM: platform });
      const metrics = new Reading(await fetch(url('/metrics')));
      const log = new Reading(await fetch(url('/log')));
      const half = new Reading(await fetch(url('/export?rate=2000')));
      await Promise.all([metrics.until(/machine/), half.until(/lockfileVersion/)]);

      const stopped = program.stop();

      // Events that were published before the end may follow.
      expect(await metrics.end()).toMatch(
        /event: shutdown\nretry: \d+\ndata: \{\}\n\n(event: (sample|watching)\n(.+\n)+\n)*$/,
      );
      await log.end();
      await expect(half.end()).rejects.toThrow('terminated');
      // Nest runs its hooks, and then the signal has its default effect.
      expect(await stopped).toBe('SIGTERM');
    },
    TEST_MS,
  );
});
