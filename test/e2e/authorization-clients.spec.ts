import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CanActivate, Controller, type ExecutionContext, Get, Header, UseGuards } from '@nestjs/common';
import type { BrowserContext } from 'playwright-core';
import { WebSocket } from 'ws';
import { connect, StreamResponseError } from '../../lib/client/index.js';
import { Hub, InjectHub, LastEventId, Stream, type StreamHooks, StreamingModule } from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { Recorder } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import { hubOf, joined, SSE } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { useTelemetry } from '../support/telemetry.js';
import { itWith, toolPath } from '../support/tools.js';
import { eventually } from '../support/transports.js';

const EVERY_MS = 30_000;

/** Whether the session of all clients is open. */
let isOpen = true;
/** The statuses of the guard, in order. */
let guarded = new Recorder<boolean>();
let ended = new Recorder();

beforeEach(() => {
  isOpen = true;
  guarded = new Recorder();
  ended = new Recorder();
});

const sessionGuard: CanActivate = {
  canActivate(_context: ExecutionContext) {
    guarded.add(isOpen);
    return isOpen;
  },
};

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub) {}

  @UseGuards(sessionGuard)
  @Stream('feed', {
    format: ['sse', 'ndjson'],
    labels: () => ({ user: 'u1' }),
    reauthorize: { every: EVERY_MS, guards: [sessionGuard] },
  })
  feed(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Get()
  @Header('Content-Type', 'text/html')
  page() {
    return '<!doctype html>';
  }
}

const hooks: StreamHooks = { onClose: (_, { code }) => ended.add(code) };
const launch = useApps();

async function start(platform: Platform, fastify = {}) {
  const app = await launch(platform, {
    controllers: [Feed],
    imports: [StreamingModule.registerHub({ name: 'feed' })],
    options: { websocket: true, heartbeat: false, hooks, limits: { perConnection: false } },
    fastify,
  });
  return { ...app, clock: useFakeClock(app.app), hub: hubOf<string>(app) };
}

describe.each(PLATFORMS)('%s: a client whose access is revoked', (platform) => {
  it.each(['sse', 'ws', 'poll'] as const)(
    'over %s ends with the status, and goes on after the last item once it has access again',
    async (as) => {
      const app = await start(platform);
      const store = new Map<string, string>();
      const resume = {
        get: (key: string) => store.get(key),
        set: (key: string, id: string) => void store.set(key, id),
      };
      const open = () => connect<string>(app.url('/feed'), { as, WebSocket, resume, retry: { base: 1 } });
      const stream = open();
      const first = stream.next();
      await joined(app.hub, 1);
      await app.hub.publish('one');
      expect(await first).toMatchObject({ value: { data: 'one' } });
      const second = stream.next();
      second.catch(() => undefined);
      await joined(app.hub, 1);

      isOpen = false;
      await app.clock.advance(EVERY_MS);

      await expect(second).rejects.toBeInstanceOf(StreamResponseError);
      await expect(second).rejects.toMatchObject({ status: 403 });
      expect(stream.state).toBe('closed');
      isOpen = true;
      await app.hub.publish('two');
      const again = open();
      expect(await again.next()).toMatchObject({ value: { data: 'two' } });
      again.close();
    },
  );

  it('over ndjson ends with the status', async () => {
    const app = await start(platform);
    const stream = connect<string>(app.url('/feed'), { as: 'ndjson' });
    const first = stream.next();
    first.catch(() => undefined);
    await joined(app.hub, 1);

    await app.registry.close({ user: 'u1' }, { code: 'revoked' });

    await expect(first).rejects.toMatchObject({ code: 'failed', status: 401 });
  });
});

describe('HTTP/2: a client whose access is revoked', () => {
  const open = useSessions();

  it('is told so with a clean end', async () => {
    const app = await start('fastify', { http2: true });
    const reply = (await open(app.port)).get('/feed', { accept: 'text/event-stream' });
    await reply.until('event: position');

    expect(await app.registry.close({ user: 'u1' }, { code: 'revoked' })).toBe(1);
    await reply.closed();

    expect(reply.complete).toBe(true);
    expect(reply.received).toContain('event: error\ndata: {"statusCode":401,');
    expect(ended.seen).toEqual(['revoked']);
  });
});

describe('10 000 streams', () => {
  const open = useSessions();
  const STREAMS = 10_000;
  const SESSIONS = 10;

  it('never ask a store that is down in the same second, and go on', async () => {
    const app = await start('fastify', { http2: true });
    const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => open(app.port)));
    const replies = sessions.flatMap((session) =>
      Array.from({ length: STREAMS / SESSIONS }, () => session.session.request({ ':path': '/feed', ...SSE })),
    );
    for (const reply of replies) {
      reply.on('error', () => undefined).resume();
    }
    await eventually(() => app.registry.size === STREAMS);
    const down = import.meta.jest.spyOn(sessionGuard, 'canActivate').mockRejectedValue(new Error('The store is down'));
    let before = 0;
    let most = 0;
    for (let second = 1; second <= 60; second++) {
      await app.clock.advance(1_000);
      most = Math.max(most, down.mock.calls.length - before);
      before = down.mock.calls.length;
    }

    // Two checks of each stream at least, and four at most.
    expect(down.mock.calls.length).toBeGreaterThanOrEqual(2 * STREAMS);
    expect(down.mock.calls.length).toBeLessThanOrEqual(4 * STREAMS);
    expect(most).toBeLessThan(STREAMS / 8);
    expect(app.registry.size).toBe(STREAMS);
    expect(app.logs.of('warn').length).toBeLessThanOrEqual(2);
    down.mockRestore();
    await app.clock.advance(EVERY_MS);
    expect(app.registry.size).toBe(STREAMS);
  }, 300_000);
});

describe('The end of a stream whose access is revoked', () => {
  const collect = useTelemetry();

  it('has the code in its span and in the metrics, and is no error', async () => {
    const telemetry = collect();
    const app = await start('express');
    const client = await app.get('/feed', SSE);
    await joined(app.hub, 1);

    await app.registry.close({ user: 'u1' }, { code: 'revoked' });
    await client.until(/\r\n0\r\n\r\n$/);

    const [span] = telemetry.spans.filter(({ name }) => name === 'stream Feed.feed');
    expect(span?.attributes).toMatchObject({ 'nestjs_streaming.close_code': 'revoked' });
    expect(span?.status.code).toBe(0);
    expect(span?.events.map(({ name }) => name)).toEqual(['first byte']);
    const points = await telemetry.points('streams.ended');
    expect(points).toMatchObject([{ attributes: { 'nestjs_streaming.close_code': 'revoked' }, value: 1 }]);
  });
});

describe.each(PLATFORMS)('%s: the EventSource of Chromium', (platform) => {
  const it = itWith('chromium');
  const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
  let context: BrowserContext | undefined;

  afterAll(async () => {
    await context?.close();
    rmSync(profile, { recursive: true, force: true });
  });

  it('receives the error event, reconnects once, and ends with the 403 of the guard', async () => {
    const app = await start(platform);
    context ??= await launchChromium(toolPath('chromium') as string, profile);
    const page = await context.newPage();
    await page.goto(app.url('/'));
    const seen = page.evaluate(`new Promise((resolve) => {
      const source = new EventSource('/feed');
      const seen = [];
      source.addEventListener('error', ({ data }) => {
        seen.push(data ? JSON.parse(data).statusCode : source.readyState);
        if (source.readyState === EventSource.CLOSED) resolve(seen);
      });
    })`);
    await joined(app.hub, 1);
    isOpen = false;

    await app.clock.advance(EVERY_MS);

    // The record, the end of the response (0: connecting), and the refused request (2: closed).
    expect(await seen).toEqual([403, 0, 2]);
    expect(guarded.seen).toEqual([true, false, false]);
    await page.close();
  });
});
