import { on } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenAPIObject } from '@nestjs/swagger';
import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';
import type { BrowserContext, Page, WebSocketRoute } from 'playwright-core';
import { WebSocket } from 'ws';
import { PLATFORMS } from '../support/app.js';
import { ChatServer } from '../support/chat-server.js';
import { launchChromium } from '../support/chromium.js';
import { deferred } from '../support/events.js';
import { buildSample, Program, type Sample, startSample } from '../support/sample.js';
import { itWith, toolPath } from '../support/tools.js';

const POSTED = { $ref: '#/components/schemas/Posted' };
const THREE_BRING_THE_SAME = /^SSE, NDJSON, and WebSocket bring the same samples in the same order$/;
const BUILD_MS = 120_000;
const TEST_MS = 30_000;

/** Reads a body as text, as far as a test wants. */
class Reading {
  received = '';
  private readonly reader: ReadableStreamDefaultReader<string>;

  constructor(response: Response) {
    if (!response.body) {
      throw new Error('The response has no body');
    }
    this.reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  }

  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.received)) {
      const { done, value } = await this.reader.read();
      if (done) {
        throw new Error(`The body ended before ${pattern} came: ${this.received}`);
      }
      this.received += value;
    }
    return this.received;
  }

  async end(): Promise<string> {
    for (;;) {
      const { done, value } = await this.reader.read();
      if (done) {
        return this.received;
      }
      this.received += value;
    }
  }

  leave(): Promise<void> {
    return this.reader.cancel();
  }
}

/** The first events of some types, or of all. */
async function events(response: Response, count: number, ...types: string[]): Promise<EventSourceMessage[]> {
  const found: EventSourceMessage[] = [];
  const parsed = response.body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const event of parsed ?? []) {
    if (types.length === 0 || types.includes(event.event ?? '')) {
      found.push(event);
    }
    if (found.length === count) {
      break;
    }
  }
  return found;
}

/** What a page shows for each event of figures, once it has shown some. */
function figuresShown(page: Page): Promise<Record<string, string>> {
  return page.evaluate(`new Promise((resolve) => {
    const detail = document.querySelector('#metrics .machine');
    const shown = {};
    new MutationObserver(() => {
      const [, id] = /event (\\S+)$/.exec(detail.textContent);
      shown[id] = [...document.querySelectorAll('#metrics .value')].map(({ textContent }) => textContent).join();
      if (Object.keys(shown).length === 4) {
        resolve(shown);
      }
    }).observe(detail, { childList: true });
  })`);
}

function postJson(body: unknown, accept = '*/*'): RequestInit {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: accept },
    body: JSON.stringify(body),
  };
}

beforeAll(buildSample, BUILD_MS);

describe.each(PLATFORMS)('%s: the sample in development', (platform) => {
  it.each([
    ['has a console, and a link to it', 'development', 200],
    ['has neither anywhere else', 'production', 404],
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
      expect(JSON.parse(machine?.data ?? '')).toMatchObject({ node: process.version });
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
    'goes on with the figures after the Last-Event-ID',
    async () => {
      const [first, second] = await events(await fetch(sample.url('/metrics')), 2, 'sample');
      const headers = { 'Last-Event-ID': first?.id ?? '' };

      const [next] = await events(await fetch(sample.url('/metrics'), { headers }), 1, 'sample');

      expect(next).toEqual(second);
    },
    TEST_MS,
  );

  it(
    'goes on with the figures after the id in the address, unless the header has a newer one',
    async () => {
      const [first, second, third] = await events(await fetch(sample.url('/metrics')), 3, 'sample');
      const address = sample.url(`/metrics?after=${first?.id}`);
      const headers = { 'Last-Event-ID': second?.id ?? '' };

      const [byAddress] = await events(await fetch(address), 1, 'sample');
      const [byHeader] = await events(await fetch(address, { headers }), 1, 'sample');

      expect(byAddress).toEqual(second);
      expect(byHeader).toEqual(third);
    },
    TEST_MS,
  );

  it(
    'goes on with the figures over a WebSocket after the id of its subprotocol',
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
    'sends all who watch the same figures, and how many they are',
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

  it('describes its streams in an OpenAPI document, which a page shows', async () => {
    const { paths, components } = (await (await fetch(sample.url('/api-json'))).json()) as OpenAPIObject;
    const shown = await fetch(sample.url('/api'));

    expect(Object.keys(paths).sort()).toEqual(['/board', '/chat', '/export', '/log', '/metrics']);
    expect(paths['/board']?.get).toMatchObject({
      parameters: [{ name: 'after' }, { name: 'Last-Event-ID', in: 'header' }],
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

  it('sends the figures as NDJSON, too', async () => {
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

  it('writes down that a client left a stream', async () => {
    const log = new Reading(await fetch(sample.url('/log?last=0')));
    const left = new Reading(await fetch(sample.url('/export?rate=1024')));
    await left.until(/./);

    await left.leave();

    expect(await log.until(/rate=1024.*\n/)).toMatch(/"complete":false/);
    await log.leave();
  });

  it('exports a file, all of it, and tells how long it is', async () => {
    const response = await fetch(sample.url('/export'));

    expect(response.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    const content = await readFile('package-lock.json', 'utf8');
    expect(response.headers.get('x-export-bytes')).toBe(String(Buffer.byteLength(content)));
    expect(await response.text()).toBe(content);
  });

  it('exports at the pace that was asked for', async () => {
    const response = await fetch(sample.url('/export?file=LICENSE&rate=4000'));

    expect(await response.text()).toBe(await readFile('LICENSE', 'utf8'));
  });

  it.each([
    '/export?file=../package.json',
    '/export?file=/etc/passwd',
    '/export?rate=3',
    '/export?rate=fast',
    '/log?last=few',
    '/chat',
    '/chat?prompt=+',
    '/chat?prompt=a&prompt=b',
    '/board?after=a&after=b',
    '/metrics?after=a&after=b',
  ])('refuses %s with a reason', async (path) => {
    const response = await fetch(sample.url(path));

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ message: expect.any(String) });
  });

  it('refuses a question that is too long', async () => {
    const response = await fetch(sample.url('/chat'), postJson({ prompt: 'x'.repeat(2_001) }));

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ message: 'prompt has at most 2000 characters' });
  });

  it(
    'answers in tokens, about what was asked, in the format of the client',
    async () => {
      const response = await fetch(
        sample.url('/chat'),
        postJson({ prompt: 'What is backpressure?' }, 'application/jsonl'),
      );

      expect(response.status).toBe(200);
      expect(response.headers.get('x-chat-model')).toBe('embedded 4-gram');
      const tokens = (await response.text()).split('\n').filter((line) => line !== '');
      expect(tokens.length).toBeGreaterThan(10);
      expect(tokens.map((token) => JSON.parse(token)).join('')).toMatch(/[Bb]ackpressure/);
    },
    TEST_MS,
  );

  it('serves the page and its parts, and nothing else', async () => {
    const page = await fetch(sample.url('/'));

    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(await page.text()).toContain('/page/main.js');
    expect((await fetch(sample.url('/page/main.js'))).headers.get('content-type')).toMatch(/^text\/javascript/);
    expect((await fetch(sample.url('/page/..%2Fpage.controller.js'))).status).toBe(404);
  });

  itWith('curl')(
    'is readable with curl -N',
    async () => {
      const curl = (...args: string[]) => Program.start('curl', ['-sN', ...args]);
      const metrics = curl(sample.url('/metrics'));
      const log = curl(sample.url('/log?last=5'));
      const board = curl('-H', 'Accept: application/x-ndjson', sample.url('/board'));
      const file = curl(sample.url('/export?file=LICENSE'));
      const chat = curl('-d', 'prompt=What is backpressure?', sample.url('/chat'));
      const sse = curl('-H', 'Accept: text/event-stream', sample.url('/chat?prompt=nginx'));

      await metrics.until(/event: sample\nid: .*\ndata: \{.*\}\n\n/);
      await log.until(/^\{"at":.*\}\n/);
      curl('-H', 'Content-Type: application/json', '-d', '{"name":"curl","text":"Hello"}', sample.url('/board'));
      await board.until(/\{"name":"curl","text":"Hello","at":\d+\}\n/);
      await chat.until(/[Bb]ackpressure/);
      await sse.until(/data: .*\n\ndata: /);
      expect(await file.ended()).toBe(0);
      expect(file.output).toBe(await readFile('LICENSE', 'utf8'));
      expect(await chat.ended()).toBe(0);
      await Promise.all([metrics, log, board, sse].map((program) => program.stop()));
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

  const board = (query = '', headers: Record<string, string> = {}) => fetch(sample.url(`/board${query}`), { headers });

  async function post(text: string, name?: string): Promise<string> {
    const response = await fetch(sample.url('/board'), postJson({ name, text }));
    expect(response.status).toBe(201);
    const { id } = (await response.json()) as { id: string };
    return id;
  }

  it('sends everybody what is posted, with the id it was given', async () => {
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

  it('shows a newcomer the last 50 messages', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 51; n++) {
      ids.push(await post(`message ${n}`));
    }

    const shown = await events(await board(), 50, 'message');

    expect(shown.map(({ id }) => id)).toEqual(ids.slice(1));
    expect(JSON.parse(shown[0]?.data ?? '')).toMatchObject({ name: 'Somebody', text: 'message 1' });
  });

  it('goes on after the id in the address, unless the header has a newer one', async () => {
    const [first, second, third] = [await post('one'), await post('two'), await post('three')];

    const byAddress = await events(await board(`?after=${first}`), 2);
    const byHeader = await events(await board(`?after=${first}`, { 'Last-Event-ID': second }), 1);

    expect(byAddress.map(({ id }) => id)).toEqual([second, third]);
    expect(byHeader.map(({ id }) => id)).toEqual([third]);
  });

  it('says so when an id is none of its own', async () => {
    const newest = await post('the newest');
    const json = new Reading(await board('?after=x', { Accept: 'application/x-ndjson' }));

    const [reset] = await events(await board('?after=x'), 1);

    expect(reset?.event).toBe('reset');
    expect(JSON.parse(reset?.data ?? '')).toMatchObject({ reason: 'malformed' });
    expect(await json.until(/the newest/)).toMatch(/^\{"reset":\{"reason":"malformed",/);
    await json.leave();
    expect(newest).not.toBe(reset?.id);
  });

  it.each([
    ['no text', '{}', 'text is not a string'],
    ['an empty text', '{"text":" \\n"}', 'text is empty'],
    ['a text that is none', '{"text":["a"]}', 'text is not a string'],
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
    'refuses %s, which a form of another site can send',
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
    'ends what has no end well, cuts off what is not whole, and is gone',
    async () => {
      const { program, url } = await startSample({ PLATFORM: platform });
      const metrics = new Reading(await fetch(url('/metrics')));
      const log = new Reading(await fetch(url('/log')));
      const half = new Reading(await fetch(url('/export?rate=2000')));
      await Promise.all([metrics.until(/machine/), half.until(/lockfileVersion/)]);

      const stopped = program.stop();

      expect(await metrics.end()).toMatch(/event: shutdown\nretry: \d+\ndata: \{\}\n\n$/);
      await log.end();
      await expect(half.end()).rejects.toThrow('terminated');
      // Nest runs its hooks and then lets the signal do what it always does.
      expect(await stopped).toBe('SIGTERM');
    },
    TEST_MS,
  );
});

describe.each(PLATFORMS)('%s: the chat of the sample with an OpenAI-compatible server', (platform) => {
  const upstream = new ChatServer();
  let sample: Sample;
  let asked = 0;

  beforeAll(async () => {
    const OPENAI_BASE_URL = await upstream.listen();
    sample = await startSample({ PLATFORM: platform, OPENAI_BASE_URL, OPENAI_API_KEY: 'secret', OPENAI_MODEL: 'm-1' });
  }, TEST_MS);

  afterAll(async () => {
    await sample?.program.stop();
    await upstream.close();
  }, TEST_MS);

  async function ask() {
    const answer = fetch(sample.url('/chat'), postJson({ prompt: 'Hello?' }));
    const requests = await upstream.requests.count(++asked);
    const request = requests[asked - 1];
    if (!request) {
      throw new Error('There was no request');
    }
    return { answer, request };
  }

  it('passes the question on, and the tokens back as they come', async () => {
    const { answer, request } = await ask();
    expect(request).toMatchObject({ path: '/v1/chat/completions', authorization: 'Bearer secret' });
    expect(request.body).toEqual({ model: 'm-1', stream: true, messages: [{ role: 'user', content: 'Hello?' }] });

    request.response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    request.response.write(ChatServer.token('Good '));
    const response = await answer;
    const reading = new Reading(response);
    expect(response.headers.get('x-chat-model')).toBe('m-1');
    expect(await reading.until(/ /)).toBe('Good ');
    request.response.end(`${ChatServer.token('morning')}data: [DONE]\n\n`);

    expect(await reading.end()).toBe('Good morning');
  });

  it('tells the other server to stop when the client leaves', async () => {
    const { answer, request } = await ask();
    request.response.write(ChatServer.token('Once '));
    const reading = new Reading(await answer);
    await reading.until(/Once/);

    await reading.leave();

    expect(await upstream.disconnects.count(1)).toEqual(['/v1/chat/completions']);
  });

  it('answers with a status when the other server refuses', async () => {
    const { answer, request } = await ask();
    request.response.writeHead(401).end('no such key');

    const response = await answer;

    expect(response.status).toBe(502);
    expect(await response.json()).toMatchObject({ message: 'The chat server answered 401' });
    await sample.program.until(/WARN.*answered 401: no such key/);
  });

  it('cuts its answer off when the other server does', async () => {
    const { answer, request } = await ask();
    request.response.write(ChatServer.token('Half a '));
    const reading = new Reading(await answer);
    await reading.until(/Half a /);

    request.response.end();

    await expect(reading.end()).rejects.toThrow('terminated');
    await sample.program.until(/without \[DONE\]/);
  });
});

describe('the page of the sample', () => {
  const itInChromium = itWith('chromium');
  let profile: string;
  let browser: BrowserContext | undefined;
  let sample: Sample;
  let page: Page;

  /** Waits until a panel says so. */
  const says = (panel: string, text: RegExp, on = page) =>
    on.locator(`#${panel} .status`).filter({ hasText: text }).waitFor({ timeout: TEST_MS });

  const startLog = () => page.locator('#log .toggle').click();

  /** Another window of the same browser. */
  async function openAnother(): Promise<Page> {
    const other = await page.context().newPage();
    await other.goto(sample.url('/'));
    return other;
  }

  /** Sends a message with the form. */
  async function write(text: string, on = page): Promise<void> {
    await on.getByLabel('Your message').fill(text);
    await on.getByRole('button', { name: 'Send' }).click();
  }

  const post = (text: string) => fetch(sample.url('/board'), postJson({ text }));

  /** All that the board shows, once it shows this. */
  async function shownWith(text: string, on = page): Promise<string[]> {
    await on.locator('#board li', { hasText: text }).waitFor({ timeout: TEST_MS });
    return on.locator('#board li .text, #board li.note').allTextContents();
  }

  /** Away from the page, and back in the same tab: a reload that takes as long as a test wants. */
  async function away(meanwhile: () => Promise<unknown>): Promise<void> {
    await page.goto('about:blank');
    await meanwhile();
    await page.goto(sample.url('/'));
  }

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    if (executablePath === undefined) {
      return;
    }
    profile = await mkdtemp(join(tmpdir(), 'sample-page-'));
    browser = await launchChromium(executablePath, profile);
  }, TEST_MS);

  afterAll(async () => {
    if (browser) {
      await browser.close();
      await rm(profile, { recursive: true, force: true });
    }
  }, TEST_MS);

  beforeEach(async () => {
    if (browser) {
      sample = await startSample();
      page = await browser.newPage();
      await page.goto(sample.url('/'));
    }
  }, TEST_MS);

  afterEach(async () => {
    await page?.close();
    await sample?.program.stop('SIGKILL');
  }, TEST_MS);

  itInChromium(
    'shows the figures live',
    async () => {
      await says('metrics', /^Live$/);
      // A curve of three samples is two lines.
      await page
        .locator('#metrics .curve')
        .first()
        .and(page.locator('xpath=//*[contains(substring-after(@d, "L"), "L")]'))
        .waitFor({ state: 'attached' });

      expect(await page.locator('#metrics .value').allTextContents()).toEqual([
        expect.stringMatching(/^[\d.]+ %/),
        expect.stringMatching(/^[\d.]+ %/),
        expect.stringMatching(/^[\d.]+ ms/),
        expect.stringMatching(/^[\d.]+ MB/),
      ]);
      await page.locator('#metrics .machine', { hasText: '2 streams open' }).waitFor();
      await page.locator('#metrics .toggle').click();
      await says('metrics', /^Stopped by you$/);
    },
    TEST_MS,
  );

  itInChromium(
    'shows a request in the log when it is over',
    async () => {
      await startLog();
      await says('log', /^Live$/);

      await page.getByRole('button', { name: 'Make a request' }).click();

      await page.locator('#log td', { hasText: 'HEAD /' }).waitFor();
    },
    TEST_MS,
  );

  itInChromium(
    'shows an export, and that it ended well or was stopped',
    async () => {
      await page.locator('#export-file').selectOption('LICENSE');
      await page.locator('#export-rate').selectOption('');
      await page.locator('#export .toggle').click();
      await says('export', /^Ended well: all 1.1 kB came$/);
      expect(await page.locator('.preview').textContent()).toContain('WITHOUT WARRANTY OF ANY KIND');

      await page.locator('#export-file').selectOption('package-lock.json');
      await page.locator('#export-rate').selectOption('20000');
      await page.locator('#export .toggle').click();
      await page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();
      await page.locator('#export .toggle').click();

      await says('export', /^Stopped by you, after \d.* of \d.* kB$/);
    },
    TEST_MS,
  );

  itInChromium(
    'shows the tokens of an answer, and stops it',
    async () => {
      await startLog();
      await page.getByRole('button', { name: 'Ask' }).click();
      await says('chat', /^Ended well: \d+ tokens of embedded 4-gram/);
      expect(await page.locator('#chat-answer').textContent()).toMatch(/backpressure/i);

      await page.getByRole('button', { name: 'Ask' }).click();
      await page.locator('#chat-answer', { hasText: /\w/ }).waitFor();
      await page.locator('#chat-stop').click();

      await says('chat', /^Stopped by you$/);
      await page.locator('#log td.cut', { hasText: '200 unfinished' }).waitFor();
    },
    TEST_MS,
  );

  itInChromium(
    'says that the server is gone, what that did to each stream, and that it is back',
    async () => {
      await startLog();
      await Promise.all([says('metrics', /^Live$/), says('log', /^Live$/)]);
      await page.locator('#export .toggle').click();
      await page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();

      await sample.program.stop('SIGKILL');

      await says('export', /^Failed: the connection broke before the end, after .* of /);
      await says('metrics', /^Connection lost, .*reconnecting…$/);
      await says('log', /^Failed: .*Reconnecting in \d s…$/);
      await page.getByRole('button', { name: 'Ask' }).click();
      await says('chat', /^Failed: the server cannot be reached$/);

      sample = await startSample({ PORT: String(sample.port) });

      await Promise.all([says('metrics', /^Live again since /), says('log', /^Live again since /)]);
    },
    TEST_MS,
  );

  itInChromium(
    'says that the server ended the streams',
    async () => {
      await startLog();
      await Promise.all([says('metrics', /^Live$/), says('log', /^Live$/)]);
      await page.locator('#export .toggle').click();
      await page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();

      const [ended] = await Promise.all([
        sample.program.stop(),
        says('log', /^The server ended the stream, /),
        says('metrics', /^Connection lost, /),
        says('export', /^Failed: the connection broke before the end/),
      ]);

      expect(ended).toBe('SIGTERM');
    },
    TEST_MS,
  );

  itInChromium(
    'goes on trying when the server refuses the stream',
    async () => {
      await page.route('**/metrics', (route) => route.fulfill({ status: 503 }));
      await page.reload();
      await says('metrics', /^The server refused the stream, .*Trying again in 3 s…$/);

      await page.unroute('**/metrics');

      await says('metrics', /^Live again since /);
    },
    TEST_MS,
  );

  itInChromium(
    'shows all the same figures, by the same events, and how many are watching',
    async () => {
      const other = await openAnother();
      await Promise.all([page, other].map((each) => each.getByText('2 are watching').waitFor()));
      const [one, two] = await Promise.all([page, other].map(figuresShown));

      const first = Object.keys(one ?? {}).find((id) => two?.[id] !== undefined);
      const common = (figures: Record<string, string> = {}) => {
        const ids = Object.keys(figures);
        return ids.slice(ids.indexOf(first ?? ''), ids.indexOf(first ?? '') + 2).map((id) => [id, figures[id]]);
      };
      expect(first).toMatch(/^[\w-]{4}\.\w+\.\w+$/);
      expect(common(two)).toHaveLength(2);
      expect(common(two)).toEqual(common(one));

      await other.close();
      await page.getByText('1 is watching').waitFor();
    },
    TEST_MS,
  );

  /** What two protocols show of the same time, once both have shown so many samples. */
  async function samplesOf(one: string, other: string, count: number): Promise<readonly [string[], string[]]> {
    for (const lane of [one, other]) {
      await page
        .locator(`#${lane} .newest li`)
        .nth(count - 1)
        .waitFor({ timeout: TEST_MS });
    }
    // Both at once: one second later they would show others.
    const [ones = [], others = []] = await page.evaluate<string[][]>(
      `${JSON.stringify([one, other])}.map((lane) =>
        [...document.querySelectorAll('#' + lane + ' .newest li')].map(({ textContent }) => textContent))`,
    );
    return [ones.filter((sample) => others.includes(sample)), others.filter((sample) => ones.includes(sample))];
  }

  const wentOn = (lane: string, how: RegExp) =>
    page.locator(`#${lane} .went-on`).filter({ hasText: how }).waitFor({ timeout: TEST_MS });

  const switchOf = (name: string) => page.getByRole('switch', { name });

  /** Answers the WebSockets of the page, which is loaded anew. */
  async function answerSockets(answer: (socket: WebSocketRoute) => unknown): Promise<void> {
    await page.routeWebSocket('**/metrics', answer);
    await page.reload();
  }

  itInChromium(
    'shows one stream over several protocols, and that they bring the same',
    async () => {
      const controller = await readFile('sample/metrics/metrics.controller.ts', 'utf8');
      expect(controller).toContain(await page.locator('#protocols code').first().textContent());
      await says('protocols', /^All are switched off$/);

      await page.locator('#protocols .toggle').first().click();

      await says('protocols', THREE_BRING_THE_SAME);
      for (const other of ['ndjson', 'websocket']) {
        const [sse, others] = await samplesOf('sse', other, 3);
        expect(sse.length).toBeGreaterThanOrEqual(2);
        expect(others).toEqual(sse);
      }
      const id = expect.stringMatching(/^[\w-]{4}\.\w+\.\w+$/);
      expect(await page.locator('#protocols .id').allTextContents()).toEqual([id, 'none', id]);
      expect(await page.locator('#protocols .bytes').allTextContents()).toEqual([
        expect.stringMatching(/^[\d.]+ k?B$/),
        expect.stringMatching(/^[\d.]+ k?B$/),
        expect.stringMatching(/^[\d.]+ k?B$/),
      ]);
      await page.locator('#protocols .toggle').first().click();
      await says('protocols', /^All are switched off$/);
    },
    TEST_MS,
  );

  itInChromium(
    'goes on with each protocol where it was switched off, in its own way',
    async () => {
      const lanes = ['sse', 'ndjson', 'websocket'];
      const offered: unknown[] = [];
      const network = await page.context().newCDPSession(page);
      await network.send('Network.enable');
      network.on('Network.webSocketWillSendHandshakeRequest', ({ request }) =>
        offered.push(request.headers['Sec-WebSocket-Protocol']),
      );
      await switchOf('SSE').click();
      await switchOf('NDJSON').press('Space');
      await switchOf('WebSocket').click();
      await says('protocols', THREE_BRING_THE_SAME);
      await switchOf('SSE').press('Space');
      await switchOf('NDJSON').click();
      await switchOf('WebSocket').press('Space');
      await Promise.all(lanes.map((lane) => says(lane, /^Stopped by you$/)));
      const [afterSse, , afterWebSocket] = await page.locator('#protocols .id').allTextContents();
      await figuresShown(page);
      const resumed = page.waitForRequest(/\/metrics\?after=/);

      await switchOf('SSE').click();
      await switchOf('NDJSON').click();
      expect(await switchOf('WebSocket').getAttribute('aria-checked')).toBe('false');
      await switchOf('WebSocket').click();

      expect(new URL((await resumed).url()).searchParams.get('after')).toBe(afterSse);
      await wentOn('sse', /^#\d+ after #\d+, nothing missing$/);
      await wentOn('ndjson', /^#\d+ after #\d+, nothing missing, \d+ known ones left out$/);
      await wentOn('websocket', /^#\d+ after #\d+, nothing missing$/);
      expect(offered).toEqual(['events.v1+json, last-event-id.', `events.v1+json, last-event-id.${afterWebSocket}`]);
      await says('protocols', THREE_BRING_THE_SAME);
      expect(await switchOf('WebSocket').getAttribute('aria-checked')).toBe('true');
    },
    TEST_MS,
  );

  itInChromium(
    'goes on with a WebSocket that the server closed, by its subprotocol',
    async () => {
      const offered: string[][] = [];
      const seen = deferred();
      await answerSockets(async (socket) => {
        const n = offered.push(socket.protocols());
        if (n > 1) {
          await seen.promise;
        }
        const data = { n, at: n, cpu: { machine: n } };
        socket.send(JSON.stringify({ type: 'machine', data: {} }));
        socket.send(JSON.stringify({ id: `id-${n}`, type: 'sample', data }));
        if (n === 1) {
          await socket.close({ code: 1001, reason: 'shutdown' });
        }
      });

      await switchOf('WebSocket').click();

      await says('websocket', /^The server closed the connection \(1001, shutdown\), .*Reconnecting in 1 s…$/);
      seen.resolve();
      await says('websocket', /^Live again since /);
      await wentOn('websocket', /^#2 after #1, nothing missing$/);
      expect(offered).toEqual([
        ['events.v1+json', 'last-event-id.'],
        ['events.v1+json', 'last-event-id.id-1'],
      ]);
      expect(await page.locator('#websocket .id').textContent()).toBe('id-2');
    },
    TEST_MS,
  );

  itInChromium(
    'says what a protocol tells of loss, what is missing, and that what it brings is not the same',
    async () => {
      const [one] = await events(await fetch(sample.url('/metrics')), 1, 'sample');
      const data = JSON.parse(one?.data ?? '');
      const messages = [
        { type: 'sample', data: { ...data, n: data.n - 2, at: data.at - 2 } },
        { type: 'lagged', data: { dropped: 1 } },
        { type: 'sample', data: { ...data, streams: 99 } },
      ];
      await answerSockets((socket) => {
        for (const message of messages) {
          socket.send(JSON.stringify(message));
        }
      });

      await switchOf('WebSocket').click();
      await says('websocket', /^Live\. 1 event was left out: the page was too slow\.$/);
      await wentOn('websocket', new RegExp(`^#${data.n} after #${data.n - 2}, 1 missing$`));
      await switchOf('SSE').click();

      await says('protocols', /^SSE and WebSocket do not bring the same samples$/);
    },
    TEST_MS,
  );

  itInChromium(
    'says over each protocol that the server was restarted',
    async () => {
      await page.locator('#protocols .toggle').first().click();
      await says('protocols', THREE_BRING_THE_SAME);

      await sample.program.stop('SIGKILL');
      await Promise.all([
        says('sse', /^Connection lost, /),
        says('ndjson', /^Failed: .*Reconnecting in \d s…$/),
        says('websocket', /^Failed: .*Reconnecting in \d s…$/),
      ]);
      sample = await startSample({ PORT: String(sample.port) });

      const told = /^Live again since .*\. The server was restarted: what was measured meanwhile, /;
      await Promise.all([says('sse', told), says('websocket', told)]);
      await Promise.all(['sse', 'ndjson', 'websocket'].map((lane) => wentOn(lane, /restarted$/)));
      await says('protocols', THREE_BRING_THE_SAME);
    },
    TEST_MS,
  );

  itInChromium(
    'says that no WebSocket could be opened, and compares the others',
    async () => {
      // To an address where no stream is: the server refuses.
      await page.addInitScript(`window.WebSocket = class extends WebSocket {
        constructor(url, protocol) { super(url + '/nowhere', protocol); }
      }`);
      await page.reload();

      await page.locator('#protocols .toggle').first().click();

      await says('websocket', /^Failed: no WebSocket could be opened, .*Reconnecting in \d s…$/);
      await says('protocols', /^SSE and NDJSON bring the same samples in the same order$/);
    },
    TEST_MS,
  );

  itInChromium(
    'shows a message to everybody and to who comes later, as the text that it is',
    async () => {
      const text = '<img src=x onerror="document.title=1"> & <b>more</b>';
      const other = await openAnother();
      await page.getByLabel('Your name').fill('<i>Ada</i>');
      await write(text);

      const newcomer = await openAnother();

      for (const each of [page, other, newcomer]) {
        expect(await shownWith('<img', each)).toEqual([text]);
        expect(await each.locator('#board .name').allTextContents()).toEqual(['<i>Ada</i>']);
        expect(await each.locator('#board li :is(img, b, i)').count()).toBe(0);
        expect(await each.title()).toBe('nestjs-streaming: sample');
      }
      expect(await page.getByLabel('Your message').inputValue()).toBe('');
      await Promise.all([other.close(), newcomer.close()]);
    },
    TEST_MS,
  );

  itInChromium(
    'says why a message was not sent, and keeps it',
    async () => {
      await write('  ');

      await page.getByText('Not sent: the server answered 400: text is empty').waitFor();

      expect(await page.getByLabel('Your message').inputValue()).toBe('  ');
    },
    TEST_MS,
  );

  itInChromium(
    'goes on with the board after a reload, without loss or repetition',
    async () => {
      const other = await openAnother();
      await page.getByLabel('Your name').fill('Ada');
      await write('first');
      expect(await shownWith('first')).toEqual(['first']);
      const resumed = page.waitForRequest(/\/board\?after=\S+$/);

      await away(() => write('while away', other));
      await resumed;
      expect(await shownWith('while away')).toEqual(['first', 'while away']);
      await page.reload();
      await says('board', /^Live$/);
      await write('last', other);

      expect(await shownWith('last')).toEqual(['first', 'while away', 'last']);
      expect(await shownWith('last', other)).toEqual(['first', 'while away', 'last']);
      expect(await page.getByLabel('Your name').inputValue()).toBe('Ada');
      await other.close();
    },
    TEST_MS,
  );

  itInChromium(
    'says what a restart of the server means, and goes on with what there is',
    async () => {
      const meaning = 'The server was restarted: what was written meanwhile, or kept before, is not known here.';
      await says('metrics', /^Live$/);
      await write('before');
      await shownWith('before');

      await sample.program.stop('SIGKILL');
      await says('board', /^Connection lost, /);
      sample = await startSample({ PORT: String(sample.port) });
      await post('the first of the new server');

      await Promise.all([
        says('metrics', /^Live again since .*\. The server was restarted: what was measured meanwhile, /),
        says('board', /^Live again since /),
      ]);
      const expected = ['before', meaning, 'the first of the new server'];
      expect(await shownWith('the first')).toEqual(expected);

      await away(async () => {
        await sample.program.stop('SIGKILL');
        sample = await startSample({ PORT: String(sample.port) });
      });
      await says('board', /^Live$/);
      await write('after both');
      expect(await shownWith('after both')).toEqual([...expected, meaning, 'after both']);
    },
    TEST_MS,
  );

  itInChromium(
    'says that something was left out for a page that was too slow',
    async () => {
      const answer = (path: string, dropped: number) =>
        page.route(path, (route) =>
          route.fulfill({ contentType: 'text/event-stream', body: `event: lagged\ndata: {"dropped":${dropped}}\n\n` }),
        );
      await Promise.all([answer(sample.url('/board'), 3), answer(sample.url('/metrics'), 1)]);
      const told = page.evaluate(`new Promise((resolve) => {
        const line = document.querySelector('#metrics .status');
        const told = () => / left out/.test(line.textContent) && resolve(line.textContent);
        new MutationObserver(told).observe(line, { childList: true });
        document.querySelector('#metrics .toggle').click();
        document.querySelector('#metrics .toggle').click();
      })`);

      expect(await told).toMatch(/^Live\. 1 event was left out: the page was too slow\.$/);
      await page.reload();
      expect(await shownWith('left out')).toContain('3 messages were left out: the page was too slow.');
    },
    TEST_MS,
  );
});
