import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright-core';
import { type ChatRequest, ChatServer } from '../support/chat-server.js';
import { launchChromium } from '../support/chromium.js';
import { RedisServer } from '../support/redis-server.js';
import { buildSample, type Sample, startSample } from '../support/sample.js';
import { describeWith, itWith, toolPath } from '../support/tools.js';

const BUILD_MS = 120_000;
const TEST_MS = 40_000;

beforeAll(buildSample, BUILD_MS);

describe('the chat on the page of the sample', () => {
  const itInChromium = itWith('chromium');
  let upstream: ChatServer;
  let asked = 0;
  let profile: string;
  let browser: BrowserContext | undefined;
  let sample: Sample;
  let page: Page;
  let chats = 0;
  let chat: string;

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    if (executablePath !== undefined) {
      profile = await mkdtemp(join(tmpdir(), 'sample-page-chat-'));
      browser = await launchChromium(executablePath, profile);
    }
  }, TEST_MS);

  afterAll(async () => {
    if (browser) {
      await browser.close();
      await rm(profile, { recursive: true, force: true });
    }
  }, TEST_MS);

  beforeEach(async () => {
    asked = 0;
    chat = `chat-on-page-${++chats}`;
    upstream = new ChatServer();
    await upstream.listen();
  }, TEST_MS);

  afterEach(async () => {
    await Promise.all((browser?.pages() ?? []).slice(1).map((each) => each.close()));
    await sample?.program.stop('SIGKILL');
    await upstream.close();
  }, TEST_MS);

  const start = (env: Record<string, string> = {}) =>
    startSample({ OPENAI_BASE_URL: upstream.url, OPENAI_MODEL: 'm-1', ...env });

  async function open({ url }: Sample): Promise<Page> {
    const opened = (await browser?.newPage()) as Page;
    await opened.goto(url(`/?demo=off&chat=${chat}`));
    return opened;
  }

  const says = (text: RegExp, on = page) =>
    on.locator('#chat .status').filter({ hasText: text }).waitFor({ timeout: TEST_MS });
  const shows = (text: string, on = page) =>
    on.locator('#chat-answer .reply').filter({ hasText: text }).waitFor({ timeout: TEST_MS });
  const messages = (on = page) => on.locator('#chat-answer > p').allTextContents();

  /** Asks with the form, and resolves to the request for the answer. */
  async function ask(question: string, on = page): Promise<ChatRequest['response']> {
    await on.getByLabel('Your question').fill(question);
    await on.getByRole('button', { name: 'Ask' }).click();
    const requests = await upstream.requests.count(++asked);
    const { response } = requests[asked - 1] as ChatRequest;
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    return response;
  }

  itInChromium(
    'goes on after a reload, and then shows all messages that are complete',
    async () => {
      sample = await start();
      page = await open(sample);
      const answer = await ask('Who goes on?');
      answer.write(ChatServer.token('The '));
      await shows('The ');

      await page.reload();
      await shows('The ');
      answer.write(ChatServer.token('answer'));
      await shows('The answer');
      answer.end('data: [DONE]\n\n');
      await says(/^Ended well: 2 tokens in /);
      await page.reload();

      await shows('The answer');
      await says(/^Ask something$/);
      expect(await messages()).toEqual(['Who goes on?', 'The answer']);
    },
    TEST_MS,
  );

  itInChromium(
    'is live in a second window that is opened before or after the question, and is stopped in both by one of them',
    async () => {
      sample = await start();
      page = await open(sample);
      const other = await open(sample);
      const answer = await ask('Who sees it?');
      answer.write(ChatServer.token('Both '));
      const windows = [page, other];
      await Promise.all(windows.map((each) => shows('Both ', each)));
      await other.reload();
      await shows('Both ', other);
      answer.write(ChatServer.token('do'));
      await Promise.all(windows.map((each) => shows('Both do', each)));

      await other.locator('#chat-stop').click();

      await Promise.all([says(/^Stopped by you$/, other), says(/^Stopped in another window$/)]);
      expect(await upstream.disconnects.count(1)).toEqual(['/v1/chat/completions']);
      for (const each of windows) {
        expect(await messages(each)).toEqual(['Who sees it?', 'Both do']);
      }
    },
    TEST_MS,
  );

  itInChromium(
    'says that an answer failed, and asks again',
    async () => {
      sample = await start();
      page = await open(sample);
      const failing = await ask('Is it there?');
      failing.write(ChatServer.token('Half'));
      await shows('Half');
      failing.end();
      await says(/^Failed: Internal server error. Ask again$/);

      const answer = await ask('Is it there now?');
      answer.end(`${ChatServer.token('Yes')}data: [DONE]\n\n`);

      await says(/^Ended well/);
      await shows('Yes');
    },
    TEST_MS,
  );

  itInChromium(
    'says that its answer was lost with the server once that is back, and can ask again',
    async () => {
      sample = await start();
      page = await open(sample);
      (await ask('Are you there?')).write(ChatServer.token('I '));
      await shows('I ');

      await sample.program.stop('SIGKILL');
      await says(/^Connection lost. Reconnecting…$/);
      sample = await start({ PORT: String(sample.port) });

      await says(/^Failed: the answer was lost with its process. Ask again$/);
      (await ask('Are you back?')).end(`${ChatServer.token('Yes')}data: [DONE]\n\n`);
      await says(/^Ended well/);
      expect(await messages()).toEqual(['Are you back?', 'Yes']);
    },
    TEST_MS,
  );

  describeWith('redis-server')('of two processes with one Redis', () => {
    let redis: RedisServer;
    let other: Sample;

    beforeEach(async () => {
      redis = await RedisServer.start();
      [sample, other] = await Promise.all([
        start({ PLATFORM: 'express', REDIS_URL: redis.url }),
        start({ PLATFORM: 'fastify', REDIS_URL: redis.url }),
      ]);
    }, TEST_MS);

    afterEach(async () => {
      await other?.program.stop('SIGKILL');
      await redis?.stop();
    }, TEST_MS);

    itInChromium(
      'goes on in the other process, with the question, and is stopped from there',
      async () => {
        page = await open(sample);
        const answer = await ask('Where are you?');
        answer.write(ChatServer.token('Here '));
        await shows('Here ');

        await page.goto(other.url(`/?demo=off&chat=${chat}`));
        await shows('Here ');
        answer.write(ChatServer.token('and there'));
        await shows('Here and there');
        expect(await messages()).toEqual(['Where are you?', 'Here and there']);
        await page.locator('#chat-stop').click();

        await says(/^Stopped by you$/);
        expect(await upstream.disconnects.count(1)).toEqual(['/v1/chat/completions']);
      },
      TEST_MS,
    );

    itInChromium(
      'says on the other process that the answer was lost with a process that was killed',
      async () => {
        const one = await open(sample);
        const answer = await ask('Will you stay?', one);
        page = await open(other);
        answer.write(ChatServer.token('No '));
        await shows('No ');

        await sample.program.stop('SIGKILL');

        await says(/^Failed: The run was lost with the process that produced it: .*Ask again$/);
        (await ask('And now?')).end(`${ChatServer.token('Yes')}data: [DONE]\n\n`);
        await says(/^Ended well/);
        expect(await messages()).toEqual(['Will you stay?', 'And now?', 'Yes']);
      },
      TEST_MS,
    );
  });
});
