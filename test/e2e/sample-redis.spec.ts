import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EventSource } from 'eventsource';
import type { BrowserContext, Page } from 'playwright-core';
import { PLATFORMS } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { Recorder } from '../support/events.js';
import { overflowOf, tooFaint, tooSmall } from '../support/page-checks.js';
import { Reading } from '../support/reading.js';
import { RedisServer } from '../support/redis-server.js';
import { buildSample, Program, type Sample, startSample } from '../support/sample.js';
import { events, postJson } from '../support/sample-client.js';
import { describeWith, itWith, toolPath } from '../support/tools.js';

const BUILD_MS = 120_000;
const TEST_MS = 30_000;

beforeAll(buildSample, BUILD_MS);

/** Posts a message to a process. Resolves to its id. */
async function post({ url }: Sample, text: string): Promise<string> {
  const response = await fetch(url('/board'), postJson({ text }));
  expect(response.status).toBe(201);
  return ((await response.json()) as { id: string }).id;
}

const textOf = (data: string) => (JSON.parse(data) as { text: string }).text;

describeWith('redis-server')('two processes of the sample with one Redis', () => {
  let redis: RedisServer;
  let processes: [Sample, Sample];

  beforeAll(async () => {
    redis = await RedisServer.start();
    const start = (PLATFORM: string) => startSample({ PLATFORM, REDIS_URL: redis.url });
    processes = await Promise.all([start('express'), start('fastify')]);
  }, TEST_MS);

  afterAll(async () => {
    await Promise.all((processes ?? []).map(({ program }) => program.stop()));
    await redis?.stop();
  }, TEST_MS);

  it(
    'a message that is posted to one is read from the other, with the same id',
    async () => {
      const [one, other] = processes;
      const reads = processes.map(async ({ url }) => events(await fetch(url('/board')), 2, 'message'));

      const ids = [await post(one, 'to one'), await post(other, 'to the other')];

      const [read, readFromOther] = await Promise.all(reads);
      expect(read?.map(({ id, data }) => [id, textOf(data)])).toEqual([
        [ids[0], 'to one'],
        [ids[1], 'to the other'],
      ]);
      expect(readFromOther).toEqual(read);
    },
    TEST_MS,
  );

  it(
    'each process receives the figures of both, and misses none of either',
    async () => {
      const samples = await Promise.all(
        processes.map(async ({ url }) =>
          (await events(await fetch(url('/metrics')), 10, 'sample')).map(({ data }) => JSON.parse(data)),
        ),
      );

      for (const received of samples) {
        for (const { port } of processes) {
          const own = received.filter(({ process }) => process.endsWith(`:${port}`)).map(({ n }) => n);
          expect(own.length).toBeGreaterThan(1);
          expect(own).toEqual(own.map((_, at) => own[0] + at));
        }
      }
    },
    TEST_MS,
  );

  it(
    'counts the viewers of both processes',
    async () => {
      const viewers = await Promise.all(
        processes
          .flatMap(({ url }) => [url('/metrics'), url('/metrics')])
          .map(async (url) => new Reading(await fetch(url))),
      );

      await Promise.all(viewers.map((viewer) => viewer.until(/"watching":4\}\n\n/)));

      await Promise.all(viewers.map((viewer) => viewer.leave()));
    },
    TEST_MS,
  );

  it(
    'an EventSource that moves from one process to the other resumes there, without a gap',
    async () => {
      const [staying] = processes;
      const leaving = await startSample({ REDIS_URL: redis.url });
      let current = leaving;
      const received = new Recorder();
      const source = new EventSource(leaving.url('/board'), {
        fetch: (url, init) => fetch(current.url(new URL(url).pathname), init),
      });
      source.addEventListener('message', ({ data }) => received.add(textOf(data)));
      source.addEventListener('reset', ({ data }) => received.add(`reset: ${data}`));
      await new Promise((opened) => source.addEventListener('open', opened, { once: true }));
      await post(staying, 'before');
      while (received.seen.at(-1) !== 'before') {
        await received.count(received.seen.length + 1);
      }
      const known = received.seen.length;

      current = staying;
      await leaving.program.stop();
      await post(staying, 'meanwhile');
      await new Promise((opened) => source.addEventListener('open', opened, { once: true }));
      await post(staying, 'afterwards');

      expect((await received.count(known + 2)).slice(known)).toEqual(['meanwhile', 'afterwards']);
      source.close();
    },
    TEST_MS,
  );

  it(
    'a message is still on the board when both processes have been restarted',
    async () => {
      const id = await post(processes[0], 'to be kept');
      await Promise.all(processes.map(({ program }) => program.stop()));
      const start = (PLATFORM: string) => startSample({ PLATFORM, REDIS_URL: redis.url });
      processes = await Promise.all([start('express'), start('fastify')]);

      for (const { url } of processes) {
        const reading = new Reading(await fetch(url('/board')));
        await reading.until(new RegExp(`^id: ${id}$`, 'm'));
        await reading.leave();
      }
    },
    TEST_MS,
  );

  describe('in a browser', () => {
    const itInChromium = itWith('chromium');
    let profile: string;
    let browser: BrowserContext | undefined;
    let page: Page;

    beforeAll(async () => {
      const executablePath = toolPath('chromium');
      if (executablePath !== undefined) {
        profile = await mkdtemp(join(tmpdir(), 'sample-redis-'));
        browser = await launchChromium(executablePath, profile);
      }
    }, TEST_MS);

    afterAll(async () => {
      if (browser) {
        await browser.close();
        await rm(profile, { recursive: true, force: true });
      }
    }, TEST_MS);

    const buttonOf = ({ port }: Sample) =>
      page.getByRole('group', { name: 'Process' }).getByRole('button', { name: `:${port}` });
    const pressed = (sample: Sample) => buttonOf(sample).and(page.locator('[aria-pressed="true"]'));

    async function open({ url }: Sample): Promise<void> {
      page = (await browser?.newPage()) as Page;
      await page.goto(url('/?demo=off'));
    }

    itInChromium(
      'the page of one process shows its own figures, and those of the other one that is chosen with the keyboard',
      async () => {
        const [one, other] = processes;
        await open(one);
        await pressed(one).waitFor();
        await page.locator('#protocols .machine', { hasText: /Nest .* · \d+ streams open · sample #\d+$/ }).waitFor();

        await buttonOf(other).press('Enter');

        await pressed(other).waitFor();
        expect(await buttonOf(one).getAttribute('aria-pressed')).toBe('false');
        // The other process has no streams: the page is connected to the first.
        await page.locator('#protocols .machine', { hasText: /^0 streams open · sample #\d+$/ }).waitFor();
        await page
          .locator('#protocols .status', {
            hasText: /^SSE, NDJSON, and WebSocket bring the same samples in the same order$/,
          })
          .waitFor();
        await page.close();
      },
      TEST_MS,
    );

    itInChromium(
      'the button of a process that has ended disappears, and the page shows its own process',
      async () => {
        const [one] = processes;
        const leaving = await startSample({ REDIS_URL: redis.url });
        await open(one);
        await buttonOf(leaving).click();
        await pressed(leaving).waitFor();

        await leaving.program.stop();

        await buttonOf(leaving).waitFor({ state: 'detached' });
        await pressed(one).waitFor();
        await page.close();
      },
      TEST_MS,
    );

    describe.each([
      ['narrow', 'light', 390],
      ['narrow', 'dark', 390],
      ['wide', 'light', 1440],
      ['wide', 'dark', 1440],
    ] as const)('in a %s, %s window', (_, colorScheme, width) => {
      itInChromium(
        'the buttons fit, and can be read and pressed',
        async () => {
          await open(processes[0]);
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 844 });
          await Promise.all(processes.map((process) => buttonOf(process).waitFor()));

          expect(await overflowOf(page)).toBe(0);
          expect(await tooSmall(page)).toEqual([]);
          expect(await tooFaint(page)).toEqual([]);
          await page.close();
        },
        TEST_MS,
      );
    });
  });
});

describe.each(PLATFORMS)('%s: a sample whose REDIS_URL is wrong', (platform) => {
  const SECRET = 'hunter2';

  async function startWith(REDIS_URL: string): Promise<{ code: unknown; errors: string[]; output: string }> {
    const program = Program.start(process.execPath, ['sample/start.mjs'], { PORT: '0', PLATFORM: platform, REDIS_URL });
    const code = await program.ended();
    const errors = program.output.split('\n').filter((line) => /ERROR|^\s+at /.test(line));
    return { code, errors, output: program.output };
  }

  it.each([
    ['is no URL', `redis/${SECRET}`],
    ['has another protocol', `http://sample:${SECRET}@127.0.0.1:6379`],
    ['names a server that cannot be reached', `redis://sample:${SECRET}@127.0.0.1:1`],
  ])(
    'says so in one line without the password, and exits with 1, if it %s',
    async (_, url) => {
      const { code, errors, output } = await startWith(url);

      expect(code).toBe(1);
      expect(errors).toEqual([expect.stringMatching(/ERROR \[Sample\] .*[Rr]edis.*/)]);
      expect(output).not.toContain(SECRET);
      expect(output).not.toContain('Open http://');
    },
    TEST_MS,
  );

  itWith('redis-server')(
    'says so in one line without the password, and exits with 1, if the server refuses the password',
    async () => {
      const redis = await RedisServer.start('--requirepass', 'another');

      const { code, errors, output } = await startWith(redis.url.replace('://', `://:${SECRET}@`));

      expect(code).toBe(1);
      expect(errors).toEqual([expect.stringMatching(/ERROR \[Sample\] .*password.*/)]);
      expect(output).not.toContain(SECRET);
      await redis.stop();
    },
    TEST_MS,
  );
});
