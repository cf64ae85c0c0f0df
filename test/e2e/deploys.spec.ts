import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transformSync } from '@swc/core';
import { EventSource } from 'eventsource';
import type { BrowserContext, Page } from 'playwright-core';
import { PLATFORMS, type Platform } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { blocks } from '../support/documentation.js';
import { range } from '../support/hub.js';
import { documentedConfig, freePort, Nginx } from '../support/nginx.js';
import { Program } from '../support/sample.js';
import { itWith, toolPath } from '../support/tools.js';

import.meta.jest.setTimeout(180_000);

/** Chromium opens at most six connections to a host. Each of these hosts has one page, with four connections. */
const HOSTS = ['127.0.0.1', 'localhost', 'one.localhost'];
const PER_PAGE = 4;
const KEPT_CLIENTS = 24;
const EXPORTS = 8;
/** The number of connections that are open in the end, which is less than with the exports. */
const CONNECTIONS = HOSTS.length * PER_PAGE + KEPT_CLIENTS + 2;
const DEPLOYS = 3;

const SSE = { Accept: 'text/event-stream' };

/** The broker of docs/brokers.md, as a separate module. */
function documentedBroker(directory: string): string {
  const source = blocks.find(({ file, name }) => file === 'docs/brokers.md' && name === 'src/file.broker.ts');
  const { code } = transformSync(source?.text ?? '', { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' } });
  const file = join(directory, 'broker.mjs');
  writeFileSync(file, code);
  return pathToFileURL(file).href;
}

/** The events of an EventSource, in a page or in this process. */
interface Seen {
  readonly state: number;
  readonly numbers: readonly number[];
  readonly resets: number;
  readonly shutdowns: number;
}

/** Opens EventSources. It also runs in pages, so it must not use variables of this file. */
function listen(EventSourceClass: typeof EventSource, url: string, count: number): () => Seen[] {
  const all = Array.from({ length: count }, () => {
    const source = new EventSourceClass(url);
    const seen = { numbers: [] as number[], resets: 0, shutdowns: 0 };
    source.addEventListener('message', ({ data }) => seen.numbers.push((JSON.parse(data) as { n: number }).n));
    source.addEventListener('reset', () => {
      seen.resets++;
    });
    source.addEventListener('shutdown', () => {
      seen.shutdowns++;
    });
    return { source, seen };
  });
  return () => all.map(({ source, seen }) => ({ state: source.readyState, ...seen }));
}

/** Repeats an action until it is stopped. */
function repeat(run: () => Promise<void>): () => Promise<void> {
  let going = true;
  const done = (async () => {
    while (going) {
      await run();
    }
  })();
  return () => {
    going = false;
    return done;
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(PLATFORMS)('%s behind an nginx with the configuration of docs/deploying.md:', (platform: Platform) => {
  const directory = mkdtempSync(join(tmpdir(), 'deploys-'));
  const herd: EventSource[] = [];
  let context: BrowserContext | undefined;
  let nginx: Nginx | undefined;
  let server: Program | undefined;
  let port = 0;

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    if (executablePath !== undefined) {
      context = await launchChromium(executablePath, join(directory, 'profile'));
    }
  }, 60_000);

  afterAll(async () => {
    for (const source of herd) {
      source.close();
    }
    await context?.close();
    await server?.stop('SIGKILL');
    await nginx?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  async function launch(broker: string): Promise<void> {
    server = Program.start(process.execPath, ['test/support/deployed-app.mjs'], {
      PLATFORM: platform,
      PORT: String(port),
      DIRECTORY: directory,
      BROKER: broker,
      CONNECTIONS: String(CONNECTIONS),
    });
    await server.until(/listening/);
  }

  /** Opens EventSources in Chromium, four on each page. */
  async function openPages(): Promise<Page[]> {
    return Promise.all(
      HOSTS.map(async (host) => {
        const page = await context?.newPage();
        if (!page) {
          throw new Error('Chromium did not start');
        }
        await page.goto(`http://${host}:${nginx?.port}/`);
        await page.evaluate(`window.look = (${listen})(EventSource, '/feed', ${PER_PAGE})`);
        return page;
      }),
    );
  }

  itWith('chromium')('no EventSource gives up or misses an event during three deploys under load', async () => {
    const broker = documentedBroker(directory);
    port = await freePort();
    await launch(broker);
    nginx = await Nginx.start(port, documentedConfig);
    const url = (path: string): string => `http://127.0.0.1:${nginx?.port}${path}`;
    const acknowledged: number[] = [];
    const endings: string[] = [];
    let n = 0;

    const stopPublishing = repeat(async () => {
      const next = ++n;
      const { ok } = await fetch(url('/feed'), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ n: next }),
      }).catch(() => ({ ok: false }));
      if (ok) {
        acknowledged.push(next);
      }
      await pause(ok ? 10 : 100);
    });
    const pages = await openPages();
    class Kept extends EventSource {
      constructor(...args: ConstructorParameters<typeof EventSource>) {
        super(...args);
        herd.push(this);
      }
    }
    const look = listen(Kept, url('/feed'), KEPT_CLIENTS);
    const all = async (): Promise<Seen[]> => [
      ...look(),
      ...(await Promise.all(pages.map((page) => page.evaluate('window.look()') as Promise<Seen[]>))).flat(),
    ];
    const stopExports = range(1, EXPORTS).map(() =>
      repeat(async () => {
        const answer = await fetch(url('/slow')).catch(() => undefined);
        const rows = await answer?.text().catch(() => 'cut');
        endings.push(answer?.ok ? (rows?.endsWith('{"row":10}\n') ? 'whole' : 'cut') : 'refused');
        await pause(50);
      }),
    );

    for (const _ of range(1, DEPLOYS)) {
      // Exports are running: the shutdown takes as long as they do, and new streams are refused in the meantime.
      await pause(1_500);
      await server?.stop('SIGTERM');
      const away = await fetch(url('/feed'), { headers: SSE });
      expect([away.status, away.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
      expect(await away.text()).toMatch(/^event: shutdown\nretry: [1-4]500\ndata: \{\}\n\n$/);
      expect((await fetch(url('/feed'))).status).toBe(502);
      await pause(1_000);
      await launch(broker);
    }
    await pause(3_000);
    await Promise.all(stopExports.map((stop) => stop()));
    await stopPublishing();
    const last = acknowledged.at(-1) ?? 0;
    expect(last).toBeGreaterThan(0);

    let seen = await all();
    while (seen.some(({ state, numbers }) => state === 0 || (state === 1 && !numbers.includes(last)))) {
      await pause(100);
      seen = await all();
    }

    expect(seen).toHaveLength(HOSTS.length * PER_PAGE + KEPT_CLIENTS);
    for (const { state, numbers, resets } of seen) {
      expect({ state, resets }).toEqual({ state: 1, resets: 0 });
      // Each event once and in order, from the first one on.
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      expect(acknowledged.filter((each) => each >= (numbers[0] ?? 0) && !numbers.includes(each))).toEqual([]);
    }
    // They were refused by the limit too, and not only during deploys.
    expect(seen.every(({ shutdowns }) => shutdowns > 0)).toBe(true);
    expect(endings).toContain('whole');
    expect(endings).not.toContain('cut');
  });
});
