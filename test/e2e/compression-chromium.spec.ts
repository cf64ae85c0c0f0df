import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, Header } from '@nestjs/common';
import type { BrowserContext, Page } from 'playwright-core';
import {
  ConnectedStream,
  type Hub,
  InjectHub,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { CODINGS } from '../support/decoding-client.js';
import { Recorder } from '../support/events.js';
import { hubOf, joined } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { itWith, toolPath } from '../support/tools.js';

const servers: Server[] = [];

// A browser keeps unused connections open, and Node.js waits for connections without a request.
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
  }
});

// Registered after the hook above, because hooks of Jest run in reverse order.
const launch = useApps();

describe.each(PLATFORMS)('%s: Chromium, with compression', (platform) => {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  let context: BrowserContext | undefined;

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

  async function start(encodings: readonly string[]) {
    const streams = new Recorder<StreamConnection>();

    @Controller()
    class Feed {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Get('page')
      @Header('content-type', 'text/html')
      page() {
        return '<!doctype html><title>page</title>';
      }

      @Sse('hub')
      events(@ConnectedStream() stream: StreamConnection) {
        streams.add(stream);
        return this.hub.subscribe();
      }

      @Stream('pushed', { format: 'text' })
      pushed(@ConnectedStream() stream: StreamConnection) {
        streams.add(stream.open());
      }
    }
    const compression = { encodings: encodings as readonly 'gzip'[] };
    const imports = [StreamingModule.registerHub({ name: 'feed' })];
    // Browsers accept br and zstd only from trustworthy origins, such as localhost.
    const app = await launch(platform, { controllers: [Feed], imports, options: { compression } });
    servers.push(app.app.getHttpServer() as Server);
    const page = await context?.newPage();
    if (!page) {
      throw new Error('Chromium did not start');
    }
    const reports = new Recorder<string>();
    await page.exposeFunction('report', reports.add);
    await page.goto(`http://localhost:${app.port}/page`);
    return { hub: hubOf(app), page, streams, reports };
  }

  /** Reports the coding, every piece of the body, and the end. */
  async function read(page: Page, path: string): Promise<void> {
    await page.evaluate(`(async () => {
      const response = await fetch(${JSON.stringify(path)});
      await report('coding ' + response.headers.get('content-encoding'));
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      (async () => {
        try {
          for (let step = await reader.read(); !step.done; step = await reader.read()) await report(step.value);
          await report('end');
        } catch (error) {
          await report('cut off');
        }
      })();
    })()`);
  }

  itWith('chromium')(
    'EventSource receives each event of a hub as soon as it is published, also after a silence',
    async () => {
      const { hub, page, reports } = await start(['br', 'gzip']);
      await hub.publish('before');
      await page.evaluate(`
        window.source = new EventSource('/hub');
        source.onmessage = (event) => report(event.data);
        source.onerror = () => { source.close(); report('closed'); };
      `);
      await joined(hub, 1);

      for (const data of ['one', 'two', 'three']) {
        await hub.publish(data);
        expect((await reports.count(reports.seen.length + 1)).at(-1)).toBe(data);
      }
      await hub.close();

      expect(await reports.count(4)).toEqual(['one', 'two', 'three', 'closed']);
      await page.close();
    },
    30_000,
  );

  itWith('chromium')(
    'fetch reads the stream of a hub up to its clean end',
    async () => {
      const { hub, page, reports } = await start(['br', 'gzip']);
      await read(page, '/hub');
      await joined(hub, 1);

      await hub.publish('one');
      while (!reports.seen.join('').includes('data: one\n\n')) {
        await reports.count(reports.seen.length + 1);
      }
      await hub.close();
      while (reports.seen.at(-1) !== 'end') {
        await reports.count(reports.seen.length + 1);
      }

      expect(reports.seen[0]).toBe('coding gzip');
      expect(reports.seen).not.toContain('cut off');
      await page.close();
    },
    30_000,
  );

  itWith('chromium')(
    'fetch rejects for the stream of a hub that is cut off, after it has read the events that were sent',
    async () => {
      const { hub, page, streams, reports } = await start(['gzip']);
      await read(page, '/hub');
      await joined(hub, 1);
      await hub.publish('one');
      while (!reports.seen.join('').includes('data: one\n\n')) {
        await reports.count(reports.seen.length + 1);
      }
      const [stream] = await streams.count(1);

      await stream?.send({ data: 1n }).catch(() => undefined);
      while (reports.seen.at(-1) !== 'cut off') {
        await reports.count(reports.seen.length + 1);
      }

      expect(reports.seen.join('')).toContain('event: error\n');
      await page.close();
    },
    30_000,
  );

  for (const coding of CODINGS) {
    itWith('chromium')(
      `fetch receives each chunk as soon as it is sent, and the end: ${coding}`,
      async () => {
        const { page, streams, reports } = await start([coding]);
        await read(page, '/pushed');
        const [stream] = await streams.count(1);
        await reports.count(1);

        await stream?.send('one');
        await reports.count(2);
        await stream?.send('two');
        await reports.count(3);
        await stream?.close();

        expect(await reports.count(4)).toEqual([`coding ${coding}`, 'one', 'two', 'end']);
        await page.close();
      },
      30_000,
    );
  }
});
