import { Controller, NotFoundException, Query } from '@nestjs/common';
import {
  ConnectedStream,
  Hub,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import { eventsOf, eventsUntil, hubOf, joined, NDJSON, publishAll, range, SSE } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

/** Several of these are more than a socket of Node.js buffers. */
const LARGE = 'x'.repeat(65_000);

const streams = new Recorder<StreamConnection>();

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('numbers')
  *numbers(@Query('to') to = '3') {
    yield* range(1, Number(to));
  }

  @Stream('text', { format: 'text' })
  *text() {
    yield 'ü';
    yield '';
    yield '👋🏽';
  }

  @Stream('missing')
  missing() {
    throw new NotFoundException();
  }

  @Sse('broken')
  *broken() {
    yield 'first';
    throw new Error('broken');
  }

  @Stream('silent', { openDelay: 1_000 })
  silent(@ConnectedStream() stream: StreamConnection) {
    streams.add(stream);
  }

  @Stream('pushed', { format: 'ndjson', queue: { items: 10 }, overflow: 'drop-oldest' })
  pushed(@ConnectedStream() stream: StreamConnection) {
    this.push(stream);
  }

  @Stream('refused', { format: 'ndjson', queue: { items: 10 }, overflow: 'drop-newest' })
  refused(@ConnectedStream() stream: StreamConnection) {
    this.push(stream);
  }

  @Stream('live')
  live(@LastEventId() after?: string) {
    return this.hub.subscribe({ after, overflow: 'drop-oldest', queue: { items: 5, bytes: 1024 * 1024 * 64 } });
  }

  /** 30 at once: the first is larger than the buffer of the socket, and 10 wait. */
  private push(stream: StreamConnection): void {
    for (let i = 0; i < 30; i++) {
      void stream.send(LARGE);
    }
    void stream.close();
  }
}

const ERRORLESS = { opened: 0, open: 0, ended: {}, resumed: 0, chunks: 0, bytes: 0, dropped: 0, lagged: 0 };
const NEVER = { count: 0, sum: 0, max: 0 };

describe.each(PLATFORMS)('%s: the registry has figures of', (platform: Platform) => {
  const launch = useApps();
  const session = useSessions();

  async function start(options: StreamingModuleOptions = {}, setup: AppSetup = {}) {
    const ended = new Recorder();
    const app = await launch(platform, {
      ...setup,
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { ...options, hooks: { onClose: (_stream, { code }) => ended.add(code) } },
    });
    /** The groups, without their times. */
    const groups = () =>
      app.registry.snapshot().groups.map(({ timeToFirstByte: _first, duration: _duration, ...group }) => group);
    return { ...app, ended, groups, hub: hubOf(app) };
  }

  it('no stream before the first one', async () => {
    const { registry } = await start();
    const totals = { ...ERRORLESS, timeToFirstByte: NEVER, duration: NEVER };
    expect(registry.snapshot()).toEqual({ totals, groups: [] });
  });

  it('streams, chunks and bytes, in total and by route, format and protocol', async () => {
    const { text, groups, ended, registry } = await start();
    await text('/numbers', NDJSON);
    await text('/numbers?to=5', NDJSON);
    await text('/numbers', SSE);
    await text('/text');
    await ended.count(4);

    expect(groups()).toEqual([
      {
        ...ERRORLESS,
        ...{ route: 'Feed.numbers', format: 'ndjson', protocol: 'http/1.1' },
        ...{ opened: 2, ended: { completed: 2 }, chunks: 8, bytes: '1\n2\n3\n1\n2\n3\n4\n5\n'.length },
      },
      {
        ...ERRORLESS,
        ...{ route: 'Feed.numbers', format: 'sse', protocol: 'http/1.1' },
        ...{ opened: 1, ended: { completed: 1 }, chunks: 3, bytes: 'data: 1\n\ndata: 2\n\ndata: 3\n\n'.length },
      },
      {
        ...ERRORLESS,
        ...{ route: 'Feed.text', format: 'text', protocol: 'http/1.1' },
        ...{ opened: 1, ended: { completed: 1 }, chunks: 2, bytes: Buffer.byteLength('ü👋🏽') },
      },
    ]);
    expect(registry.snapshot().totals).toMatchObject({ opened: 4, open: 0, ended: { completed: 4 }, chunks: 13 });
  });

  it('streams that fail, before and after their head', async () => {
    const { get, groups, ended } = await start();
    await (await get('/missing')).until('404');
    const broken = await get('/broken');
    await broken.closed();
    await ended.count(2);

    expect(groups()).toEqual([
      {
        ...ERRORLESS,
        ...{ route: 'Feed.missing', format: undefined, protocol: 'http/1.1' },
        ...{ opened: 1, ended: { error: 1 } },
      },
      {
        ...ERRORLESS,
        ...{ route: 'Feed.broken', format: 'sse', protocol: 'http/1.1' },
        ...{ opened: 1, ended: { error: 1 }, chunks: 1, bytes: Buffer.byteLength(broken.body) },
      },
    ]);
  });

  it('the open streams of a hub, with the chunks of each, and those that have resumed', async () => {
    const { get, groups, hub, ended } = await start();
    const [first] = await publishAll(hub, ['one', 'two', 'three']);
    const clients = [await get('/live', SSE), await get('/live', { ...SSE, 'Last-Event-ID': String(first) })];
    await joined(hub, 2);
    await publishAll(hub, range(1, 10));
    await eventsUntil(clients[0] as (typeof clients)[0], 10);
    await eventsUntil(clients[1] as (typeof clients)[0], 12);

    const bytes = clients.map(({ body }) => Buffer.byteLength(body)).reduce((a, b) => a + b);
    const group = { ...ERRORLESS, route: 'Feed.live', format: 'sse', protocol: 'http/1.1' };
    expect(groups()).toEqual([{ ...group, opened: 2, open: 2, resumed: 1, chunks: 22, bytes }]);

    for (const client of clients) {
      client.disconnect();
    }
    await ended.count(2);
    expect(groups()).toEqual([{ ...group, opened: 2, ended: { 'client-closed': 2 }, resumed: 1, chunks: 22, bytes }]);
  });

  it('a resumed stream as soon as its head is sent, because its format is unknown before that', async () => {
    const { get, groups, ended } = await start();
    const before = streams.seen.length;
    const client = await get('/silent', { 'Last-Event-ID': '7' });
    const stream = (await streams.count(before + 1))[before] as StreamConnection;
    expect(groups()).toMatchObject([{ format: undefined, open: 1, opened: 0, resumed: 0 }]);
    await stream.send({ n: 1 });
    await client.until('{"n":1}');
    expect(groups()).toMatchObject([{ format: 'ndjson', open: 1, opened: 1, resumed: 1 }]);
    await stream.close();
    await ended.count(1);
    expect(groups()).toMatchObject([{ format: 'ndjson', open: 0, opened: 1, resumed: 1 }]);
  });

  it.each(['pushed', 'refused'])('chunks that are not sent to a client because they are %s', async (path) => {
    const { text, groups, ended } = await start();
    const body = await text(`/${path}`);
    await ended.count(1);

    // The first, those that wait, and the `lagged` record.
    expect(body.split('\n')).toHaveLength(1 + 10 + 1 + 1);
    expect(groups()).toMatchObject([{ chunks: 12, bytes: body.length, dropped: 19, lagged: 1 }]);
  });

  it('events that are dropped for a slow subscriber of a hub', async () => {
    const { get, groups, hub, registry } = await start();
    const client = await get('/live', SSE);
    await joined(hub, 1);
    client.socket.pause();
    let published = 0;
    // How many are needed depends on the buffers of the kernel.
    while (registry.snapshot().totals.dropped < 20) {
      await hub.publish(LARGE);
      published++;
      await turns();
    }
    client.socket.resume();
    await hub.publish('last');
    await client.until('data: last\n\n');

    const records = eventsOf(client.body);
    const notices = records.filter(({ event }) => event === 'lagged');
    const dropped = notices.reduce(
      (sum, { data }) => sum + (JSON.parse(String(data)) as { dropped: number }).dropped,
      0,
    );
    expect(notices.length).toBeGreaterThan(0);
    expect(records.length - notices.length + dropped).toBe(published + 1);
    expect(groups()).toMatchObject([
      { chunks: records.length, bytes: Buffer.byteLength(client.body), dropped, lagged: notices.length },
    ]);
  });

  it('bytes before they are compressed', async () => {
    const { text, groups, ended } = await start({ compression: { encodings: ['gzip'], threshold: 0 } });
    const body = await text('/numbers?to=500', { ...NDJSON, 'Accept-Encoding': 'gzip' });
    await ended.count(1);

    expect(groups()).toMatchObject([{ format: 'ndjson', chunks: 500, bytes: body.length }]);
  });

  it('long polls, in the format that their client asked for', async () => {
    const { url, groups, hub, ended } = await start();
    const id = await hub.publish('known');
    await publishAll(hub, ['a', 'b']);
    const response = await fetch(url('/live'), { headers: { ...SSE, Prefer: 'wait=10', 'Last-Event-ID': id } });
    const body = await response.text();
    await ended.count(1);

    expect(groups()).toMatchObject([
      { format: 'sse', opened: 1, resumed: 1, ended: { completed: 1 }, chunks: 2, bytes: body.length },
    ]);
  });

  it('WebSockets', async () => {
    const { url, groups, ended } = await start({ websocket: true });
    const client = await WebSocketClient.open(url('/numbers'));
    expect(await client.all()).toEqual(['1', '2', '3']);
    await ended.count(1);

    expect(groups()).toMatchObject([
      { route: 'Feed.numbers', protocol: 'websocket', opened: 1, ended: { completed: 1 }, chunks: 3, bytes: 9 },
    ]);
  });

  if (platform === 'fastify') {
    it('HTTP/2', async () => {
      const { port, groups, ended } = await start({}, { fastify: { http2: true } });
      await (await session(port)).text('/numbers', { accept: 'application/x-ndjson' });
      await ended.count(1);

      expect(groups()).toMatchObject([{ protocol: 'http/2', format: 'ndjson', opened: 1, chunks: 3, bytes: 6 }]);
    });
  }

  it('how long streams took to open and to end, in milliseconds', async () => {
    const { app, get, registry, ended } = await start();
    const clock = useFakeClock(app);
    const before = streams.seen.length;
    const client = await get('/silent', NDJSON);
    const stream = (await streams.count(before + 1))[before] as StreamConnection;
    expect(stream.protocol).toBe('http/1.1');
    expect(registry.snapshot().totals).toMatchObject({ opened: 0, open: 1, timeToFirstByte: NEVER, duration: NEVER });

    await clock.advance(1_000);
    await client.until('\r\n\r\n');
    const timeToFirstByte = { count: 1, sum: 1_000, max: 1_000 };
    expect(registry.snapshot().totals).toMatchObject({ opened: 1, open: 1, timeToFirstByte, duration: NEVER });

    await clock.advance(4_000);
    await stream.close();
    await ended.count(1);
    const duration = { count: 1, sum: 5_000, max: 5_000 };
    expect(registry.snapshot().totals).toMatchObject({ opened: 1, open: 0, timeToFirstByte, duration });
    clock.restore();
  });
});
