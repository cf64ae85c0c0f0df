import { Controller, Query, type Type } from '@nestjs/common';
import {
  defineFormat,
  type Hub,
  type HubOptions,
  type HubOverflowPolicy,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  StreamingModule,
  type StreamOptions,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { dataOf, hubOf, joined, NDJSON, publishAll, range, SSE } from '../support/hub.js';
import { type RunningApp, turns, useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const launch = useApps();
const EVENTS = ['events.v1+json'];

function feed(options: StreamOptions = {}, overflow: HubOverflowPolicy = 'disconnect'): Type {
  @Controller()
  class Feed {
    constructor(@InjectHub('feed') private readonly hub: Hub) {}

    @Stream('feed', options)
    all(@LastEventId() after?: string, @Query('topic') topic?: string) {
      return this.hub.subscribe({ topic, after, overflow, queue: { items: 4 } });
    }

    @Sse('sse')
    sse(@LastEventId() after?: string) {
      return this.hub.subscribe({ after });
    }
  }
  return Feed;
}

async function start(
  platform: Platform,
  controller: Type = feed(),
  hub: Partial<HubOptions> = {},
  options: object = {},
): Promise<RunningApp & { readonly hub: Hub }> {
  const app = await launch(platform, {
    controllers: [controller],
    imports: [StreamingModule.registerHub({ name: 'feed', ...hub })],
    options: { websocket: true, ...options },
  });
  return Object.assign(app, { hub: hubOf(app) });
}

describe.each(PLATFORMS)('%s: a hub over WebSocket', (platform) => {
  it('sends each event as a message with only its data', async () => {
    const app = await start(platform);
    const client = await WebSocketClient.open(app.url('/feed'));
    await joined(app.hub, 1);

    await publishAll(app.hub, ['a', { b: 1 }, Buffer.from('c')], { type: 'price' });

    expect(await client.messages.count(3)).toEqual(['a', '{"b":1}', Buffer.from('c')]);
    client.socket.terminate();
  });

  it.each([
    ['with events.v1+json', EVENTS],
    ['without a subprotocol', []],
  ])('has subscribed a client when the WebSocket is open, %s', async (_how, protocols) => {
    const app = await start(platform);

    // No wait in between: the client has not sent anything since.
    const client = await WebSocketClient.open(app.url('/feed'), protocols);
    await app.hub.publish('first');
    await app.hub.publish('last');

    const messages = (await client.messages.count(protocols.length + 2)).map(String);
    expect(messages.slice(-2).map((each) => each.replace(/^.*"data":"(.*)".*$/, '$1'))).toEqual(['first', 'last']);
    client.socket.terminate();
  });

  it('sends the fields of events with the subprotocol', async () => {
    const app = await start(platform);
    const client = await WebSocketClient.open(app.url('/feed'), EVENTS);
    await joined(app.hub, 1);

    const ids = await publishAll(app.hub, [{ b: 1 }, 'a'], { type: 'price' });

    // First its position, so that a client that disconnects before the first event can resume from there.
    const messages = await client.json(3);
    expect(messages).toEqual([
      { id: expect.any(String), type: 'position', data: {} },
      { id: ids[0], type: 'price', data: { b: 1 } },
      { id: ids[1], type: 'price', data: 'a' },
    ]);
    client.socket.terminate();
  });

  it.each([
    ['by its URL', (app: RunningApp, id = '') => WebSocketClient.open(app.url(`/feed?lastEventId=${id}`), EVENTS)],
    [
      'by a subprotocol',
      (app: RunningApp, id = '') =>
        WebSocketClient.open(app.url('/feed'), [...EVENTS, `last-event-id.${encodeURIComponent(id)}`]),
    ],
  ])('resumes a client %s without a gap or a duplicate', async (_how, open) => {
    const app = await start(platform);
    const ids = await publishAll(app.hub, range(1, 150));

    const client = await open(app, ids[49]);
    const later = publishAll(app.hub, range(151, 200));
    const messages = (await client.json(150)) as { data: number }[];
    await later;

    expect(messages.map(({ data }) => data)).toEqual(range(51, 200));
    client.socket.terminate();
  });

  it.each([
    ['is long, in a subprotocol', [`last-event-id.${'x'.repeat(8_000)}`], ''],
    ['is long, in its URL', [], `?lastEventId=${'x'.repeat(8_000)}`],
    ['has a NUL, in a subprotocol', ['last-event-id.a%00b'], ''],
    ['has a NUL, in its URL', [], '?lastEventId=a%00b'],
  ])('sends a reset to a client whose id %s', async (_how, protocols, query) => {
    const app = await start(platform);
    const oldest = await app.hub.publish(1);

    const client = await WebSocketClient.open(app.url(`/feed${query}`), protocols);

    expect(await client.json(2)).toEqual([{ reset: { reason: 'malformed', oldest } }, 1]);
    client.socket.terminate();
  });

  it('sends a reset to a client that has missed events', async () => {
    const app = await start(platform, feed(), { history: { limit: 2 } });
    const ids = await publishAll(app.hub, [1, 2, 3, 4, 5]);

    const data = await WebSocketClient.open(app.url(`/feed?lastEventId=${ids[0]}`));
    const events = await WebSocketClient.open(app.url(`/feed?lastEventId=${ids[0]}`), EVENTS);

    const reset = { reason: 'evicted', oldest: ids[3] };
    expect(await data.json(3)).toEqual([{ reset }, 4, 5]);
    expect(await events.json(3)).toEqual([
      { id: ids[2], type: 'reset', data: reset },
      { id: ids[3], data: 4 },
      { id: ids[4], data: 5 },
    ]);
    for (const { socket } of [data, events]) {
      socket.terminate();
    }
  });

  it('sends positions and pings to a subscriber of a quiet topic', async () => {
    const app = await start(platform, feed(), {}, { heartbeat: 100 });
    const client = await WebSocketClient.open(app.url('/feed?topic=quiet'), EVENTS);
    await joined(app.hub, 1);
    const pinged = new Promise((resolve) => client.socket.once('ping', resolve));

    const id = await app.hub.publish('not for it', { topic: 'other' });

    while (!client.messages.seen.includes(`{"id":"${id}","type":"position","data":{}}`)) {
      await client.messages.count(client.messages.seen.length + 1);
    }
    await pinged;
    client.socket.terminate();
  });

  const big = (i: number): string => `${i}`.padEnd(500_000);

  it.each(['drop-oldest', 'drop-newest', 'disconnect'] as const)(
    'with %s reports to a slow client how many events it has missed',
    async (overflow) => {
      const app = await start(platform, feed({ format: 'ndjson' }, overflow));
      const client = await WebSocketClient.open(app.url('/feed'));
      await joined(app.hub, 1);
      client.socket.pause();
      let published = 0;
      // Until its buffers are full, and more events than its queue holds have followed.
      while (app.hub.size() === 1 && app.registry.snapshot().totals.dropped === 0) {
        await app.hub.publish(big(++published));
        await turns(1);
      }
      client.socket.resume();

      if (overflow === 'disconnect') {
        expect(await client.closed).toEqual({ code: 1013, reason: 'slow-consumer' });
        return;
      }
      await app.hub.publish('last');
      while (client.messages.seen.at(-1) !== '"last"') {
        await client.messages.count(client.messages.seen.length + 1);
      }
      const messages = client.messages.seen.map((each) => JSON.parse(String(each)) as unknown);
      const dropped = messages.flatMap((each) => (each as { lagged?: { dropped: number } }).lagged?.dropped ?? []);
      const numbers = messages.filter((each) => typeof each === 'string' && each !== 'last').map(Number);
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
      expect(numbers.length + dropped.reduce((sum, each) => sum + each, 0)).toBe(published);
      expect(dropped.length).toBeGreaterThan(0);
      client.socket.terminate();
    },
    30_000,
  );

  it('encodes and frames an event once for all clients', async () => {
    let encoded = 0;
    const counting = defineFormat({
      name: 'counting',
      mediaTypes: ['text/x-counting'],
      encode: (value: unknown) => {
        encoded++;
        return `<${String(value)}>`;
      },
    });
    const app = await start(platform, feed({ format: counting }));
    const clients = await Promise.all(Array.from({ length: 5 }, () => WebSocketClient.open(app.url('/feed'))));
    await joined(app.hub, 5);
    const written: unknown[] = [];
    for (const socket of await app.sockets.count(5)) {
      const { write } = socket;
      Object.assign(socket, {
        write: (...args: unknown[]) => {
          written.push(args[0]);
          return Reflect.apply(write, socket, args) as boolean;
        },
      });
    }

    await app.hub.publish('a');

    for (const { messages } of clients) {
      expect(await messages.count(1)).toEqual(['<a>']);
    }
    expect(encoded).toBe(1);
    expect(written).toHaveLength(5);
    expect(new Set(written).size).toBe(1);
    for (const { socket } of clients) {
      socket.terminate();
    }
  });

  it('sends the same events in the same order over all protocols', async () => {
    const app = await start(platform);
    const [data, events] = [
      await WebSocketClient.open(app.url('/feed')),
      await WebSocketClient.open(app.url('/feed'), EVENTS),
    ];
    const sse = await app.get('/sse', SSE);
    const ndjson = await app.get('/feed', NDJSON);
    await joined(app.hub, 4);

    for (let i = 0; i < 20; i++) {
      await publishAll(app.hub, range(i * 10 + 1, i * 10 + 10));
    }

    expect(await data.json(200)).toEqual(range(1, 200));
    expect(((await events.json(201)) as { data: number }[]).slice(1).map((each) => each.data)).toEqual(range(1, 200));
    await sse.until('data: 200\n\n');
    await ndjson.until('\n200\n');
    expect(dataOf(sse.body)).toEqual(range(1, 200).map(String));
    expect(ndjson.body.trim().split('\n').map(Number)).toEqual(range(1, 200));
    for (const { socket } of [data, events]) {
      socket.terminate();
    }
  });

  it('closes the WebSocket with 1001 when the application closes, after a retry for clients with the subprotocol', async () => {
    const app = await start(platform);
    const data = await WebSocketClient.open(app.url('/feed'));
    const events = await WebSocketClient.open(app.url('/feed'), EVENTS);
    await joined(app.hub, 2);

    await app.close();

    expect(await data.closed).toEqual({ code: 1001, reason: 'shutdown' });
    expect(await events.closed).toEqual({ code: 1001, reason: 'shutdown' });
    expect(data.messages.seen).toEqual([]);
    expect(JSON.parse(String(events.messages.seen.at(-1)))).toEqual({
      type: 'shutdown',
      retry: expect.any(Number),
      data: {},
    });
  });
});
