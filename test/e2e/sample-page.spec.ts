import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page, WebSocketRoute } from 'playwright-core';
import { launchChromium } from '../support/chromium.js';
import { deferred } from '../support/events.js';
import { overflowOf, tooFaint, tooSmall } from '../support/page-checks.js';
import { buildSample, type Sample, startSample } from '../support/sample.js';
import { events, postJson } from '../support/sample-client.js';
import { itWith, toolPath } from '../support/tools.js';

const THREE_BRING_THE_SAME = /^SSE, NDJSON, and WebSocket bring the same samples in the same order$/;
/** The page without its demo, which asks, exports and writes by itself. */
const QUIET = '/?demo=off';
const LANES = ['sse', 'ndjson', 'websocket'] as const;
const BUILD_MS = 120_000;
const TEST_MS = 30_000;

/** What a page shows for each event of figures, once it has shown some. */
function figuresShown(page: Page): Promise<Record<string, string>> {
  return page.evaluate(`new Promise((resolve) => {
    const detail = document.querySelector('#protocols .machine');
    const shown = {};
    new MutationObserver(() => {
      const [, id] = /sample #(\\d+)$/.exec(detail.textContent);
      shown[id] = [...document.querySelectorAll('#protocols .value')].map(({ textContent }) => textContent).join();
      if (Object.keys(shown).length === 4) {
        resolve(shown);
      }
    }).observe(detail, { childList: true });
  })`);
}

beforeAll(buildSample, BUILD_MS);

describe('the page of the sample', () => {
  const itInChromium = itWith('chromium');
  let profile: string;
  let browser: BrowserContext | undefined;
  let sample: Sample;
  let page: Page;

  /** Waits until a panel says so. */
  const says = (panel: string, text: RegExp, on = page) =>
    on
      .locator(`#${panel} > .status, #${panel} > .head > .status`)
      .filter({ hasText: text })
      .waitFor({ timeout: TEST_MS });

  const toggleProtocols = () => page.locator('#protocols > .head .toggle').click();

  /** The subprotocols that the page offers to a route from now on, in each of its handshakes. */
  async function offeredTo(path: string): Promise<string[]> {
    const offered: string[] = [];
    const network = await page.context().newCDPSession(page);
    await network.send('Network.enable');
    const sockets = new Set<string>();
    network.on('Network.webSocketCreated', ({ requestId, url }) => url.endsWith(path) && sockets.add(requestId));
    network.on('Network.webSocketWillSendHandshakeRequest', ({ requestId, request }) => {
      if (sockets.has(requestId)) {
        offered.push(request.headers['Sec-WebSocket-Protocol'] ?? '');
      }
    });
    return offered;
  }

  /** Makes the page believe that its tab is hidden, or that it is not. */
  const hide = (hidden: boolean) =>
    page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
      document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))`);

  /** Another window of the same browser. */
  async function openAnother(): Promise<Page> {
    const other = await page.context().newPage();
    await other.goto(sample.url(QUIET));
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
    await page.goto(sample.url(QUIET));
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
      await page.goto(sample.url(QUIET));
    }
  }, TEST_MS);

  afterEach(async () => {
    await page?.close();
    await sample?.program.stop('SIGKILL');
  }, TEST_MS);

  itInChromium(
    'shows the figures live',
    async () => {
      await says('sse', /^Live$/);
      // A curve of three samples is two lines.
      await page
        .locator('#protocols .curve')
        .first()
        .and(page.locator('xpath=//*[contains(substring-after(@d, "L"), "L")]'))
        .waitFor({ state: 'attached' });

      expect(await page.locator('#protocols .value').allTextContents()).toEqual([
        expect.stringMatching(/^[\d.]+ %/),
        expect.stringMatching(/^[\d.]+ %/),
        expect.stringMatching(/^[\d.]+ ms/),
        expect.stringMatching(/^[\d.]+ MB/),
      ]);
      await page.locator('#protocols .machine', { hasText: '7 streams open' }).waitFor();
      await toggleProtocols();
      await Promise.all(LANES.map((lane) => says(lane, /^Stopped by you$/)));
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
      await says('chat', /^Ended well: \d+ tokens in /);
      expect(await page.locator('#chat-answer .question').textContent()).toBe('What is backpressure?');
      expect(await page.locator('#chat-answer .reply').textContent()).toMatch(/backpressure/i);

      await page.getByRole('button', { name: 'Ask' }).click();
      await page.locator('#chat-answer .reply', { hasText: /\w/ }).nth(1).waitFor();
      await page.locator('#chat-stop').click();

      await says('chat', /^Stopped by you$/);
      await page.locator('#log td', { hasText: 'DELETE /chat/' }).waitFor();
    },
    TEST_MS,
  );

  itInChromium(
    'reports that the server is gone, the effect on each stream, and that it is back',
    async () => {
      await Promise.all([says('sse', /^Live$/), says('log', /^Live$/)]);
      await page.locator('#export .toggle').click();
      await page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();

      await sample.program.stop('SIGKILL');

      await says('export', /^Failed: the connection broke before the end, after .* of /);
      await says('sse', /^Connection lost, .*Reconnecting…$/);
      await says('log', /^Connection lost, .*Reconnecting…$/);
      await page.getByRole('button', { name: 'Ask' }).click();
      await says('chat', /^Failed: the server cannot be reached$/);

      sample = await startSample({ PORT: String(sample.port) });

      await Promise.all([says('sse', /^Live again since /), says('log', /^Live again since /)]);
    },
    TEST_MS,
  );

  itInChromium(
    'says that the server ended the streams',
    async () => {
      await Promise.all([says('sse', /^Live$/), says('log', /^Live$/)]);
      await page.locator('#export .toggle').click();
      await page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();

      const [ended] = await Promise.all([
        sample.program.stop(),
        says('log', /^Connection lost, /),
        says('sse', /^The server ended the stream, .*Reconnecting…$/),
        says('ndjson', /^The server ended the stream, .*Trying again in 3 s…$/),
        says('export', /^Failed: the connection broke before the end/),
      ]);

      expect(ended).toBe('SIGTERM');
    },
    TEST_MS,
  );

  itInChromium(
    'keeps reconnecting when the server refuses the stream',
    async () => {
      await page.route('**/metrics', (route) => route.fulfill({ status: 503 }));
      await page.reload();
      await says('sse', /^The server refused the stream with 503, .*Reconnecting…$/);

      await page.unroute('**/metrics');

      await says('sse', /^Live again since /);
    },
    TEST_MS,
  );

  itInChromium(
    'shows all the same figures, by the same events, and how many are watching',
    async () => {
      const other = await openAnother();
      await Promise.all([page, other].map((each) => each.getByText('6 subscribers').waitFor()));
      const [one, two] = await Promise.all([page, other].map(figuresShown));

      const first = Object.keys(one ?? {}).find((id) => two?.[id] !== undefined);
      const common = (figures: Record<string, string> = {}) => {
        const ids = Object.keys(figures);
        return ids.slice(ids.indexOf(first ?? ''), ids.indexOf(first ?? '') + 2).map((id) => [id, figures[id]]);
      };
      expect(first).toMatch(/^\d+$/);
      expect(common(two)).toHaveLength(2);
      expect(common(two)).toEqual(common(one));

      await other.close();
      await page.getByText('3 subscribers').waitFor();
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
      await toggleProtocols();
      await says('protocols', /^All are switched off$/);
    },
    TEST_MS,
  );

  itInChromium(
    'resumes each protocol where it was switched off, in its own way',
    async () => {
      const offered = await offeredTo('/metrics');
      await says('protocols', THREE_BRING_THE_SAME);
      await switchOf('SSE').press('Space');
      await switchOf('NDJSON').click();
      await switchOf('WebSocket').press('Space');
      await Promise.all(LANES.map((lane) => says(lane, /^Stopped by you$/)));
      const [afterSse, , afterWebSocket] = await page.locator('#protocols .id').allTextContents();
      await events(await fetch(sample.url('/metrics')), 3, 'sample');
      const resumed = page.waitForRequest((request) => request.headers()['last-event-id'] === afterSse);

      await switchOf('SSE').click();
      await switchOf('NDJSON').click();
      expect(await switchOf('WebSocket').getAttribute('aria-checked')).toBe('false');
      await switchOf('WebSocket').click();

      expect(new URL((await resumed).url()).pathname).toBe('/metrics');
      await wentOn('sse', /^#\d+ after #\d+, nothing missing$/);
      await wentOn('ndjson', /^#\d+ after #\d+, nothing missing, \d+ known ones left out$/);
      await wentOn('websocket', /^#\d+ after #\d+, nothing missing$/);
      expect(offered.at(-1)).toBe(`events.v1+json, heartbeats, last-event-id.${afterWebSocket}`);
      await says('protocols', THREE_BRING_THE_SAME);
      expect(await switchOf('WebSocket').getAttribute('aria-checked')).toBe('true');
    },
    TEST_MS,
  );

  itInChromium(
    'resumes a WebSocket that the server closed, by its subprotocol',
    async () => {
      const offered: string[][] = [];
      const watching = deferred();
      const seen = deferred();
      await answerSockets(async (socket) => {
        const n = offered.push(socket.protocols());
        if (n > 1) {
          await seen.promise;
        }
        const data = {
          process: 'host:3000',
          n,
          at: n,
          streams: 1,
          cpu: { machine: n },
          memory: { used: 1, total: 2, rss: 3 },
          loop: { p99: 4 },
        };
        socket.send(JSON.stringify({ type: 'machine', data: { process: data.process } }));
        socket.send(JSON.stringify({ id: `id-${n}`, type: 'sample', data }));
        if (n === 1) {
          await watching.promise;
          await socket.close({ code: 1001, reason: 'shutdown' });
        }
      });

      const closed = says('websocket', /^Connection lost, .*Reconnecting…$/);
      watching.resolve();
      await closed;
      seen.resolve();
      await says('websocket', /^Live again since /);
      await wentOn('websocket', /^#2 after #1, nothing missing$/);
      expect(offered).toEqual([
        ['events.v1+json', 'heartbeats', 'last-event-id.'],
        ['events.v1+json', 'heartbeats', 'last-event-id.id-1'],
      ]);
      expect(await page.locator('#websocket .id').textContent()).toBe('id-2');
    },
    TEST_MS,
  );

  itInChromium(
    'reports the losses of a protocol, missing samples, and samples that differ',
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

      await says('websocket', /^Live\. 1 event was left out: the page was too slow\.$/);
      await wentOn('websocket', new RegExp(`^#${data.n} after #${data.n - 2}, 1 missing$`));

      await says('protocols', /^SSE, NDJSON, and WebSocket do not bring the same samples$/);
    },
    TEST_MS,
  );

  itInChromium(
    'says over each protocol that the server was restarted',
    async () => {
      await says('protocols', THREE_BRING_THE_SAME);

      await sample.program.stop('SIGKILL');
      await Promise.all([
        says('sse', /^Connection lost, /),
        says('ndjson', /^Connection lost, /),
        says('websocket', /^Connection lost, /),
      ]);
      sample = await startSample({ PORT: String(sample.port) });

      const told = /^Live again since .*\. The server was restarted: what was measured meanwhile, /;
      await Promise.all([says('sse', told), says('websocket', told)]);
      await Promise.all(LANES.map((lane) => wentOn(lane, /restarted$/)));
      await says('protocols', THREE_BRING_THE_SAME);
    },
    TEST_MS,
  );

  itInChromium(
    'says that a WebSocket cannot be opened, and compares the others',
    async () => {
      // To an address where no stream is: the server refuses.
      await page.addInitScript(`window.WebSocket = class extends WebSocket {
        constructor(url, protocol) { super(url + '/nowhere', protocol); }
      }`);
      await page.reload();

      await says('websocket', /^Connection lost, .*Reconnecting…$/);
      await says('protocols', /^SSE and NDJSON bring the same samples in the same order$/);
    },
    TEST_MS,
  );

  itInChromium(
    'shows a message as plain text to all readers and to later ones',
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
    'resumes the board after a reload, without loss or repetition',
    async () => {
      const other = await openAnother();
      await page.getByLabel('Your name').fill('Ada');
      await write('first');
      expect(await shownWith('first')).toEqual(['first']);
      const offered = await offeredTo('/board');

      await away(() => write('while away', other));
      expect(await shownWith('while away')).toEqual(['first', 'while away']);
      await page.reload();
      await says('board', /^Live$/);
      await write('last', other);

      expect(await shownWith('last')).toEqual(['first', 'while away', 'last']);
      expect(await shownWith('last', other)).toEqual(['first', 'while away', 'last']);
      expect(offered).toContainEqual(expect.stringMatching(/^events\.v1\+json, heartbeats, last-event-id\.[\w.-]+$/));
      expect(await page.getByLabel('Your name').inputValue()).toBe('Ada');
      await other.close();
    },
    TEST_MS,
  );

  itInChromium(
    'explains a restart of the server, and continues with the messages that are left',
    async () => {
      const meaning = 'The server was restarted: what was written meanwhile, or kept before, is not known here.';
      await says('sse', /^Live$/);
      await write('before');
      await shownWith('before');

      await sample.program.stop('SIGKILL');
      await says('board', /^Connection lost, .*Reconnecting…$/);
      sample = await startSample({ PORT: String(sample.port) });
      await post('the first of the new server');

      await Promise.all([
        says('sse', /^Live again since .*\. The server was restarted: what was measured meanwhile, /),
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
    'reports events that were dropped because the page was too slow',
    async () => {
      await page.routeWebSocket('**/board', (socket) =>
        socket.send(JSON.stringify({ type: 'lagged', data: { dropped: 3 } })),
      );
      await page.route('**/metrics', (route) =>
        route.fulfill({ contentType: 'text/event-stream', body: 'event: lagged\ndata: {"dropped":1}\n\n' }),
      );
      const told = page.evaluate(`new Promise((resolve) => {
        const line = document.querySelector('#sse .status');
        const told = () => / left out/.test(line.textContent) && resolve(line.textContent);
        new MutationObserver(told).observe(line, { childList: true });
        document.querySelector('#sse-switch').click();
        document.querySelector('#sse-switch').click();
      })`);

      expect(await told).toMatch(/^Live\. 1 event was left out: the page was too slow\.$/);
      await page.reload();
      expect(await shownWith('left out')).toContain('3 messages were left out: the page was too slow.');
    },
    TEST_MS,
  );

  itInChromium(
    'shows everything live in one window of 1440 × 900 without a click, and nothing fails',
    async () => {
      const complaints: string[] = [];
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.setViewportSize({ width: 1440, height: 900 });

      await page.goto(sample.url('/'));

      await Promise.all([
        says('chat', /^Ended well: \d+ tokens/),
        shownWith('°C in the kitchen'),
        page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor(),
        says('protocols', THREE_BRING_THE_SAME),
        page.locator('#log td', { hasText: 'POST /chat' }).waitFor(),
        page.locator('#reader-2 .count', { hasText: /^nothing missing$/ }).waitFor(),
        page.locator('#reader-3 .count', { hasText: /^nothing missing$/ }).waitFor(),
      ]);
      const lowest = await page.evaluate(
        `Math.max(...[...document.querySelectorAll('main .status')].map((each) => each.getBoundingClientRect().bottom))`,
      );
      expect(lowest).toBeLessThan(900);
      expect(complaints).toEqual([]);
    },
    TEST_MS,
  );

  itInChromium(
    'has one demo in several windows, and no demo where it is switched off',
    async () => {
      await page.goto(sample.url('/'));
      await page.locator('#chat-answer', { hasText: /\w/ }).waitFor();
      const other = await page.context().newPage();
      await other.goto(sample.url('/'));
      await shownWith('°C in the garden', other);
      // Both windows show one chat. Only the window with the demo asks.
      await says('chat', /^Answering: /, other);
      await says('export', /^Not started$/, other);

      await page.getByRole('switch', { name: 'Demo' }).click();

      await says('export', /^Paused with the demo, after /);
      await other.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();
      await other.close();
    },
    TEST_MS,
  );

  itInChromium(
    'leaves alone what somebody uses',
    async () => {
      await page.goto(sample.url('/'));
      await page.locator('#export-speed', { hasText: /kB\/s/ }).waitFor();
      await page.locator('#export .toggle').click();
      await page.getByLabel('Your question').fill('What does a hub do?');
      await page.getByRole('button', { name: 'Ask' }).click();
      await says('chat', /^Ended well: /);
      await page.getByRole('switch', { name: 'Demo' }).click();

      await says('export', /^Stopped by you, after /);
      expect(await page.getByLabel('Your question').inputValue()).toBe('What does a hub do?');
    },
    TEST_MS,
  );

  itInChromium(
    'shows that a client of the hub that was switched off catches up',
    async () => {
      const count = page.locator('#reader-2 .count');
      await write('one');
      await shownWith('one');
      await switchOf('Client 2').click();
      await says('reader-2', /^Stopped by you$/);
      await write('two');
      await write('three');
      await count.filter({ hasText: /^2 behind$/ }).waitFor();
      expect(await page.locator('#reader-3 .count').textContent()).toBe('nothing missing');

      await switchOf('Client 2').click();

      await count.filter({ hasText: /^caught up on 2$/ }).waitFor();
    },
    TEST_MS,
  );

  itInChromium(
    'closes its streams while its tab is hidden, and resumes them afterwards',
    async () => {
      const panels = ['board', 'reader-2', 'reader-3', ...LANES, 'log'];
      await switchOf('NDJSON').click();
      await says('ndjson', /^Stopped by you$/);
      await write('before');
      await shownWith('before');

      await hide(true);
      const paused = panels.filter((panel) => panel !== 'ndjson');
      await Promise.all(paused.map((panel) => says(panel, /^Paused while the tab is hidden$/)));
      await post('meanwhile');
      await hide(false);

      await Promise.all(paused.map((panel) => says(panel, /^Live$/)));
      expect(await shownWith('meanwhile')).toEqual(['before', 'meanwhile']);
      await says('ndjson', /^Stopped by you$/);
    },
    TEST_MS,
  );

  describe.each([
    ['narrow', 'light', 390],
    ['narrow', 'dark', 390],
    ['middling', 'light', 1000],
    ['wide', 'light', 1440],
    ['wide', 'dark', 1440],
  ] as const)('in a %s, %s window', (_, colorScheme, width) => {
    itInChromium(
      'fits, and can be read and pressed',
      async () => {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 844 });
        await page.goto(sample.url('/'));
        await shownWith('°C in the kitchen');
        await says('protocols', THREE_BRING_THE_SAME);

        expect(await overflowOf(page)).toBe(0);
        expect(await tooSmall(page)).toEqual([]);
        expect(await tooFaint(page)).toEqual([]);
      },
      TEST_MS,
    );
  });
});
