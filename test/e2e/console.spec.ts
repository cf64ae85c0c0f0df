import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type CanActivate,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  Inject,
  Injectable,
  Module,
  type NestInterceptor,
  Param,
  Query,
  Scope,
  VersioningType,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { BrowserContext, Page } from 'playwright-core';
import { map } from 'rxjs';
import { StreamingConsoleModule, type StreamingConsoleOptions } from '../../lib/console/index.js';
import {
  ConnectedStream,
  getRunsToken,
  type Hub,
  InjectHub,
  MemoryBroker,
  type Runs,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  StreamRegistry,
  StreamSignal,
} from '../../lib/index.js';
import { expectNoOpenStreams } from '../../lib/testing/index.js';
import { type AppSetup, LogRecorder, PLATFORMS, type Platform } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { deferred } from '../support/events.js';
import { eventsUntil, hubOf, joined, range } from '../support/hub.js';
import { overflowOf, tooFaint, tooSmall } from '../support/page-checks.js';
import { type RunningApp, turns, useApps } from '../support/running.js';
import { startSharedStore } from '../support/shared-brokers.js';
import { itWith, toolPath } from '../support/tools.js';

const TEST_MS = 30_000;
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    // Chromium and fetch() open connections in advance, and a server that closes waits for a request on them.
    server.closeAllConnections();
  }
});

// Registered after the hook above, because hooks of Jest run in reverse order.
const start = useApps();

@Controller('feed')
class Feed {
  constructor(@InjectHub('prices') private readonly prices: Hub) {}

  @Sse('prices')
  watch(@Query('topic') topic?: string) {
    return this.prices.subscribe(topic === undefined ? {} : { topic: topic.split(',') });
  }

  @Stream('fail/:text', { format: 'ndjson' })
  *fail(@Param('text') text: string) {
    yield 1;
    yield 2;
    throw new TypeError(text);
  }

  @Stream('refuse', { format: 'text' })
  refuse(): never {
    throw new ForbiddenException('not you');
  }

  @Stream('flood', { format: 'bytes', overflow: 'drop-oldest', queue: { bytes: 1_000_000 } })
  flood(@ConnectedStream() stream: StreamConnection<Uint8Array>): void {
    const more = () => void stream.send(Buffer.alloc(65_536)).catch(() => undefined);
    const timer = setInterval(() => Array.from({ length: 32 }, more), 5);
    stream.hooks({ onClose: () => clearInterval(timer) });
  }

  @Stream('run', { format: 'ndjson', onDisconnect: 'detach' })
  async *run(@StreamSignal() signal: AbortSignal) {
    yield 'started';
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  }

  @Stream('push/:text', { format: 'text' })
  push(@ConnectedStream() stream: StreamConnection<string>, @Param('text') text: string): void {
    void stream.send(text);
  }
}

interface Row {
  readonly id: string;
  readonly route: string;
  readonly path: string;
  readonly own: boolean;
  readonly bytes: number;
}

interface Ended {
  readonly n: number;
  readonly route: string;
  readonly path: string;
  readonly code: string;
  readonly error: string;
}

interface Snapshot {
  readonly ended: readonly Ended[];
  readonly errors: readonly { readonly route: string; readonly message: string; readonly count: number }[];
  readonly slow: { readonly count: number; readonly slowest: readonly Record<string, unknown>[] };
  readonly at: number;
  readonly open: number;
  readonly bytes: number;
  readonly own: number;
  readonly byteRate: number | null;
  readonly hubs: readonly {
    readonly name: string;
    readonly rate: number | null;
    readonly topics: readonly [string, number][];
    readonly otherTopics: number;
  }[];
  readonly moreHubs: number;
  readonly runs: readonly {
    readonly key: string;
    readonly name: string;
    readonly id: string;
    readonly owner: string;
    readonly status: string;
  }[];
  readonly by: Record<string, { readonly named: [string, number][]; readonly others: number }>;
  readonly matching: number;
  readonly rows: readonly Row[];
}

/** A producer that only waits. */
async function* waiting(until: Promise<void>): AsyncGenerator<string> {
  await until;
  yield 'late';
}

const labelOfUser = ({ headers }: { readonly headers: Readonly<Record<string, string | undefined>> }) =>
  headers['x-user'] === undefined ? undefined : { user: headers['x-user'] };

const allow: CanActivate = { canActivate: () => true };

async function serve(
  platform: Platform,
  options: StreamingConsoleOptions = { guard: allow },
  setup: AppSetup = {},
): Promise<RunningApp> {
  const app = await start(platform, {
    ...setup,
    controllers: [Feed],
    imports: [
      StreamingModule.registerHub({ name: 'prices' }, { name: 'quiet' }),
      StreamingConsoleModule.forRoot(options),
      ...(setup.imports ?? []),
    ],
  });
  servers.push(app.app.getHttpServer() as Server);
  return app;
}

/** The first snapshots that a viewer receives, unchanged. */
async function messages(app: RunningApp, count: number, query = ''): Promise<string[]> {
  const viewer = await app.get(`/console/events${query}`);
  const events = await eventsUntil(viewer, count + 1);
  viewer.disconnect();
  expect(events[0]).toMatchObject({ event: 'history' });
  return events.slice(1, count + 1).map(({ event, data }) => {
    expect(event).toBe('snapshot');
    return data ?? '';
  });
}

async function snapshot(app: RunningApp, query = ''): Promise<Snapshot> {
  const [message = ''] = await messages(app, 1, query);
  return JSON.parse(message) as Snapshot;
}

function post(app: RunningApp, body: unknown, headers: Record<string, string> = {}, path = 'close'): Promise<Response> {
  return fetch(app.url(`/console/${path}`), {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Hubs are listed as they were opened. Nest decides in which order it creates providers. */
const byName = <T extends { readonly name: string }>(hubs: readonly T[]): T[] =>
  [...hubs].sort((a, b) => a.name.localeCompare(b.name));

describe.each(PLATFORMS)('%s: the console', (platform) => {
  it('is one page that loads nothing else, whatever Content Security Policy the application has', async () => {
    const app = await serve(platform, undefined, {
      configure: (nest) => {
        // The default policy of helmet.
        nest.use((_: IncomingMessage, response: ServerResponse, next: () => void) => {
          response.setHeader(
            'Content-Security-Policy',
            "default-src 'self';script-src 'self';upgrade-insecure-requests",
          );
          next();
        });
      },
    });

    const response = await fetch(app.url('/console'));
    const html = await response.text();

    const policy = response.headers.get('content-security-policy') ?? '';
    const hashOf = (tag: string): string => {
      const [, text = ''] = new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`).exec(html) ?? [];
      expect(text.length).toBeGreaterThan(1_000);
      return createHash('sha256').update(text).digest('base64');
    };
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      `script-src 'sha256-${hashOf('script')}'`,
      `style-src 'sha256-${hashOf('style')}'`,
      "connect-src 'self'",
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
      "frame-ancestors 'none'",
    ]);
    expect(html).not.toMatch(/\b(src|href)="(?!data:)/);
    expect(html).not.toMatch(/^(import|export) /m);
  });

  it('shows the open connections without the query of their URL, and marks the connection of the console', async () => {
    const app = await serve(platform);
    const feed = await app.get('/feed/prices?token=secret', { 'Last-Event-ID': 'a<b>' });
    await joined(hubOf(app, 'prices'), 1);
    // A request for a WebSocket to a route that has none receives an HTTP response.
    const upgrade = { Connection: 'Upgrade', Upgrade: 'websocket' };
    const pushed = await app.get('/feed/push/h%C3%A4llo', { 'User-Agent': 'tester/1', ...upgrade });
    await pushed.until('llo');
    await hubOf(app, 'prices').publish('one');
    await feed.until('one');

    const { open, own, rows, matching, by } = await snapshot(app);

    expect({ open, own, matching }).toEqual({ open: 3, own: 1, matching: 3 });
    expect(rows.map(({ route }) => route)).toEqual(
      expect.arrayContaining(['StreamingConsole.events', 'Feed.push', 'Feed.watch']),
    );
    const rowOf = (route: string) => rows.find((row) => row.route === route);
    expect(rowOf('Feed.push')).toEqual({
      id: expect.stringMatching(/^\w+$/),
      route: 'Feed.push',
      path: '/feed/push/h%C3%A4llo',
      protocol: 'HTTP/1.1',
      format: 'text',
      state: 'open',
      age: expect.any(Number),
      bytes: 6,
      queue: 0,
      last: '',
      client: expect.stringMatching(/127\.0\.0\.1$/),
      agent: 'tester/1',
      labels: '',
      own: false,
    });
    expect(rowOf('Feed.watch')).toMatchObject({
      path: '/feed/prices',
      format: 'sse',
      bytes: Buffer.byteLength(feed.body, 'latin1'),
      own: false,
    });
    expect(rowOf('StreamingConsole.events')).toMatchObject({ path: '/console/events', own: true });
    expect(JSON.stringify(rows)).not.toContain('secret');
    expect(by.format?.named).toEqual([
      ['sse', 2],
      ['text', 1],
    ]);
  });

  it('shows the last event that was sent to the client of a hub, and the figures of the hub', async () => {
    const app = await serve(platform);
    const hub = hubOf(app, 'prices');
    const feed = await app.get('/feed/prices');
    await joined(hub, 1);
    const id = await hub.publish('one');
    await feed.until('one');

    const { rows, hubs, bytes } = await snapshot(app, '?filter=feed.WATCH');

    expect(rows).toEqual([expect.objectContaining({ route: 'Feed.watch', last: id })]);
    const alone = { rate: null, topics: [], otherTopics: 0, everywhere: null, broker: null };
    expect(byName(hubs)).toEqual([
      { name: 'prices', subscribers: 1, received: 1, kept: 1, ...alone },
      { name: 'quiet', subscribers: 0, received: 0, kept: 0, ...alone },
    ]);
    expect(bytes).toBeGreaterThanOrEqual(Buffer.byteLength(feed.body, 'latin1'));
  });

  it('shows the labels of streams, also of those that have ended, and finds a stream by them', async () => {
    const app = await serve(platform, { guard: allow }, { options: { labels: labelOfUser } });
    const other = await app.get('/feed/prices', { 'X-User': 'u2' });
    await app.get('/feed/prices', { 'X-User': 'u1' });
    await joined(hubOf(app, 'prices'), 2);
    other.disconnect();
    await joined(hubOf(app, 'prices'), 1);

    const { rows, ended } = await snapshot(app, '?filter=user=u1');

    expect(rows).toEqual([expect.objectContaining({ route: 'Feed.watch', labels: 'user=u1' })]);
    expect(ended).toEqual([expect.objectContaining({ route: 'Feed.watch', labels: 'user=u2' })]);
    expect((await snapshot(app, '?filter=user=u2')).rows).toEqual([]);
  });

  it('shows whether the broker of a hub is connected, and the subscribers in all processes', async () => {
    const brokerOf = startSharedStore();
    const broker = Object.assign(brokerOf(), { status: () => ({ connected: false, since: 17, behindMs: 3 }) });
    const app = await serve(platform, { guard: allow }, { options: { runs: { broker: new MemoryBroker() }, broker } });
    const other = await serve(
      platform,
      { guard: allow },
      { options: { runs: { broker: new MemoryBroker() }, broker: brokerOf() } },
    );
    await Promise.all([app.get('/feed/prices'), other.get('/feed/prices'), other.get('/feed/prices')]);
    await Promise.all([joined(hubOf(app, 'prices'), 1), joined(hubOf(other, 'prices'), 2)]);

    const viewer = await app.get('/console/events');
    await viewer.until(
      /"name":"prices","subscribers":1,"everywhere":3,"broker":\{"connected":false,"since":17,"behindMs":3\}/,
    );

    const { hubs } = await snapshot(other);
    expect(byName(hubs)[0]).toMatchObject({ name: 'prices', subscribers: 2, broker: { connected: true } });
  });

  it('counts the bytes of streams that are over, too', async () => {
    const app = await serve(platform);
    const pushed = await app.get('/feed/push/over');
    await pushed.until('over');
    await app.registry.close();

    expect(await snapshot(app)).toMatchObject({ open: 1, bytes: 4 });
  });

  it('shows streams, and lets them end, whatever properties middleware adds to requests and responses', async () => {
    const app = await serve(platform, undefined, {
      configure: (nest) => {
        nest.use((request: object, response: object, next: () => void) => {
          Object.assign(request, { raw: Buffer.alloc(1) });
          Object.assign(response, { raw: Buffer.alloc(1) });
          next();
        });
      },
    });
    const pushed = await app.get('/feed/push/ended', { 'User-Agent': 'tester/1' });
    await pushed.until('ended');
    await app.registry.close();
    const open = await app.get('/feed/push/open', { 'User-Agent': 'tester/2' });
    await open.until('open');

    const { ended, rows } = await snapshot(app, '?filter=push');

    expect(ended).toEqual([expect.objectContaining({ path: '/feed/push/ended', agent: 'tester/1' })]);
    expect(rows).toEqual([expect.objectContaining({ path: '/feed/push/open', agent: 'tester/2' })]);
  });

  it('lets a stream end whose request has an object in place of its URL', async () => {
    const app = await serve(platform, undefined, {
      configure: (nest) => {
        nest.use((request: { originalUrl?: unknown }, _response: object, next: () => void) => {
          request.originalUrl = new URL('http://test/other');
          next();
        });
      },
    });
    const pushed = await app.get('/feed/push/ended');
    await pushed.until('ended');

    await app.registry.close();

    expect(app.registry.size).toBe(0);
  });

  it('shows the streams that ended before it was opened: route, client, figures and why, without the query', async () => {
    const app = await serve(platform);
    const left = await app.get('/feed/push/left?token=secret', { 'User-Agent': 'tester/1', Authorization: 'secret' });
    await left.until('left');
    left.disconnect();
    await expectNoOpenStreams(app.app);
    const failed = await app.get('/feed/fail/out%20of%20tokens');
    await failed.closed();
    await expectNoOpenStreams(app.app);
    const closed = await app.get('/feed/push/closed');
    await closed.until('closed');
    await app.registry.close();

    const { ended, by } = await snapshot(app);

    expect(ended.map(({ n, route, code, error }) => [n, route, code, error])).toEqual([
      [1, 'Feed.push', 'client-closed', ''],
      [2, 'Feed.fail', 'error', 'TypeError: out of tokens'],
      [3, 'Feed.push', 'server-closed', ''],
    ]);
    expect(ended[0]).toEqual({
      n: 1,
      id: expect.stringMatching(/^\w+$/),
      route: 'Feed.push',
      path: '/feed/push/left',
      protocol: 'HTTP/1.1',
      format: 'text',
      client: expect.stringMatching(/127\.0\.0\.1$/),
      agent: 'tester/1',
      labels: '',
      at: expect.any(Number),
      duration: expect.any(Number),
      chunks: 1,
      bytes: 4,
      code: 'client-closed',
      error: '',
    });
    expect(ended[1]).toMatchObject({ chunks: 2, format: 'ndjson' });
    expect(JSON.stringify(ended)).not.toContain('secret');
    expect(by.reason?.named).toEqual(
      expect.arrayContaining([
        ['client-closed', 1],
        ['error', 1],
        ['server-closed', 1],
      ]),
    );
  });

  it('keeps the last 50 streams that ended, sends each viewer those it does not know, and does not list its own feeds', async () => {
    const app = await serve(platform);
    await Promise.all(range(1, 53).map((n) => app.text(`/feed/fail/${n}`).catch(() => undefined)));
    await expectNoOpenStreams(app.app);
    const viewer = await app.get('/console/events');
    await eventsUntil(viewer, 2);
    await snapshot(app);
    await app.text('/feed/fail/while-it-watches').catch(() => undefined);

    const seen: Ended[][] = [];
    while (!seen.flat().some(({ n }) => n > 53)) {
      const { data = '' } = (await eventsUntil(viewer, seen.length + 2)).at(seen.length + 1) ?? {};
      seen.push([...(JSON.parse(data) as Snapshot).ended]);
    }

    expect(seen[0]?.map(({ n }) => n)).toEqual(Array.from({ length: 50 }, (_, i) => i + 4));
    expect(seen.slice(1).flat()).toMatchObject([{ n: 54, path: '/feed/fail/while-it-watches' }]);
  });

  it('shows each kind of error once with its number, newest first, and no error that a client caused', async () => {
    const app = await serve(platform);
    for (const text of ['a', 'b', 'a', ...Array.from({ length: 20 }, (_, i) => `again ${i}`), 'b']) {
      await app.text(`/feed/fail/${text}`).catch(() => undefined);
    }
    await app.text('/feed/refuse');
    await expectNoOpenStreams(app.app);

    const { errors, ended } = await snapshot(app);

    expect(errors).toHaveLength(20);
    expect(errors[0]).toEqual({
      route: 'Feed.fail',
      name: 'TypeError',
      message: 'b',
      count: 1,
      at: expect.any(Number),
    });
    expect(errors[1]).toMatchObject({ message: 'again 19', count: 1 });
    expect(errors.map(({ message }) => message)).not.toContain('a');
    expect(ended.at(-1)).toMatchObject({ route: 'Feed.refuse', code: 'error', error: 'ForbiddenException: not you' });
  });

  it('shows a client that reads nothing among the slowest, and no client that reads', async () => {
    const app = await serve(platform);
    const reads = await app.get('/feed/push/reads');
    await reads.until('reads');
    const stalled = await app.get('/feed/flood');
    stalled.socket.pause();

    const viewer = await app.get('/console/events');
    let slow: Snapshot['slow'] | undefined;
    // While the buffers of the kernel still grow, the queue may be empty for a moment.
    const isFull = ({ dropped, queue }: Snapshot['slow']['slowest'][number]): boolean =>
      Number(dropped) > 0 && Number(queue) > 131_072;
    for (let count = 2; !slow?.slowest.some(isFull); count++) {
      slow = (JSON.parse((await eventsUntil(viewer, count)).at(-1)?.data ?? '') as Snapshot).slow;
    }

    expect(slow).toEqual({
      count: 1,
      slowest: [
        expect.objectContaining({
          route: 'Feed.flood',
          path: '/feed/flood',
          queue: expect.any(Number),
          stalled: expect.any(Number),
        }),
      ],
    });
  });

  it('names the topics of a hub with most subscribers, and counts the others', async () => {
    const app = await serve(platform);
    const all = Array.from({ length: 12 }, (_, i) => `t${i}`);
    await app.get(`/feed/prices?topic=${all.join()}`);
    await app.get('/feed/prices?topic=t3,t7');
    await app.get('/feed/prices?topic=t7');
    await joined(hubOf(app, 'prices'), 3);

    const { hubs, moreHubs } = await snapshot(app);

    const [prices] = byName(hubs);
    expect(prices).toMatchObject({ name: 'prices', subscribers: 3, otherTopics: 4 });
    expect(prices?.topics).toHaveLength(8);
    expect(prices?.topics.slice(0, 3)).toEqual([
      ['t7', 3],
      ['t3', 2],
      ['t0', 1],
    ]);
    expect(moreHubs).toBe(0);
  });

  it('takes one snapshot each second for all its viewers', async () => {
    const app = await serve(platform);
    const viewers = [await app.get('/console/events'), await app.get('/console/events')];

    const [one, two] = await Promise.all(viewers.map((viewer) => eventsUntil(viewer, 4)));
    const seen = (events: typeof one): Snapshot[] =>
      (events ?? []).slice(2).map(({ data }) => JSON.parse(data ?? '') as Snapshot);

    const shared = seen(one).filter(({ at }) => seen(two).some((other) => other.at === at));
    expect(shared.length).toBeGreaterThan(0);
    const [last] = seen(one).slice(-1);
    expect(last).toMatchObject({ open: 2, own: 2, byteRate: expect.any(Number) });
    expect(last?.hubs[0]?.rate).toBe(0);
  });

  it('sends little data with many connections, and finds one of them', async () => {
    const app = await serve(platform);
    const clients = await Promise.all(
      Array.from({ length: 90 }, (_, i) => app.get(i === 89 ? '/feed/push/needle' : `/feed/push/${'x'.repeat(i + 1)}`)),
    );
    await Promise.all(clients.map((client) => client.until(/\r\n\r\n.*x|needle/s)));

    const [message = ''] = await messages(app, 1);
    const all = JSON.parse(message) as Snapshot;
    const most = await snapshot(app, '?sort=bytes&filter=feed.push');
    const found = await snapshot(app, '?filter=NEEDLE');

    expect(message.length).toBeLessThan(25_000);
    expect(all).toMatchObject({ open: 91, matching: 91 });
    expect(all.rows).toHaveLength(50);
    expect(most.matching).toBe(90);
    expect(most.rows.map(({ bytes }) => bytes)).toEqual(Array.from({ length: 50 }, (_, i) => 89 - i));
    expect(found.rows).toEqual([expect.objectContaining({ path: '/feed/push/needle' })]);
  });

  it.each([
    ['an unknown order', '?sort=colour', '"sort" is one of newest, oldest, bytes, queue'],
    ['a long filter', `?filter=${'x'.repeat(101)}`, '"filter" is one text of at most 100 characters'],
    ['two filters', '?filter=a&filter=b', '"filter" is one text of at most 100 characters'],
  ])('refuses %s', async (_, query, message) => {
    const app = await serve(platform);

    const response = await fetch(app.url(`/console/events${query}`));

    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ message });
  });

  it('finds one stream by its id, and no other stream whose labels contain the id', async () => {
    const app = await serve(platform);
    const pushed = await app.get('/feed/push/text');
    await pushed.until('text');
    const { rows } = await snapshot(app, '?filter=feed.push');
    const id = rows[0]?.id ?? '';
    for (const path of [id, `${id}0`]) {
      await (await app.get(`/feed/push/${path}`)).until(path);
    }

    const found = await snapshot(app, `?filter=%23${id}`);

    expect(found).toMatchObject({ matching: 1, rows: [{ id, path: '/feed/push/text' }] });
  });

  it('closes the stream with the given id', async () => {
    const app = await serve(platform);
    const one = await app.get('/feed/push/one');
    await one.until('one');
    const two = await app.get('/feed/push/two');
    await two.until('two');
    const { rows } = await snapshot(app, '?filter=/one');

    const response = await post(app, { id: rows[0]?.id });

    expect(response.status).toBe(202);
    await one.until(/0\r\n\r\n$/);
    expect(await snapshot(app, '?filter=feed.push')).toMatchObject({ rows: [{ path: '/feed/push/two' }] });
    expect((await post(app, { id: rows[0]?.id })).status).toBe(404);
  });

  it.each<[string, unknown, Record<string, string>, number]>([
    ['a form', 'id=1', { 'Content-Type': 'application/x-www-form-urlencoded' }, 415],
    ['text', '{"id":"1"}', { 'Content-Type': 'text/plain' }, 415],
    ['what another site sends', { id: '1' }, { 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['what a neighbour of the site sends', { id: '1' }, { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['another origin', { id: '1' }, { Origin: 'http://evil.example' }, 403],
    ['an invalid origin', { id: '1' }, { Origin: 'null' }, 403],
    ['a body that is not JSON', '{', {}, 400],
    ['a body that is nothing', 'null', {}, 400],
    ['an id that is a number', { id: 1 }, {}, 400],
    ['no id', [], {}, 400],
    ['an unknown id', { id: 'nobody' }, {}, 404],
  ])('refuses to close a stream for %s', async (_, body, headers, status) => {
    const app = await serve(platform);

    expect((await post(app, body, headers)).status).toBe(status);
  });

  it('shows the runs in progress and those that have ended, without ids with which a client could join, and stops one', async () => {
    const runs = StreamingModule.registerRuns({ name: 'answers', onDisconnect: 'detach' });
    const app = await serve(platform, undefined, { imports: [runs] });
    const answers = app.app.get<Runs>(getRunsToken('answers'));
    const never = deferred();
    const signals: AbortSignal[] = [];
    await answers.start(
      'a-rather-long-id-of-somebody',
      ({ signal }) => {
        signals.push(signal);
        return waiting(never.promise);
      },
      { owner: 'ada' },
    );
    await answers.start('short', () => ['x']);
    const route = await app.get('/feed/run');
    await route.until('"started"');
    while ((await answers.get('short'))?.status !== 'completed') {
      await turns();
    }

    const before = await snapshot(app);
    const running = before.runs.find(({ owner }) => owner === 'ada');

    expect(before.runs.map(({ name, id, owner, status }) => [name, id, owner, status])).toEqual(
      expect.arrayContaining([
        ['answers', expect.stringMatching(/^a-rather-lon[^g]/), 'ada', 'running'],
        ['answers', 'short', '', 'completed'],
        ['Feed.run', '', '', 'running'],
      ]),
    );
    expect(before.runs.at(-1)).toMatchObject({
      id: 'short',
      items: 1,
      bytes: 1,
      viewers: 0,
      endedAt: expect.any(Number),
    });
    const [, secret = ''] = /lastEventId=([\w-]{22})/.exec(route.received) ?? [];
    expect(secret).not.toBe('');
    expect(JSON.stringify(before)).not.toContain(secret);
    await (await app.get('/feed/run', { 'Last-Event-ID': secret })).until('"started"');
    const { rows } = await snapshot(app, '?filter=feed.run');
    expect(rows).toHaveLength(2);
    expect(JSON.stringify(rows)).not.toContain(secret);

    const stop = (body: unknown, headers: Record<string, string> = {}) => post(app, body, headers, 'runs/stop');
    expect((await stop({ id: running?.key }, { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403);
    expect((await stop('id=1', { 'Content-Type': 'application/x-www-form-urlencoded' })).status).toBe(415);
    expect((await stop({ id: 'a-rather-long-id-of-somebody' })).status).toBe(404);
    expect((await stop({ id: running?.key })).status).toBe(202);
    while ((await answers.get('a-rather-long-id-of-somebody'))?.status !== 'stopped') {
      await turns();
    }

    expect(signals[0]?.reason).toMatchObject({ code: 'stopped' });
    expect((await snapshot(app)).runs.find(({ owner }) => owner === 'ada')).toMatchObject({
      status: 'stopped',
      reason: 'stopped',
    });
    expect((await stop({ id: running?.key })).status).toBe(404);
  });

  it('shows nothing to pages of other sites', async () => {
    const app = await serve(platform);
    const status = async (headers: Record<string, string>) =>
      (await app.get('/console/events', headers)).until(/^HTTP\/1\.1 (\d+)/);

    expect(await status({ Origin: 'http://evil.example' })).toMatch(/^HTTP\/1\.1 403/);
    expect(await status({ 'Sec-Fetch-Site': 'cross-site' })).toMatch(/^HTTP\/1\.1 403/);
    expect(await status({ Origin: 'http://test' })).toMatch(/^HTTP\/1\.1 200/);
  });

  it('calls its guard for every request, and the guard may be any provider', async () => {
    @Injectable()
    class Keys {
      readonly key = 'open sesame';
    }
    @Injectable()
    class KeyGuard implements CanActivate {
      constructor(@Inject(Keys) private readonly keys: Keys) {}
      canActivate = (context: ExecutionContext): boolean =>
        context.switchToHttp().getRequest().headers['x-key'] === this.keys.key;
    }
    @Module({ providers: [Keys, KeyGuard] })
    class KeysModule {}
    const app = await serve(platform, { guard: KeyGuard }, { imports: [KeysModule] });
    const statuses = (headers: Record<string, string>) =>
      Promise.all([
        fetch(app.url('/console'), { headers }).then(({ status }) => status),
        app.get('/console/events', headers).then(async (client) => Number((await client.until('\n')).slice(9, 12))),
        post(app, { id: 'nobody' }, headers).then(({ status }) => status),
      ]);

    expect(await statuses({})).toEqual([403, 403, 403]);
    expect(await statuses({ 'X-Key': 'open sesame' })).toEqual([200, 200, 404]);
  });

  it('creates an instance of a guard that is not a provider', async () => {
    class NoGuard implements CanActivate {
      canActivate(): boolean {
        return false;
      }
    }
    const app = await serve(platform, { guard: NoGuard });

    expect((await fetch(app.url('/console'))).status).toBe(403);
  });

  it('without a guard responds only to clients on the same machine', async () => {
    let address = '::ffff:127.0.0.1';
    const app = await serve(
      platform,
      { development: true },
      {
        configure: (nest) => {
          nest.use(({ socket }: IncomingMessage, _: ServerResponse, next: () => void) => {
            Object.defineProperty(socket, 'remoteAddress', { value: address, configurable: true });
            next();
          });
        },
      },
    );

    expect((await fetch(app.url('/console'))).status).toBe(200);
    address = '10.1.27.0';
    expect((await fetch(app.url('/console'), { headers: { 'X-Forwarded-For': '127.0.0.1' } })).status).toBe(403);
  });

  it('without a guard refuses a page of another site after DNS rebinding', async () => {
    const app = await serve(platform, { development: true });
    const { port } = app.app.getHttpServer().address() as AddressInfo;
    const statusFor = async (host: string, path: string): Promise<number | undefined> => {
      const outgoing = request(app.url(path), {
        headers: { Host: host, Origin: `http://${host}` },
        agent: false,
      }).end();
      const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
      answer.destroy();
      return answer.statusCode;
    };

    for (const host of ['localhost', `localhost:${port}`, 'app.localhost:80', '127.0.0.1', '[::1]:3000']) {
      expect([host, await statusFor(host, '/console')]).toEqual([host, 200]);
    }
    for (const host of [
      'evil.example',
      `evil.example:${port}`,
      '127.0.0.1.evil.example',
      'localhost.evil.example',
      '10.1.27.0',
    ]) {
      expect([host, await statusFor(host, '/console')]).toEqual([host, 403]);
      expect(await statusFor(host, '/console/events')).toBe(403);
    }
  });

  it('is below the global prefix, without a version, and not behind the interceptors of the application', async () => {
    const wrap: NestInterceptor = { intercept: (_, next) => next.handle().pipe(map((data: unknown) => ({ data }))) };
    const app = await serve(
      platform,
      { guard: allow, path: '/admin/streams/' },
      {
        configure: (nest) => {
          nest.setGlobalPrefix('api');
          nest.enableVersioning({ type: VersioningType.URI, defaultVersion: '1' });
          nest.useGlobalInterceptors(wrap);
        },
      },
    );

    const page = await app.text('/api/admin/streams');
    const viewer = await app.get('/api/admin/streams/events');

    expect(page).toMatch(/^<!doctype html>/);
    expect(JSON.parse((await eventsUntil(viewer, 2))[1]?.data ?? '')).toMatchObject({ open: 1, own: 1 });
  });

  it('does not delay app.close()', async () => {
    const app = await serve(platform, undefined, { options: { shutdown: { grace: 3_600_000 } } });
    const viewer = await app.get('/console/events');
    await eventsUntil(viewer, 2);

    await app.close();
    await viewer.until(/0\r\n\r\n$/);

    expect(viewer.complete).toBe(true);
  });

  describe('at start-up', () => {
    const { NODE_ENV } = process.env;
    afterEach(() => {
      process.env.NODE_ENV = NODE_ENV;
    });

    it.each<[string, unknown, RegExp]>([
      ['neither a guard nor development', {}, /Give it a "guard"/],
      ['development that is denied', { development: false }, /Give it a "guard"/],
      ['an object that is not a guard', { guard: {} }, /"guard" must be a guard, or a class of one/],
      ['a class that is no guard', { guard: class Nothing {} }, /"guard" is a class without canActivate\(\)/],
      ['an invalid path', { guard: allow, path: 'a b' }, /"path" must be a path/],
      ['an unknown option', { guard: allow, route: 'x' }, /has an unknown option "route"/],
    ])('refuses %s', async (_, options, message) => {
      await expect(serve(platform, options as StreamingConsoleOptions)).rejects.toMatchObject({
        name: 'StreamError',
        code: 'invalid-option',
        message: expect.stringMatching(message),
      });
    });

    it('refuses a request-scoped guard', async () => {
      @Injectable({ scope: Scope.REQUEST })
      class PerRequest implements CanActivate {
        canActivate = (): boolean => true;
      }

      await expect(serve(platform, { guard: PerRequest })).rejects.toMatchObject({
        code: 'invalid-option',
        message: expect.stringMatching(/^PerRequest, the guard of the console, is request-scoped/),
      });
    });

    it('needs no guard if NODE_ENV is development', async () => {
      process.env.NODE_ENV = 'development';

      const app = await serve(platform, {});

      expect((await fetch(app.url('/console'))).status).toBe(200);
    });
  });
});

it('the console does not start without StreamingModule', async () => {
  class Alone {}
  const imports = [StreamingConsoleModule.forRoot({ guard: allow })];

  const created = NestFactory.create({ module: Alone, imports }, { logger: new LogRecorder(), abortOnError: false });

  await expect(created).rejects.toMatchObject({ name: 'StreamError', code: 'module-missing' });
});

describe.each(PLATFORMS)('%s: the page of the console in Chromium', (platform) => {
  const itInChromium = itWith('chromium');
  let profile: string;
  let browser: BrowserContext | undefined;
  let page: Page;
  let app: RunningApp;
  const complaints: string[] = [];

  beforeAll(async () => {
    const executablePath = toolPath('chromium');
    if (executablePath !== undefined) {
      profile = await mkdtemp(join(tmpdir(), 'console-page-'));
      browser = await launchChromium(executablePath, profile);
    }
  }, TEST_MS);

  afterAll(async () => {
    await browser?.close();
    if (profile) {
      await rm(profile, { recursive: true, force: true });
    }
  }, TEST_MS);

  beforeEach(async () => {
    if (browser) {
      complaints.length = 0;
      app = await serve(platform, { guard: allow }, { configure: (nest) => void nest.setGlobalPrefix('api') });
      page = await browser.newPage();
      page.on('console', (message) => complaints.push(message.text()));
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.goto(app.url('/api/console'));
      await page.locator('.status', { hasText: /^Live$/ }).waitFor();
    }
  }, TEST_MS);

  afterEach(() => page?.close(), TEST_MS);

  const rows = () => page.locator('.connections tbody tr');

  itInChromium(
    'shows connections and hubs live, as text, and no client can put HTML into it',
    async () => {
      const evil = await app.get('/api/feed/push/%3Cimg%20src=x%20onerror=alert(1)%3E', {
        'User-Agent': '<script>alert(1)</script>',
      });
      await evil.until('img');
      const slot = rows().filter({ hasText: 'Feed.push' });
      await slot.waitFor();

      expect(await slot.locator('td').allTextContents()).toEqual([
        'Feed.push/api/feed/push/%3Cimg%20src=x%20onerror=alert(1)%3E',
        expect.stringMatching(/127\.0\.0\.1<script>alert$/),
        'textHTTP/1.1',
        expect.stringMatching(/^\d+ s$/),
        '28 B',
        '0',
        '–',
        'Close',
      ]);
      expect((await page.locator('.hubs tbody td:first-child').allTextContents()).sort()).toEqual(['prices', 'quiet']);
      expect(await rows().filter({ hasText: 'StreamingConsole.events' }).locator('.badge').textContent()).toBe(
        'this console',
      );
      await page.locator('.chart .value', { hasText: /^2$/ }).waitFor();
      expect(complaints).toEqual([]);
    },
    TEST_MS,
  );

  itInChromium(
    'closes a connection after the second click on its button',
    async () => {
      const client = await app.get('/api/feed/push/bye');
      await client.until('bye');
      const button = rows().filter({ hasText: 'Feed.push' }).locator('button');

      await button.click();
      expect(await button.textContent()).toBe('Really?');
      expect(client.complete).toBe(false);
      await button.click();
      await client.until(/0\r\n\r\n$/);

      await rows().filter({ hasText: 'Feed.push' }).waitFor({ state: 'detached' });
      expect(await page.locator('.told').textContent()).toMatch(/^Closing Feed\.push, stream \w+\.$/);
      expect(complaints).toEqual([]);
    },
    TEST_MS,
  );

  itInChromium(
    'filters by what is typed and by what is clicked, and can be paused',
    async () => {
      for (const text of ['one', 'two']) {
        await (await app.get(`/api/feed/push/${text}`)).until(text);
      }
      await rows().nth(2).waitFor();

      await page.locator('#filter').fill('push/two');
      await page.locator('.shown', { hasText: '1 that match, of 3 open' }).waitFor();
      expect(await rows().locator('.second').first().textContent()).toBe('/api/feed/push/two');
      await page.locator('.tally button', { hasText: 'Feed.push' }).click();
      await page.locator('.shown', { hasText: '2 that match, of 3 open' }).waitFor();
      expect(await page.locator('#filter').inputValue()).toBe('Feed.push');
      await page.locator('.pause').click();
      await page.locator('.status', { hasText: 'Paused by you' }).waitFor();
      await page.locator('#filter').fill('');
      await page.locator('.pause').click();
      await page.locator('.shown', { hasText: '3 open' }).waitFor();
      expect(complaints).toEqual([]);
    },
    TEST_MS,
  );

  itInChromium(
    'shows the connection of a slow client whose name is clicked, and no other',
    async () => {
      const stalled = await app.get('/api/feed/flood');
      stalled.socket.pause();
      await page.locator('.slow tbody button', { hasText: 'Feed.flood' }).click();

      await page.locator('.shown', { hasText: '1 that match, of 2 open' }).waitFor();
      expect(await rows().locator('.second').first().textContent()).toBe('/api/feed/flood');
    },
    TEST_MS,
  );

  itInChromium(
    'asks for nothing while its tab is hidden',
    async () => {
      const hide = (hidden: boolean) =>
        page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
          document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))`);

      await hide(true);
      await page.locator('.status', { hasText: 'Paused while the tab is hidden' }).waitFor();
      await expectNoOpenStreams(app.app);
      await hide(false);

      await page.locator('.status', { hasText: /^Live$/ }).waitFor();
    },
    TEST_MS,
  );

  itInChromium(
    'comes back after its feed was closed, and after the server has refused it',
    async () => {
      const says = (text: RegExp) => page.locator('.status', { hasText: text }).waitFor();
      await app.app.get(StreamRegistry, { strict: false }).close();
      await says(/^The server has closed the feed\. Reconnecting…$/);
      await says(/^Live$/);

      await page.route('**/events?*', (route) => route.fulfill({ status: 403 }));
      await page.locator('#sort').selectOption({ index: 1 });
      await says(/^The server refuses the feed\. Trying again…$/);
      await page.unroute('**/events?*');
      await says(/^Live$/);
    },
    TEST_MS,
  );

  itInChromium(
    'shows why streams ended, and errors, as text',
    async () => {
      await app.text('/api/feed/fail/%3Cb%3Eout%20of%20tokens').catch(() => undefined);
      await app.text('/api/feed/fail/%3Cb%3Eout%20of%20tokens').catch(() => undefined);
      await page.locator('.ended tbody tr').nth(1).waitFor();

      expect(await page.locator('.ended tbody tr').first().locator('td').allTextContents()).toEqual([
        'Feed.fail/api/feed/fail/%3Cb%3Eout%20of%20tokens',
        expect.stringMatching(/^\d\d:\d\d:\d\d$/),
        'errorTypeError: <b>out of tokens',
        expect.stringMatching(/^127\.0\.0\.1/),
        'ndjsonHTTP/1.1',
        expect.stringMatching(/ m?s$/),
        '2',
        '67 B',
      ]);
      expect(await page.locator('.errors tbody td').allTextContents()).toEqual([
        'TypeError: <b>out of tokensFeed.fail',
        '2',
        expect.stringMatching(/^\d\d:\d\d:\d\d$/),
      ]);
      expect(await page.locator('.tally', { hasText: 'Ended, by reason' }).locator('li').allTextContents()).toEqual([
        'error2',
      ]);
      expect(complaints).toEqual([]);
    },
    TEST_MS,
  );

  itInChromium(
    'draws charts with a scale from the first second',
    async () => {
      const charts = page.locator('.chart');

      expect(await charts.locator('.top').allTextContents()).toEqual([
        '5',
        expect.stringMatching(/^[125]0* k?B\/s$/),
        '1 kB',
        '5',
      ]);
      expect(await charts.locator('.bottom').allTextContents()).toEqual(['0', '0', '0', '0']);
      expect(await charts.locator('.scale').first().textContent()).toMatch(/^\d+ (s|min) agonow$/);
      expect(await charts.nth(2).locator('.curve').getAttribute('d')).toMatch(/^M240 72$|L240 72$/);
    },
    TEST_MS,
  );

  itInChromium(
    'stops a run when its button is pressed twice, and then says why it has ended',
    async () => {
      await (await app.get('/api/feed/run')).until('"started"');
      const row = page.locator('.runs tbody tr').filter({ hasText: 'Feed.run' });
      const button = row.locator('button');
      await button.click();
      expect(await button.textContent()).toBe('Really?');
      expect(await row.locator('td').nth(1).innerText()).toBe('running');
      await button.click();

      await row.filter({ hasText: 'stopped' }).waitFor();
      expect(await row.locator('td').nth(1).innerText()).toMatch(/^stopped\nstopped, \d/);
      expect(await button.isHidden()).toBe(true);
      await page.locator('.told', { hasText: 'Stopping a run of Feed.run.' }).waitFor({ state: 'attached' });
      expect(complaints).toEqual([]);
    },
    TEST_MS,
  );

  describe.each([
    ['narrow', 'light', 360],
    ['narrow', 'dark', 360],
    ['wide', 'light', 1440],
    ['wide', 'dark', 1440],
  ] as const)('in a %s, %s window', (_, colorScheme, width) => {
    itInChromium(
      'fits, and can be read and pressed',
      async () => {
        await app.text('/api/feed/fail/x').catch(() => undefined);
        await (await app.get(`/api/feed/push/${'x'.repeat(90)}`)).until('xxx');
        await rows().nth(1).waitFor();
        await page.locator('.ended tbody tr').first().waitFor();
        await (await app.get('/api/feed/run')).until('"started"');
        await page.locator('.runs tbody tr').first().waitFor();

        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 800 });

        expect(await overflowOf(page)).toBe(0);
        expect(await tooSmall(page)).toEqual([]);
        expect(await tooFaint(page)).toEqual([]);
      },
      TEST_MS,
    );
  });
});
