import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { build } from 'esbuild';
import type { BrowserContext, Page } from 'playwright-core';
import { PLATFORMS } from '../support/app.js';
import { type ChatRequest, ChatServer } from '../support/chat-server.js';
import { launchChromium } from '../support/chromium.js';
import { blockNamed, ROOT } from '../support/documentation.js';
import { RedisServer } from '../support/redis-server.js';
import { buildSample, type Sample, startSample } from '../support/sample.js';
import { describeWith, toolPath } from '../support/tools.js';

const BUILD_MS = 120_000;
const TEST_MS = 60_000;
/** Each test leaves here what its tabs show at its end, also if it has failed. */
const SCREENSHOTS = join(ROOT, 'test/output/use-chat');
/** The page of the guide, for the chat that its address names. */
const ENTRY = `import { createElement, StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { ChatPage } from './web/chat.js';
const id = new URLSearchParams(location.search).get('chat');
createRoot(document.body).render(createElement(StrictMode, null, createElement(ChatPage, { id })));`;

/** The page with the component of the guide, as a bundler of an application makes it. */
async function bundled(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'use-chat-'));
  try {
    const { name = '', text } = blockNamed('docs/ai-chat.md', 'web/chat.tsx');
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), text);
    const { outputFiles } = await build({
      stdin: { contents: ENTRY, resolveDir: folder, loader: 'ts' },
      bundle: true,
      write: false,
      jsx: 'automatic',
      nodePaths: [join(ROOT, 'node_modules')],
      define: { 'process.env.NODE_ENV': '"development"' },
    });
    return outputFiles[0]?.text ?? '';
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describeWith('chromium')('useChat of @ai-sdk/react with the chat of the sample', () => {
  let upstream: ChatServer;
  let asked: number;
  let profile: string;
  let browser: BrowserContext;
  let chat: string;
  let chats = 0;
  /** All processes of a test. */
  let samples: Sample[];

  beforeAll(buildSample, BUILD_MS);

  beforeAll(async () => {
    const script = await bundled();
    profile = await mkdtemp(join(tmpdir(), 'use-chat-profile-'));
    browser = await launchChromium(toolPath('chromium') ?? '', profile);
    const body = '<!doctype html><title>Chat</title><body></body><script src="/use-chat.js"></script>';
    await browser.route('**/use-chat?*', (route) => route.fulfill({ contentType: 'text/html; charset=utf-8', body }));
    await browser.route('**/use-chat.js', (route) => route.fulfill({ contentType: 'text/javascript', body: script }));
  }, TEST_MS);

  afterAll(async () => {
    await browser?.close();
    await rm(profile, { recursive: true, force: true });
  }, TEST_MS);

  beforeEach(async () => {
    asked = 0;
    samples = [];
    chat = `use-chat-${++chats}`;
    upstream = new ChatServer();
    await upstream.listen();
  });

  afterEach(async () => {
    await photograph();
    await Promise.all(browser.pages().map((page) => page.close()));
    await Promise.all(samples.map(({ program }) => program.stop('SIGKILL')));
    await upstream.close();
  }, TEST_MS);

  async function start(env: Record<string, string>): Promise<Sample> {
    const sample = await startSample({ OPENAI_BASE_URL: upstream.url, OPENAI_MODEL: 'm-1', ...env });
    samples.push(sample);
    return sample;
  }

  async function open(sample: Sample): Promise<Page> {
    const page = await browser.newPage();
    await page.goto(sample.url(`/use-chat?chat=${chat}`));
    return page;
  }

  async function photograph(): Promise<void> {
    const name = expect.getState().currentTestName?.replaceAll(/[^a-z0-9]+/gi, '-') ?? '';
    const tabs = browser.pages().filter((page) => page.url().includes('use-chat'));
    await Promise.all(
      tabs.map((page, index) => page.screenshot({ path: join(SCREENSHOTS, `${name}-tab-${index + 1}.png`) })),
    );
  }

  const shows = (page: Page, text: string) =>
    page.locator('p.assistant').filter({ hasText: text }).waitFor({ timeout: TEST_MS });
  const says = (page: Page, text: string | RegExp) =>
    page.getByRole('status').filter({ hasText: text }).waitFor({ timeout: TEST_MS });
  const messages = (page: Page) => page.locator('p.user, p.assistant').allTextContents();
  const stop = (page: Page) => page.getByRole('button', { name: 'Stop' }).click();

  /** Types a question, and resolves to the request for the answer. */
  async function ask(page: Page, question: string): Promise<ChatRequest['response']> {
    await page.getByLabel('Question').fill(question);
    await page.getByRole('button', { name: 'Ask' }).click();
    const requests = await upstream.requests.count(++asked);
    const { response } = requests[asked - 1] as ChatRequest;
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    return response;
  }

  describe.each(PLATFORMS)('%s', (PLATFORM) => {
    it(
      'an answer goes on after a reload in the middle of it, and is complete after another one',
      async () => {
        const page = await open(await start({ PLATFORM }));
        await says(page, 'ready');
        const answer = await ask(page, 'Who goes on?');
        answer.write(ChatServer.token('The '));
        await shows(page, 'The ');

        await page.reload();
        await shows(page, 'The ');
        answer.write(ChatServer.token('answer '));
        await shows(page, 'The answer');
        expect(await messages(page)).toEqual(['Who goes on?', 'The answer ']);
        answer.end(`${ChatServer.token('does')}data: [DONE]\n\n`);
        await says(page, 'ready');
        await page.reload();

        await shows(page, 'The answer does');
        expect(await messages(page)).toEqual(['Who goes on?', 'The answer does']);
        expect(upstream.requests.seen).toHaveLength(1);
      },
      TEST_MS,
    );

    it(
      'an answer is live in two tabs, and is stopped in both by the button of one',
      async () => {
        const sample = await start({ PLATFORM });
        const page = await open(sample);
        const answer = await ask(page, 'Who sees it?');
        answer.write(ChatServer.token('Both '));
        await shows(page, 'Both ');
        const other = await open(sample);
        await shows(other, 'Both ');
        answer.write(ChatServer.token('do'));
        await Promise.all([page, other].map((each) => shows(each, 'Both do')));

        await stop(other);

        await Promise.all([page, other].map((each) => says(each, 'ready')));
        expect(await upstream.disconnects.count(1)).toEqual(['/v1/chat/completions']);
        for (const each of [page, other]) {
          expect(await messages(each)).toEqual(['Who sees it?', 'Both do']);
        }
        await page.reload();
        await shows(page, 'Both do');
      },
      TEST_MS,
    );

    it(
      'a tab shows why a question was refused or an answer failed, and can ask again',
      async () => {
        const page = await open(await start({ PLATFORM }));
        await page.getByLabel('Question').fill('  ');
        await page.getByRole('button', { name: 'Ask' }).click();
        await says(page, /^The question is empty\. Ask again\.$/);

        (await ask(page, 'Is it there?')).end(ChatServer.token('Half'));
        await says(page, /^Internal server error\. Ask again\.$/);

        (await ask(page, 'Is it there now?')).end(`${ChatServer.token('Yes')}data: [DONE]\n\n`);
        await says(page, 'ready');
        await shows(page, 'Yes');
      },
      TEST_MS,
    );
  });

  describeWith('redis-server')('two processes with one Redis', () => {
    let redis: RedisServer;
    let one: Sample;
    let other: Sample;

    beforeEach(async () => {
      redis = await RedisServer.start();
      [one, other] = await Promise.all([
        start({ PLATFORM: 'express', REDIS_URL: redis.url }),
        start({ PLATFORM: 'fastify', REDIS_URL: redis.url }),
      ]);
    }, TEST_MS);

    afterEach(() => redis?.stop());

    it(
      'an answer goes on after a reload that reaches the other process, and is stopped there',
      async () => {
        const page = await open(one);
        const answer = await ask(page, 'Where are you?');
        answer.write(ChatServer.token('Here '));
        await shows(page, 'Here ');

        await page.goto(other.url(`/use-chat?chat=${chat}`));
        await shows(page, 'Here ');
        answer.write(ChatServer.token('and there'));
        await shows(page, 'Here and there');
        expect(await messages(page)).toEqual(['Where are you?', 'Here and there']);
        await stop(page);

        await says(page, 'ready');
        expect(await upstream.disconnects.count(1)).toEqual(['/v1/chat/completions']);
      },
      TEST_MS,
    );

    it(
      'two tabs say that an answer was lost whose process was killed, and the one whose process is there can ask again',
      async () => {
        const page = await open(one);
        const answer = await ask(page, 'Will you stay?');
        answer.write(ChatServer.token('No'));
        await shows(page, 'No');
        const staying = await open(other);
        await shows(staying, 'No');

        await one.program.stop('SIGKILL');

        await says(page, /network error. Ask again\.$/i);
        await says(staying, /^The run was lost with the process that produced it: start it again\. Ask again\.$/);
        (await ask(staying, 'And now?')).end(`${ChatServer.token('Yes')}data: [DONE]\n\n`);
        await says(staying, 'ready');
        await shows(staying, 'Yes');
        await page.goto(other.url(`/use-chat?chat=${chat}`));
        await shows(page, 'Yes');
        expect(await messages(page)).toEqual(['Will you stay?', 'And now?', 'Yes']);
      },
      TEST_MS,
    );
  });
});
