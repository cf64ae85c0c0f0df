import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, type INestApplication, NotFoundException } from '@nestjs/common';
import type { BrowserContext, Page } from 'playwright-core';
import { defineFormat, event, type Hub, InjectHub, Sse, Stream, StreamingModule } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { type Deferred, deferred } from '../support/events.js';
import { hubOf, joined, range } from '../support/hub.js';
import { type RunningApp, useApps } from '../support/running.js';
import { itWith, toolPath } from '../support/tools.js';

import.meta.jest.setTimeout(60_000);

/** The headers that Chromium sends when a URL is typed in the address bar. */
const NAVIGATION = {
  Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
  'Sec-Fetch-Mode': 'navigate',
  'Sec-Fetch-Dest': 'document',
};
const HOSTILE = `</pre></li></ol><script>document.title = 'owned'</script><img src=x onerror="document.title='owned'">'"&`;

let gates: Deferred[] = [];

beforeEach(() => {
  gates = range(0, 3).map(() => deferred());
});

const csv = defineFormat({ name: 'csv', mediaTypes: ['text/csv'], encode: (value) => `${String(value)}\n` });

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('rows')
  async *rows() {
    yield { row: 1 };
    yield { row: 2 };
  }

  @Stream('words')
  words() {
    return ['one ', 'two'];
  }

  @Stream('bytes')
  bytes() {
    return [Buffer.from('bytes')];
  }

  @Stream('listed', { format: ['sse', 'ndjson'] })
  listed() {
    return [{ row: 1 }];
  }

  @Stream('only', { format: 'ndjson' })
  only() {
    return [{ row: 1 }];
  }

  @Stream('csv', { format: [csv, 'ndjson'] })
  csv() {
    return ['a,b'];
  }

  @Stream('page', { browser: true })
  async *page() {
    for (const [i, gate] of gates.entries()) {
      await gate.promise;
      yield i === 1 ? event({ type: 'price', id: '<7>', data: { html: '<b>' } }) : `line ${i} ${HOSTILE}`;
    }
  }

  @Sse('events', { browser: true })
  events() {
    return [{ data: 'x' }];
  }

  @Stream('json', { format: 'json', browser: true })
  json() {
    return [Buffer.from('bytes'), 7, null];
  }

  @Stream('failing', { browser: true })
  async *failing() {
    yield 'before';
    await gates[0]?.promise;
    throw new NotFoundException('<gone>');
  }

  @Stream('refused', { browser: true })
  refused() {
    throw new NotFoundException();
  }

  @Sse('hub', { browser: true })
  all() {
    return this.hub.subscribe();
  }
}

@Controller()
class Pages {
  @Get('plain')
  plain() {
    return 'plain';
  }
}

function useFeed() {
  const launch = useApps();
  return (platform: (typeof PLATFORMS)[number], configure?: (app: INestApplication) => void) =>
    launch(platform, {
      controllers: [Feed, Pages],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      ...(configure && { configure }),
    });
}

/** The response to a browser that navigates to a path. It does not use fetch(), which sets Sec-Fetch-Mode itself. */
async function navigate({ get }: Pick<RunningApp, 'get'>, path: string, headers: Record<string, string> = NAVIGATION) {
  const client = await get(path, { ...headers, Connection: 'close' });
  await client.closed();
  const { head, body } = client;
  return { body, head, header: (name: string) => new RegExp(`^${name}: (.*)\r$`, 'im').exec(head)?.[1] };
}

describe.each(PLATFORMS)('%s: a browser that opens a stream in its address bar', (platform) => {
  const start = useFeed();

  it.each([
    ['/rows', 'text/plain; charset=utf-8', '{"row":1}\n{"row":2}\n'],
    ['/words', 'text/plain; charset=utf-8', 'one two'],
    ['/bytes', 'application/octet-stream', 'bytes'],
    ['/listed', 'text/plain; charset=utf-8', 'data: {"row":1}\n\n'],
    ['/only', 'application/x-ndjson', '{"row":1}\n'],
    ['/csv', 'text/csv', 'a,b\n'],
  ])('without the option browser receives %s as %s', async (path, type, body) => {
    const answer = await navigate(await start(platform), path);

    expect(answer.header('content-type')).toBe(type);
    expect(answer.header('x-content-type-options')).toBe('nosniff');
    expect(answer.body).toBe(body);
  });

  it('is distinguished from a client that accepts every type', async () => {
    const app = await start(platform);
    const others: Record<string, string>[] = [
      { Accept: '*/*' },
      { Accept: NAVIGATION.Accept },
      { 'Sec-Fetch-Mode': 'cors' },
      { ...NAVIGATION, Accept: '*/*' },
    ];

    for (const headers of others) {
      expect((await navigate(app, '/rows', headers)).header('content-type')).toBe('application/x-ndjson');
    }
    expect((await navigate(app, '/events', { Accept: 'text/event-stream' })).body).toBe('data: x\n\n');
  });

  it('with the option browser receives a page that cannot run scripts, whatever headers the application sets', async () => {
    const app = await start(platform, (app) =>
      app.use((_request: unknown, response: { setHeader(name: string, value: string): void }, next: () => void) => {
        response.setHeader('Content-Security-Policy', "script-src 'unsafe-inline'");
        next();
      }),
    );

    const answer = await navigate(app, '/events');

    expect(answer.header('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.header('vary')).toContain('Sec-Fetch-Mode');
    expect(answer.header('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox$/,
    );
    expect(answer.body).toMatch(
      /^<!doctype html>.*<ol>\n<li><pre>x<\/pre><\/li>\n<\/ol><p>The stream has ended\.<\/p><\/body><\/html>\n$/s,
    );
  });

  it('receives escaped chunks, and bytes in base64', async () => {
    const app = await start(platform);
    for (const gate of gates) {
      gate.resolve();
    }

    const page = (await navigate(app, '/page')).body;
    const json = (await navigate(app, '/json')).body;

    expect(page).toContain(
      '<li><pre>line 0 &lt;/pre&gt;&lt;/li&gt;&lt;/ol&gt;&lt;script&gt;document.title = &#39;owned&#39;&lt;/script&gt;',
    );
    expect(page).toContain(
      '<li><small>price &lt;7&gt;</small><pre>{&quot;html&quot;:&quot;&lt;b&gt;&quot;}</pre></li>',
    );
    expect(page.match(/<(?!\/?(?:!doctype|html|head|meta|title|style|body|ol|li|pre|small|p)\b)/g)).toBeNull();
    expect(json).toContain('<li><pre>Ynl0ZXM=</pre></li>\n<li><pre>7</pre></li>\n<li><pre>null</pre></li>');
  });

  it('with the option browser shows an error, and before the first byte receives the same response as other clients', async () => {
    const app = await start(platform);
    const client = await app.get('/failing', NAVIGATION);
    await client.until('before');

    gates[0]?.resolve();
    await client.closed();
    const refused = await navigate(app, '/refused');

    expect(client.body).toContain('<li class="error"><pre>&lt;gone&gt;</pre></li>\n');
    expect(client.complete).toBe(false);
    expect(refused.head).toMatch(/^HTTP\/1\.1 404/);
    expect(refused.header('content-security-policy')).toBeUndefined();
  });
});

describe.each(PLATFORMS)('%s: Chromium', (platform) => {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  let context: BrowserContext | undefined;
  const start = useFeed();

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    if (executablePath !== undefined) {
      context = await launchChromium(executablePath, profile);
    }
  }, 60_000);

  afterAll(async () => {
    await context?.close();
    rmSync(profile, { recursive: true, force: true });
  });

  async function go(url: string): Promise<Page> {
    const page = await context?.newPage();
    if (!page) {
      throw new Error('Chromium did not start');
    }
    // The stream may be endless: it is enough that it has begun.
    await page.goto(url, { waitUntil: 'commit' });
    return page;
  }

  itWith('chromium')('shows a stream as plain text, and does not save it', async () => {
    const { url } = await start(platform);

    for (const path of ['/rows', '/listed', '/words']) {
      const page = await go(url(path));
      await page.waitForFunction(`document.body?.innerText.match(/row|two/)`);
      expect(await page.evaluate('document.contentType')).toBe('text/plain');
    }
  });

  itWith('chromium')('shows chunks as they arrive, and runs no script in them', async () => {
    const { url } = await start(platform);
    const complaints: string[] = [];
    const page = await context?.newPage();
    page?.on('console', (message) => complaints.push(message.text()));
    const gone = page?.goto(url('/page'), { waitUntil: 'commit' });

    for (const [i, gate] of gates.entries()) {
      gate.resolve();
      await gone;
      await page?.locator('li').nth(i).waitFor();
      expect(await page?.locator('li').count()).toBe(i + 1);
    }
    await page?.getByText('The stream has ended.').waitFor();

    expect(await page?.title()).toBe('Stream');
    expect(await page?.locator('li pre').first().textContent()).toBe(`line 0 ${HOSTILE}`);
    // The page's own style applies.
    expect(await page?.evaluate(`getComputedStyle(document.querySelector('ol')).listStyleType`)).toBe('none');
    expect(complaints).toEqual([]);
  });

  itWith('chromium')('shows the events of a hub as long as the page is open', async () => {
    const app = await start(platform);
    const hub = hubOf(app);
    const page = await context?.newPage();
    const gone = page?.goto(app.url('/hub'), { waitUntil: 'commit' });
    await joined(hub, 1);

    for (const n of range(1, 3)) {
      await hub.publish({ n });
      await gone;
      await page?.getByText(`{"n":${n}}`).waitFor();
    }
    await page?.close();

    await joined(hub, 0);
  });
});
