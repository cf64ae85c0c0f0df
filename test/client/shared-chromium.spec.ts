import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, Header, Headers, UnauthorizedException } from '@nestjs/common';
import { buildSync } from 'esbuild';
import type { BrowserContext, Page } from 'playwright-core';
import { Hub, InjectHub, LastEventId, Sse, StreamingModule } from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { ROOT } from '../support/documentation.js';
import { hubOf, joined, publishAll, range } from '../support/hub.js';
import { type RunningApp, turns, useApps } from '../support/running.js';
import { itWith, toolPath } from '../support/tools.js';

const LONG_MS = 120_000;

function bundle(contents: string): string {
  const stdin = { contents, resolveDir: `${ROOT}/lib/client/shared`, loader: 'ts' as const };
  return buildSync({ stdin, bundle: true, format: 'esm', write: false }).outputFiles[0]?.text ?? '';
}

const WORKER = bundle(`import { shareStreams } from './index.js'; shareStreams();`);
const PAGE = bundle(`
  import { connectShared } from './index.js';

  const worker = () => new SharedWorker('/worker.js', { type: 'module' });
  window.follow = (path, options, gate) => {
    const tab = { items: [], notices: [], end: undefined, stream: connectShared(worker, path, options) };
    window.tab = tab;
    tab.stream.on('state', (state, error) => tab.notices.push(error ? state + ' ' + error.code : state));
    tab.stream.on('reset', ({ reason }) => tab.notices.push('reset ' + reason));
    tab.stream.on('lagged', ({ dropped }) => tab.notices.push('lagged ' + dropped));
    (async () => {
      try {
        for await (const { data } of tab.stream) {
          tab.items.push(data);
          await window.gate;
        }
        tab.end = 'done';
      } catch (error) {
        tab.end = [error.code, error.status].join(' ').trim();
      }
    })();
  };
`);

/** What a tab has received. */
interface Tab {
  readonly items: unknown[];
  readonly notices: string[];
  readonly end: string | undefined;
  readonly stream: { readonly lastEventId: string; readonly state: string; close(): void };
}

@Controller()
class Site {
  constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

  @Get()
  @Header('Content-Type', 'text/html')
  page() {
    return '<!doctype html><script type="module" src="/page.js"></script>';
  }

  @Get('page.js')
  @Header('Content-Type', 'text/javascript')
  script() {
    return PAGE;
  }

  @Get('worker.js')
  @Header('Content-Type', 'text/javascript')
  worker() {
    return WORKER;
  }

  @Sse('events')
  events(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Sse('private')
  private(@Headers('authorization') token?: string) {
    if (token !== 'Bearer 1') {
      throw new UnauthorizedException();
    }
    return this.hub.subscribe();
  }

  @Sse('short')
  *short() {
    yield 1;
  }
}

let browser: BrowserContext;
let profile: string;

async function launchBrowser(): Promise<void> {
  profile = await mkdtemp(join(tmpdir(), 'shared-'));
  browser = await launchChromium(toolPath('chromium') ?? '', profile);
}

async function open(app: RunningApp, path = '/events', options = ''): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(app.url('/'));
  await page.waitForFunction('window.follow');
  await page.evaluate(`follow(${JSON.stringify(path)}, { retry: { base: 10 }, ${options} })`);
  return page;
}

/** Waits until something is true of a tab, and returns what it has received. */
async function until(page: Page, condition: string): Promise<Tab> {
  await page.waitForFunction(condition, undefined, { timeout: LONG_MS });
  return page.evaluate<Tab>(`({ ...tab, stream: { lastEventId: tab.stream.lastEventId, state: tab.stream.state } })`);
}

describe.each(PLATFORMS)('%s: the tabs of a browser that share a stream', (platform: Platform) => {
  const launch = useApps();
  const start = async () => {
    const app = await launch(platform, {
      controllers: [Site],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { heartbeat: 500, shutdown: { grace: 0, retry: 10 } },
    });
    await launchBrowser();
    return { app, hub: hubOf<number>(app) };
  };

  afterEach(async () => {
    await browser?.close();
    await rm(profile, { recursive: true, force: true });
  });

  const itInChromium = itWith('chromium');

  itInChromium(
    'receive all items over one connection, and a later tab those from then on',
    async () => {
      const { app, hub } = await start();
      const tabs = [await open(app), await open(app)];
      await Promise.all(tabs.map((tab) => until(tab, `tab.stream.state === 'open'`)));
      await hub.publish(1);
      await Promise.all(tabs.map((tab) => until(tab, 'tab.items.length === 1')));

      const late = await open(app);
      await until(late, `tab.stream.state === 'open'`);
      const id = await hub.publish(2);
      const seen = await Promise.all([...tabs, late].map((tab) => until(tab, 'tab.items.at(-1) === 2')));

      expect(hub.size()).toBe(1);
      expect(seen.map(({ items }) => items)).toEqual([[1, 2], [1, 2], [2]]);
      expect(seen.map(({ stream }) => stream.lastEventId)).toEqual([id, id, id]);
      expect(seen[0]?.notices).toEqual(['connecting', 'open']);
    },
    LONG_MS,
  );

  itInChromium(
    'may be ten, over HTTP/1.1, which allows six connections',
    async () => {
      const { app, hub } = await start();
      const tabs: Page[] = [];
      for (let i = 0; i < 10; i++) {
        tabs.push(await open(app));
      }
      await Promise.all(tabs.map((tab) => until(tab, `tab.stream.state === 'open'`)));
      await hub.publish(1);

      const seen = await Promise.all(tabs.map((tab) => until(tab, 'tab.items.length === 1')));

      expect(hub.size()).toBe(1);
      expect(seen.every(({ items }) => items[0] === 1)).toBe(true);
    },
    LONG_MS,
  );

  itInChromium(
    'close the connection when the last one is closed, has left or has crashed',
    async () => {
      const { app, hub } = await start();
      const [first, second, third] = [await open(app), await open(app), await open(app)];
      await Promise.all([first, second, third].map((tab) => until(tab, `tab.stream.state === 'open'`)));
      await second.close();
      await first.evaluate('tab.stream.close()');
      await hub.publish(1);
      expect(await until(third, 'tab.items.length === 1')).toMatchObject({ items: [1] });
      expect(await until(first, 'tab.end')).toMatchObject({ end: 'done', items: [] });

      const session = await browser.newCDPSession(third);
      session.send('Page.crash').catch(() => undefined);

      await joined(hub, 0);
    },
    LONG_MS,
  );

  itInChromium(
    'go on in a new worker, with a reset, if the first tab crashes with the worker',
    async () => {
      const { app, hub } = await start();
      const first = await open(app);
      await until(first, `tab.stream.state === 'open'`);
      const second = await open(app);
      await until(second, `tab.stream.state === 'open'`);

      const session = await browser.newCDPSession(first);
      session.send('Page.crash').catch(() => undefined);
      // Chromium may run the worker in another process.
      await until(second, `tab.stream.state === 'open'`);
      while (hub.size() === 0 || !(await second.evaluate<boolean>('tab.items.length > 0'))) {
        await hub.publish(1);
        // Without a turn of the event loop, the new worker could never connect.
        await turns();
      }

      const { end, notices } = await until(second, 'tab.items.length > 0');
      expect(end).toBeUndefined();
      expect([['open'], ['open', 'connecting', 'reset worker', 'connecting', 'open']]).toContainEqual(notices);
    },
    LONG_MS,
  );

  itInChromium(
    'do not wait for a tab that reads too slowly, which learns how much it has missed',
    async () => {
      const { app, hub } = await start();
      const [slow, fast] = [await open(app), await open(app)];
      await Promise.all([slow, fast].map((tab) => until(tab, `tab.stream.state === 'open'`)));
      await slow.evaluate('void (window.gate = new Promise((resolve) => { window.go = resolve; }))');
      await hub.publish(0);
      await until(slow, 'tab.items.length === 1');
      for (let n = 1; n <= 3_000; n += 100) {
        await publishAll(hub, range(n, n + 99));
        await until(fast, `tab.items.at(-1) === ${n + 99}`);
      }

      await slow.evaluate('go()');
      const missed = await until(slow, 'tab.items.at(-1) === 3000');

      const dropped = Number(missed.notices.find((notice) => notice.startsWith('lagged'))?.split(' ')[1]);
      expect(dropped).toBeGreaterThan(1_000);
      expect(missed.items.length + dropped).toBe(3_001);
      expect(await until(fast, 'true')).toMatchObject({ items: range(0, 3_000), notices: ['open'] });
    },
    LONG_MS,
  );

  itInChromium(
    'resume together when the connection was cut',
    async () => {
      const { app, hub } = await start();
      const tabs = [await open(app), await open(app)];
      await Promise.all(tabs.map((tab) => until(tab, `tab.stream.state === 'open'`)));
      await hub.publish(1);
      await Promise.all(tabs.map((tab) => until(tab, 'tab.items.length === 1')));
      for (const socket of app.sockets.seen) {
        socket.destroy();
      }
      await hub.publish(2);

      const seen = await Promise.all(tabs.map((tab) => until(tab, 'tab.items.length === 2')));

      expect(seen.map(({ items }) => items)).toEqual([
        [1, 2],
        [1, 2],
      ]);
      expect(seen[0]?.notices).toEqual(['connecting', 'open', 'waiting network', 'connecting', 'open']);
    },
    LONG_MS,
  );

  itInChromium(
    'are asked for their headers, and all receive the end or the error of the stream',
    async () => {
      const { app, hub } = await start();
      const headers = (token: number) => `headers: async () => ({ Authorization: 'Bearer ${token}' })`;
      const tab = await open(app, '/private', headers(1));
      await until(tab, `tab.stream.state === 'open'`);
      expect(hub.size()).toBe(1);
      await tab.evaluate('tab.stream.close()');
      await joined(hub, 0);

      const refused = await open(app, '/private', headers(2));
      const ended = await open(app, '/short');

      expect(await until(refused, 'tab.end')).toMatchObject({ end: 'response 401' });
      expect(await until(ended, 'tab.end')).toMatchObject({ end: 'done', items: [1] });
    },
    LONG_MS,
  );
});
