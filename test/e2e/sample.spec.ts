import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EventSourceMessage, EventSourceParserStream } from 'eventsource-parser/stream';
import type { BrowserContext, Page } from 'playwright-core';
import { PLATFORMS } from '../support/app.js';
import { ChatServer } from '../support/chat-server.js';
import { launchChromium } from '../support/chromium.js';
import { buildSample, Program, type Sample, startSample } from '../support/sample.js';
import { itWith, toolPath } from '../support/tools.js';

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

async function events(response: Response, count: number): Promise<EventSourceMessage[]> {
  const found: EventSourceMessage[] = [];
  const parsed = response.body?.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const event of parsed ?? []) {
    found.push(event);
    if (found.length === count) {
      break;
    }
  }
  return found;
}

function postJson(body: unknown, accept = '*/*'): RequestInit {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: accept },
    body: JSON.stringify(body),
  };
}

beforeAll(buildSample, BUILD_MS);

describe.each(PLATFORMS)('%s: the sample', (platform) => {
  let sample: Sample;

  beforeAll(async () => {
    sample = await startSample({ PLATFORM: platform });
  }, TEST_MS);

  afterAll(() => sample?.program.stop(), TEST_MS);

  it(
    'streams the figures of the machine as events with a type and an id',
    async () => {
      const [machine, first, second] = await events(await fetch(sample.url('/metrics')), 3);

      expect(machine).toMatchObject({ event: 'machine', id: undefined });
      expect(JSON.parse(machine?.data ?? '')).toMatchObject({ node: process.version });
      expect(first).toMatchObject({ event: 'sample', id: expect.stringMatching(/-\d+$/) });
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
      const [, first, second] = await events(await fetch(sample.url('/metrics')), 3);
      const headers = { 'Last-Event-ID': first?.id ?? '' };

      const [, next] = await events(await fetch(sample.url('/metrics'), { headers }), 2);

      expect(next).toEqual(second);
    },
    TEST_MS,
  );

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
      const file = curl(sample.url('/export?file=LICENSE'));
      const chat = curl('-d', 'prompt=What is backpressure?', sample.url('/chat'));
      const sse = curl('-H', 'Accept: text/event-stream', sample.url('/chat?prompt=nginx'));

      await metrics.until(/event: sample\nid: .*\ndata: \{.*\}\n\n/);
      await log.until(/^\{"at":.*\}\n/);
      await chat.until(/[Bb]ackpressure/);
      await sse.until(/data: .*\n\ndata: /);
      expect(await file.ended()).toBe(0);
      expect(file.output).toBe(await readFile('LICENSE', 'utf8'));
      expect(await chat.ended()).toBe(0);
      await Promise.all([metrics, log, sse].map((program) => program.stop()));
    },
    TEST_MS,
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

      expect(await metrics.end()).toMatch(/retry: \d+\n\n$/);
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
  const says = (panel: string, text: RegExp) =>
    page.locator(`#${panel} .status`).filter({ hasText: text }).waitFor({ timeout: TEST_MS });

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
});
