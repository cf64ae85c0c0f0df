import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, Get, Header, Query, type Type } from '@nestjs/common';
import { EventSource } from 'eventsource';
import type { EventSourceMessage } from 'eventsource-parser';
import { EventSourceParserStream } from 'eventsource-parser/stream';
import type { BrowserContext, Page } from 'playwright-core';
import {
  ConnectedStream,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { type RunningApp, useApps } from '../support/running.js';
import { itWith, toolPath } from '../support/tools.js';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    // Chromium and fetch() open connections in advance, and a server that closes waits for a request on them.
    server.closeAllConnections();
  }
});

// Registered after the hook above, because hooks of Jest run in reverse order.
const launch = useApps();

async function start(platform: Platform, setup: AppSetup): Promise<RunningApp> {
  const app = await launch(platform, setup);
  servers.push(app.app.getHttpServer() as Server);
  return app;
}

const TRICKY = 'first line\r\nsecond: line\n\n fourth\rfifth 👋🏽';
/** The text as a client receives it, with one kind of line break. */
const TRICKY_RECEIVED = 'first line\nsecond: line\n\n fourth\nfifth 👋🏽';

/** How a test controls the streams of its application. */
interface Script {
  /** The `Last-Event-ID` of every request, in the order of the requests. */
  readonly lastIds: Recorder<string | undefined>;
  readonly goOn: Deferred;
  readonly controllers: Type[];
}

function script(): Script {
  const lastIds = new Recorder<string | undefined>();
  const goOn = deferred();

  @Controller()
  class Streams {
    /** Sends four events, and stays open until the client disconnects. */
    @Sse('events')
    events(@ConnectedStream() stream: StreamConnection): void {
      void stream.send({ comment: 'hello' });
      void stream.send({ data: 'one', id: '1' });
      void stream.send({ data: { two: 2 }, id: 'zwei-ö', type: 'tick' });
      void stream.send({ data: TRICKY, id: '3' });
      void goOn.promise.then(() => stream.send({ data: 'last', id: '4' }));
    }

    /** Sends two events on each connection after the last id, and ends. */
    @Sse('resuming')
    *resuming(@LastEventId() after?: string) {
      lastIds.add(after);
      const from = Number(after ?? 0);
      yield { retry: 10 };
      yield { id: String(from + 1), data: `event ${from + 1}` };
      yield { id: String(from + 2), data: `event ${from + 2}` };
    }

    @Sse('failing')
    async *failing() {
      yield { data: 'before', id: '1', retry: 60_000 };
      await goOn.promise;
      throw new Error('secret');
    }

    @Stream('numbers')
    *numbers(@Query('n') n = '3') {
      for (let i = 1; i <= Number(n); i++) {
        yield { i };
      }
    }

    @Stream('slow', { format: 'text' })
    async *slow() {
      yield 'first\n';
      await goOn.promise;
      yield 'second\n';
    }

    /** A page of the same origin, to which a browser may connect. */
    @Get('page')
    @Header('Content-Type', 'text/html; charset=utf-8')
    page(): string {
      return '<!doctype html><title>page</title>';
    }
  }
  return { lastIds, goOn, controllers: [Streams] };
}

interface Seen {
  readonly type: string;
  readonly data: unknown;
  readonly id: string;
}

const FOUR: readonly Seen[] = [
  { type: 'message', data: 'one', id: '1' },
  { type: 'tick', data: '{"two":2}', id: 'zwei-ö' },
  { type: 'message', data: TRICKY_RECEIVED, id: '3' },
];

describe.each(PLATFORMS)('%s: eventsource', (platform) => {
  const sources: EventSource[] = [];
  afterEach(() => {
    for (const source of sources.splice(0)) {
      source.close();
    }
  });

  function connect(url: string): { source: EventSource; seen: Recorder<Seen>; connectionEvents: Recorder } {
    const source = new EventSource(url);
    sources.push(source);
    const seen = new Recorder<Seen>();
    const connectionEvents = new Recorder();
    source.addEventListener('open', () => connectionEvents.add('open'));
    source.addEventListener('error', (event) =>
      connectionEvents.add('data' in event ? `error ${String(event.data)}` : 'error'),
    );
    for (const type of ['message', 'tick']) {
      source.addEventListener(type, (event) => seen.add({ type: event.type, data: event.data, id: event.lastEventId }));
    }
    return { source, seen, connectionEvents };
  }

  it('opens, and receives messages in order with their ids, types and lines', async () => {
    const { controllers, goOn } = script();
    const { url } = await start(platform, { controllers });

    const { source, seen, connectionEvents } = connect(url('/events'));
    await seen.count(3);
    goOn.resolve();

    expect(await seen.count(4)).toEqual([...FOUR, { type: 'message', data: 'last', id: '4' }]);
    expect(connectionEvents.seen).toEqual(['open']);
    expect(source.readyState).toBe(EventSource.OPEN);
  });

  it('reconnects with the last id after the server ends the stream', async () => {
    const { controllers, lastIds } = script();
    const { url } = await start(platform, { controllers });

    const { seen } = connect(url('/resuming'));

    expect((await seen.count(6)).slice(0, 6).map(({ data }) => data)).toEqual(
      [1, 2, 3, 4, 5, 6].map((i) => `event ${i}`),
    );
    expect(lastIds.seen.slice(0, 3)).toEqual([undefined, '2', '4']);
  });

  it('receives an error without secret details', async () => {
    const { controllers, goOn } = script();
    const { url, logs } = await start(platform, { controllers });

    const { seen, connectionEvents } = connect(url('/failing'));
    await seen.count(1);
    goOn.resolve();

    expect((await connectionEvents.count(2)).slice(0, 2)).toEqual([
      'open',
      'error {"statusCode":500,"message":"Internal server error"}',
    ]);
    expect(logs.of('error').join()).toContain('secret');
  });
});

describe.each(PLATFORMS)('%s: eventsource-parser', (platform) => {
  async function parse(url: string, onRetry: (ms: number) => void = () => undefined): Promise<EventSourceMessage[]> {
    const response = await fetch(url, { headers: { Accept: 'text/event-stream' } });
    const events: EventSourceMessage[] = [];
    const parser = new EventSourceParserStream({ onError: 'terminate', onRetry });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).pipeThrough(parser).getReader();
    for (let step = await reader?.read(); step && !step.done; step = await reader?.read()) {
      events.push(step.value);
    }
    return events;
  }

  it('reads every event without an error', async () => {
    const { controllers } = script();
    const { url } = await start(platform, { controllers });
    const retries = new Recorder<number>();

    const events = await parse(url('/resuming'), retries.add);

    expect(events).toEqual([
      { id: '1', event: undefined, data: 'event 1' },
      { id: '2', event: undefined, data: 'event 2' },
    ]);
    expect(retries.seen).toEqual([10]);
  });

  it('reads events from a route on which the client has chosen SSE', async () => {
    const { controllers } = script();
    const { url } = await start(platform, { controllers });

    expect((await parse(url('/numbers?n=1000'))).map(({ data }) => data)).toEqual(
      Array.from({ length: 1_000 }, (_, i) => `{"i":${i + 1}}`),
    );
  });
});

describe.each(PLATFORMS)('%s: fetch', (platform) => {
  it('reads chunks while the stream is open', async () => {
    const { controllers, goOn } = script();
    const { url } = await start(platform, { controllers });

    const response = await fetch(url('/slow'));
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();

    expect((await reader?.read())?.value).toBe('first\n');
    goOn.resolve();
    expect((await reader?.read())?.value).toBe('second\n');
    expect((await reader?.read())?.done).toBe(true);
  });

  it('can abort a request, which the server notices', async () => {
    const { controllers } = script();
    const closes = new Recorder();
    const { url } = await start(platform, {
      controllers,
      options: { hooks: { onClose: (_, { code }) => closes.add(code) } },
    });
    const controller = new AbortController();

    const response = await fetch(url('/slow'), { signal: controller.signal });
    await response.body?.getReader().read();
    controller.abort();

    expect(await closes.count(1)).toEqual(['client-closed']);
  });

  it('rejects for a stream that failed', async () => {
    const { controllers, goOn } = script();
    const { url } = await start(platform, { controllers });

    const response = await fetch(url('/failing'));
    goOn.resolve();

    await expect(response.text()).rejects.toThrow();
  });

  it('receives the format that it asks for', async () => {
    const { controllers } = script();
    const { url } = await start(platform, { controllers });

    const json = await fetch(url('/numbers'), { headers: { Accept: 'application/json' } });

    expect(await json.json()).toEqual([{ i: 1 }, { i: 2 }, { i: 3 }]);
  });
});

describe.each(PLATFORMS)('%s: curl -N', (platform) => {
  /** Runs curl; `output` returns the output so far. */
  function curl(...args: string[]) {
    const child = spawn('curl', ['-sS', '-N', '--noproxy', '*', ...args]);
    const changes = new Recorder();
    const state = { output: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      state.output += text;
      changes.add(text);
    });
    const exit = new Promise<number | null>((resolve) => child.once('close', resolve));
    const until = async (text: string): Promise<void> => {
      while (!state.output.includes(text)) {
        await changes.count(changes.seen.length + 1);
      }
    };
    return { state, exit, until };
  }

  itWith('curl')('prints chunks while the stream is open', async () => {
    const { controllers, goOn } = script();
    const { url } = await start(platform, { controllers });

    const { state, exit, until } = curl(url('/slow'));
    await until('first\n');
    expect(state.output).toBe('first\n');
    goOn.resolve();

    expect(await exit).toBe(0);
    expect(state.output).toBe('first\nsecond\n');
  });

  itWith('curl')('receives NDJSON by default, and events if it asks for them', async () => {
    const { controllers } = script();
    const { url } = await start(platform, { controllers });
    const plain = curl(url('/numbers'));
    const events = curl('-H', 'Accept: text/event-stream', url('/numbers'));

    expect([await plain.exit, await events.exit]).toEqual([0, 0]);
    expect(plain.state.output).toBe('{"i":1}\n{"i":2}\n{"i":3}\n');
    expect(events.state.output).toBe('data: {"i":1}\n\ndata: {"i":2}\n\ndata: {"i":3}\n\n');
  });

  itWith('curl')('receives the whole body over HTTP/1.0', async () => {
    const { controllers } = script();
    const { url } = await start(platform, { controllers });
    const { state, exit } = curl('--http1.0', url('/numbers?n=5000'));

    expect(await exit).toBe(0);
    expect(state.output.split('\n')).toHaveLength(5_001);
  });

  itWith('curl')('exits with an error when the stream fails half-way', async () => {
    const { controllers, goOn } = script();
    const { url } = await start(platform, { controllers });

    const { state, exit, until } = curl(url('/failing'));
    await until('data: before');
    goOn.resolve();

    expect(await exit).not.toBe(0);
    expect(state.output).toContain('event: error\ndata: {"statusCode":500,"message":"Internal server error"}\n\n');
  });
});

describe.each(PLATFORMS)("%s: Chromium's own EventSource", (platform) => {
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  let context: BrowserContext | undefined;

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    if (executablePath !== undefined) {
      context = await launchChromium(executablePath, profile);
    }
  }, 60_000);

  async function serve(options?: StreamingModuleOptions): Promise<ReturnType<typeof script> & RunningApp> {
    const scripted = script();
    return { ...scripted, ...(await start(platform, { controllers: scripted.controllers, options })) };
  }

  afterAll(async () => {
    await context?.close();
    rmSync(profile, { recursive: true, force: true });
  });

  /** A page of the application. Calls of `report()` in it are recorded. */
  async function open(url: string): Promise<{ page: Page; reports: Recorder<Seen> }> {
    const page = await context?.newPage();
    if (!page) {
      throw new Error('Chromium did not start');
    }
    const reports = new Recorder<Seen>();
    await page.exposeFunction('report', reports.add);
    await page.goto(url);
    return { page, reports };
  }

  /** Connects in the page, which reports every event. */
  async function connect(page: Page, path: string): Promise<void> {
    await page.evaluate(`
      window.source = new EventSource(${JSON.stringify(path)});
      for (const type of ['open', 'message', 'tick', 'error']) {
        source.addEventListener(type, (event) =>
          report({ type, data: event.data ?? null, id: event.lastEventId ?? '' }));
      }
    `);
  }

  itWith('chromium')(
    'opens, and receives messages in order with their ids, types and lines',
    async () => {
      const { goOn, url } = await serve();
      const { page, reports } = await open(url('/page'));

      await connect(page, '/events');
      await reports.count(4);
      goOn.resolve();

      expect(await reports.count(5)).toEqual([
        { type: 'open', data: null, id: '' },
        ...FOUR,
        { type: 'message', data: 'last', id: '4' },
      ]);
      expect(await page.evaluate('source.readyState')).toBe(1);
      await page.close();
    },
    30_000,
  );

  itWith('chromium')(
    'reconnects with the last id after the server ends the stream',
    async () => {
      const { lastIds, url } = await serve();
      const { page, reports } = await open(url('/page'));

      await connect(page, '/resuming');
      await lastIds.count(3);
      await reports.count(10);

      expect(lastIds.seen.slice(0, 3)).toEqual([undefined, '2', '4']);
      expect(reports.seen.slice(0, 8).map(({ type, data }) => data ?? type)).toEqual([
        'open',
        'event 1',
        'event 2',
        'error',
        'open',
        'event 3',
        'event 4',
        'error',
      ]);
      await page.close();
    },
    30_000,
  );

  itWith('chromium')(
    'receives an error without secret details',
    async () => {
      const { goOn, url } = await serve();
      const { page, reports } = await open(url('/page'));

      await connect(page, '/failing');
      await reports.count(2);
      goOn.resolve();
      // A slow Chromium may notice that the body is cut off before it has read the end of the data, and reconnects.
      const errorIndex = () => reports.seen.findIndex(({ type, data }) => type === 'error' && data !== null);
      while (errorIndex() < 0) {
        await reports.count(reports.seen.length + 1);
      }

      expect(reports.seen.slice(0, 2)).toEqual([
        { type: 'open', data: null, id: '' },
        { type: 'message', data: 'before', id: '1' },
      ]);
      expect(reports.seen[errorIndex()]).toEqual({
        type: 'error',
        data: '{"statusCode":500,"message":"Internal server error"}',
        id: '1',
      });
      await page.close();
    },
    30_000,
  );

  itWith('chromium')(
    'that is closed disconnects, which the server notices',
    async () => {
      const closes = new Recorder();
      const { url } = await serve({ hooks: { onClose: (_, { code }) => closes.add(code) } });
      const { page, reports } = await open(url('/page'));

      await connect(page, '/events');
      await reports.count(4);
      await page.evaluate('source.close()');

      expect(await closes.count(1)).toEqual(['client-closed']);
      await page.close();
    },
    30_000,
  );
});
