import type { Server } from 'node:http';
import { Controller, Query, type Type } from '@nestjs/common';
import { EventSource, type EventSourceInit } from 'eventsource';
import type { EventSourceMessage } from 'eventsource-parser';
import { RecordWindow } from '../../lib/broker/record-window.js';
import {
  defineFormat,
  event,
  Hub,
  type HubOptions,
  type HubReset,
  InjectHub,
  LastEventId,
  Stream,
  type StreamFormat,
  StreamingModule,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { Recorder } from '../support/events.js';
import {
  dataOf,
  eventsOf,
  eventsUntil,
  hubOf,
  joined,
  NDJSON,
  PublishLoop,
  publishAll,
  range,
  recordsOf,
  SSE,
  untilLast,
} from '../support/hub.js';
import { RawClient } from '../support/raw-client.js';
import { type RunningApp, turns, useApps } from '../support/running.js';

/** Restores what a test has replaced. */
const restores: (() => void)[] = [];

function replace<T, K extends keyof T>(target: T, key: K, value: T[K]): void {
  const original = target[key];
  restores.push(() => {
    target[key] = original;
  });
  target[key] = value;
}

const servers: Server[] = [];
const sources: EventSource[] = [];

afterEach(() => {
  for (const restore of restores.splice(0)) {
    restore();
  }
  for (const source of sources.splice(0)) {
    source.close();
  }
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
  }
});

// Registered after the hook above, because hooks of Jest run in reverse order.
const launch = useApps();

type Setup = Omit<AppSetup, 'controllers'> & { hub?: Partial<HubOptions>; controllers?: Type[] };

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('all', { format: ['sse', 'ndjson'] })
  all(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('topics', { format: ['sse', 'ndjson'] })
  topics(@Query('topic') topic: string | string[], @LastEventId() after?: string) {
    return this.hub.subscribe({ topic, after });
  }

  @Stream('even', { format: ['sse', 'ndjson'] })
  even(@LastEventId() after?: string) {
    return this.hub.subscribe({ filter: ({ data }) => Number(data) % 2 === 0, after });
  }

  @Stream('last', { format: ['sse', 'ndjson'] })
  last(@Query('n') n: string, @Query('topic') topic?: string | string[], @LastEventId() after?: string) {
    return this.hub.subscribe({ last: Number(n), topic, after });
  }
}

/** An application with the hubs `feed` and `other`. */
async function start(
  platform: Platform,
  { hub = {}, controllers = [Feed], ...setup }: Setup = {},
): Promise<RunningApp & { readonly hub: Hub; since(id: string | undefined, path?: string): Promise<RawClient> }> {
  const imports = [StreamingModule.registerHub({ name: 'feed', ...hub }, { name: 'other' })];
  const app = await launch(platform, { ...setup, controllers, imports });
  servers.push(app.app.getHttpServer() as Server);
  const since = (id = '', path = '/all') => app.get(path, { ...SSE, 'Last-Event-ID': id });
  return { ...app, hub: hubOf(app), since };
}

/** The `reset` that a client received, if any, and the events after it. */
function resetIn(body: string): { reset: HubReset | undefined; id: string | undefined; data: unknown[] } {
  const [first, ...rest] = eventsOf(body);
  return first?.event === 'reset'
    ? { reset: JSON.parse(first.data ?? '') as HubReset, id: first.id, data: rest.map(({ data }) => data) }
    : { reset: undefined, id: undefined, data: eventsOf(body).map(({ data }) => data) };
}

describe.each(PLATFORMS)('%s: a client that resumes', (platform) => {
  it('receives the events that it has missed, and then new ones, without a gap or a duplicate', async () => {
    const { hub, since } = await start(platform);
    const ids = await publishAll(hub, range(1, 300));

    for (const n of [1, 2, 63, 64, 65, 127, 128, 129, 299]) {
      const client = await since(ids[n - 1]);
      await client.until('data: 300\n\n');
      expect(eventsOf(client.body)).toEqual(range(n + 1, 300).map((i) => ({ id: ids[i - 1], data: String(i) })));
    }
    const clients = await Promise.all([ids[0], ids[149], ids[299]].map((id) => since(id)));
    const live = await publishAll(hub, ['a', 'b']);
    await Promise.all(clients.map((client) => client.until('data: b\n\n')));

    expect(clients.map(({ body }) => recordsOf(body).length)).toEqual([301, 152, 2]);
    for (const { body } of clients) {
      expect(recordsOf(body).slice(-2)).toEqual([
        { id: live[0], data: 'a' },
        { id: live[1], data: 'b' },
      ]);
    }
  });

  it('and has missed nothing receives nothing', async () => {
    const { hub, since } = await start(platform);
    const id = await hub.publish(1);

    const client = await since(id);
    await client.until('\r\n\r\n');
    await turns(5);
    expect(client.body).toBe('');
    await hub.publish(2);
    await client.until('data: 2\n\n');

    expect(dataOf(client.body)).toEqual(['2']);
  });

  it('with the id that it received on opening receives the events that were published after that', async () => {
    const { get, hub, since } = await start(platform);
    for (const before of [[], [1, 2]]) {
      await publishAll(hub, before);
      const client = await get('/all', SSE);
      await client.until('\n\n\r\n');
      const [{ id } = {}] = recordsOf(client.body);
      client.disconnect();
      await joined(hub, 0);
      await publishAll(hub, ['missed']);

      const back = await since(id);
      await back.until('missed\n\n');

      expect(dataOf(back.body)).toEqual(['missed']);
      back.disconnect();
      await joined(hub, 0);
    }
  });

  it('with an empty id, or without one, begins with new events', async () => {
    const { get, hub } = await start(platform);
    const position = await hub.publish('before');
    const clients = [await get('/all', SSE), await get('/all', { ...SSE, 'Last-Event-ID': '' })];
    await joined(hub, 2);

    const id = await hub.publish('one');
    await Promise.all(clients.map((client) => client.until('one\n\n')));

    for (const { body } of clients) {
      expect(body).toBe(`event: position\nid: ${position}\ndata: {}\n\nid: ${id}\ndata: one\n\n`);
    }
  });

  it('receives types, topics and data other than text unchanged', async () => {
    const { hub, since } = await start(platform);
    const first = await hub.publish('first');
    const ids = [
      await hub.publish({ n: 1 }, { type: 'tick', topic: 'a' }),
      await hub.publish('two\nlines', { key: 'k' }),
      await hub.publish(Buffer.of(0, 255)),
    ];

    const client = await since(first);
    await client.until('AP8=\n\n');

    expect(client.body).toBe(
      `event: tick\nid: ${ids[0]}\ndata: {"n":1}\n\nid: ${ids[1]}\ndata: two\ndata: lines\n\nid: ${ids[2]}\ndata: AP8=\n\n`,
    );
  });

  it('after an event in the middle of a turn receives the following events of that turn', async () => {
    const { get, hub, since } = await start(platform);
    const client = await get('/all', SSE);
    await joined(hub, 1);
    const ids = await publishAll(hub, range(1, 10));
    await client.until('data: 10\n\n');

    const back = await since(ids[4]);
    await back.until('data: 10\n\n');

    expect(dataOf(back.body)).toEqual(['6', '7', '8', '9', '10']);
  });

  it('in NDJSON receives the events that it has missed too', async () => {
    const { get, hub } = await start(platform);
    const [, second] = await publishAll(hub, [1, 2, 3, 4]);

    const client = await get('/all', { ...NDJSON, 'Last-Event-ID': second ?? '' });
    await client.until('4\n');
    await hub.publish(5);
    await client.until('5\n');

    expect(client.body).toBe('3\n4\n5\n');
  });

  it('and reads slowly is not disconnected, however much it has missed', async () => {
    const { hub, since } = await start(platform, { hub: { queue: { items: 2, bytes: 1000 } } });
    const big = 'x'.repeat(50_000);
    const [first] = await publishAll(
      hub,
      range(0, 200).map((n) => `${n} ${big}`),
    );
    const client = await since(first);
    client.socket.pause();
    const whole = untilLast(client, 'data: end\n\n');
    await turns(200);
    await hub.publish('end');
    client.socket.resume();
    await whole;

    expect(dataOf(client.body).map((data) => data?.split(' ')[0])).toEqual([...range(1, 200).map(String), 'end']);
  }, 60_000);

  it('and reads slowly while the history is evicted receives a reset in between', async () => {
    const { hub, since, sockets } = await start(platform, { hub: { history: { limit: 300 } } });
    const big = 'x'.repeat(50_000);
    const text = (n: number) => `${n} ${big}`;
    const [first] = await publishAll(hub, range(0, 200).map(text));
    const client = await since(first);
    client.socket.pause();
    const [socket] = await sockets.count(1);
    while ((socket?.writableLength ?? 0) === 0) {
      await turns(1);
    }
    const whole = untilLast(client, 'data: end\n\n');
    await publishAll(hub, range(201, 450).map(text));
    const end = await hub.publish('end');
    client.socket.resume();
    await whole;

    const events = eventsOf(client.body);
    expect(events.pop()).toEqual({ id: end, data: 'end' });
    const at = events.findIndex(({ event }) => event === 'reset');
    expect(at).toBeGreaterThan(0);
    expect(events.filter(({ event }) => event === 'reset')).toHaveLength(1);
    const numbers = events.map(({ data }) => Number(data?.split(' ')[0]));
    expect(numbers.slice(0, at)).toEqual(range(1, at));
    expect(numbers.slice(at + 1)).toEqual(range(152, 450));
    expect(JSON.parse(events[at]?.data ?? '')).toEqual({ reason: 'evicted', oldest: events[at + 1]?.id });
  }, 60_000);
});

describe.each(PLATFORMS)('%s: a client that cannot resume', (platform) => {
  it('because too many events followed receives a reset, and the history', async () => {
    const { get, hub, since } = await start(platform, { hub: { history: { limit: 3 } } });
    const ids = await publishAll(hub, range(1, 6));

    const kept = await since(ids[2]);
    await kept.until('data: 6\n\n');
    const lost = await since(ids[1]);
    await lost.until('data: 6\n\n');
    const ndjson = await get('/all', { ...NDJSON, 'Last-Event-ID': ids[0] ?? '' });
    await ndjson.until('\n6\n');
    await hub.publish(7);
    await Promise.all([kept, lost].map((client) => client.until('data: 7\n\n')));
    await ndjson.until('7\n');

    expect(resetIn(kept.body)).toEqual({ reset: undefined, id: undefined, data: ['4', '5', '6', '7'] });
    expect(resetIn(lost.body)).toEqual({
      reset: { reason: 'evicted', oldest: ids[3] },
      id: ids[2],
      data: ['4', '5', '6', '7'],
    });
    expect(ndjson.body).toBe(`{"reset":{"reason":"evicted","oldest":"${ids[3]}"}}\n4\n5\n6\n7\n`);
  });

  it('because it was disconnected for too long receives a reset, and the history', async () => {
    const { hub, since } = await start(platform, { hub: { history: { ttl: 60_000 } } });
    const begin = Date.now();
    let now = begin;
    replace(Date, 'now', () => now);
    const [one, two] = await publishAll(hub, [1, 2]);
    now = begin + 40_000;
    const [three] = await publishAll(hub, [3, 4]);
    now = begin + 59_999;
    const early = await since(one);
    await early.until('data: 4\n\n');
    now = begin + 60_001;
    const [kept, lost] = [await since(two), await since(one)];
    await Promise.all([kept, lost].map((client) => client.until('data: 4\n\n')));
    now = begin + 100_001;
    const [none, last] = [await since(three), await since(two)];
    await Promise.all([none, last].map((client) => client.until('\n\n\r\n')));

    expect(resetIn(early.body)).toEqual({ reset: undefined, id: undefined, data: ['2', '3', '4'] });
    expect(resetIn(kept.body)).toEqual({ reset: undefined, id: undefined, data: ['3', '4'] });
    expect(resetIn(lost.body)).toEqual({ reset: { reason: 'evicted', oldest: three }, id: two, data: ['3', '4'] });
    for (const { body } of [none, last]) {
      expect(resetIn(body)).toMatchObject({ reset: { reason: 'evicted', oldest: null }, data: [] });
    }
  });

  it('because the history expires at the moment when it is read receives a reset', async () => {
    const { hub, since } = await start(platform, { hub: { history: { ttl: 60_000 } } });
    let now = Date.now();
    replace(Date, 'now', () => now);
    const [zero] = await publishAll(hub, [0, 1, 2]);
    now += 30_000;
    const [three] = await publishAll(hub, [3, 4]);
    now += 29_999;
    // The time changes between two reads of the clock.
    const after = RecordWindow.prototype.after;
    replace(RecordWindow.prototype, 'after', function (this: RecordWindow<unknown>, ...args) {
      now += 1;
      return after.apply(this, args);
    });

    const client = await since(zero);
    await client.until('data: 4\n\n');
    await hub.publish(5);
    await client.until('data: 5\n\n');

    const { reset, data } = resetIn(client.body);
    expect([reset?.reason, reset?.oldest, ...data]).toEqual(['evicted', three, '3', '4', '5']);
  });

  it('because the server was restarted receives a reset, and the history', async () => {
    const before = await start(platform);
    const ids = await publishAll(before.hub, [1, 2, 3]);
    await before.close();
    const { hub, since } = await start(platform);
    const fresh = await since(ids[2]);
    await fresh.until('\n\n\r\n');
    const first = await hub.publish('a');
    await hub.publish('b');

    const late = await since(ids[0]);
    await late.until('data: b\n\n');
    await fresh.until('data: b\n\n');

    expect(resetIn(fresh.body)).toMatchObject({ reset: { reason: 'epoch', oldest: null }, data: ['a', 'b'] });
    expect(resetIn(late.body)).toMatchObject({ reset: { reason: 'epoch', oldest: first }, data: ['a', 'b'] });
  });

  it('because its id is newer than the log receives a reset', async () => {
    const { hub, since } = await start(platform);
    const id = await hub.publish(1);

    for (const offset of ['2', 'zz', 'zzzzzzzzzz']) {
      const client = await since(id.replace(/[^.]*$/, offset));
      await client.until('data: 1\n\n');
      expect(resetIn(client.body)).toMatchObject({ reset: { reason: 'epoch', oldest: id }, data: ['1'] });
    }
    expect(hub.size()).toBe(3);
  });

  it('because its id is of another hub receives a reset, and the history of this one', async () => {
    const app = await start(platform);
    const foreign = await hubOf(app, 'other').publish('secret');
    const id = await app.hub.publish(1);

    const client = await app.since(foreign);
    await client.until('data: 1\n\n');

    expect(resetIn(client.body)).toMatchObject({ reset: { reason: 'hub', oldest: id }, data: ['1'] });
    expect(client.body).not.toContain('secret');
  });

  it.each([
    'x',
    '0',
    '-1',
    '...',
    'a.b.c.d',
    '__proto__',
    'ü-€',
    '%00',
    'x'.repeat(12_000),
    ' inner space ',
    '{"reset":true}',
  ])('because its id is malformed receives a reset (%p)', async (id) => {
    const { hub, since } = await start(platform);
    const oldest = await hub.publish(1);
    await hub.publish(2);

    const client = await since(Buffer.from(id).toString('latin1'));
    await client.until('data: 2\n\n');

    expect(resetIn(client.body)).toMatchObject({ reset: { reason: 'malformed', oldest }, data: ['1', '2'] });
  });

  it.each([
    ['an offset that is not', (id: string) => id.replace(/[^.]*$/, '!')],
    ['an offset that is too large', (id: string) => id.replace(/[^.]*$/, 'zzzzzzzzzzz')],
    ['a negative offset', (id: string) => id.replace(/[^.]*$/, '-1')],
    ['no offset', (id: string) => id.replace(/[^.]*$/, '')],
    ['something behind', (id: string) => `${id}.1`],
    ['something before', (id: string) => `x${id}`],
    ['capitals', (id: string) => id.replace(/[^.]*$/, 'A')],
  ])('because its id has %s receives a reset', async (_what, spoil) => {
    const { hub, since } = await start(platform);
    const oldest = await hub.publish(1);

    const client = await since(spoil(oldest));
    await client.until('data: 1\n\n');

    expect(resetIn(client.body)).toMatchObject({ reset: { reason: 'malformed', oldest }, data: ['1'] });
  });

  it('receives the reset as a record in NDJSON', async () => {
    const { get, hub } = await start(platform);
    const oldest = await hub.publish({ n: 1 });

    const client = await get('/all', { ...NDJSON, 'Last-Event-ID': 'unknown' });
    await client.until('{"n":1}\n');

    expect(client.body).toBe(`{"reset":{"reason":"malformed","oldest":"${oldest}"}}\n{"n":1}\n`);
  });

  it('receives one reset, and can resume from its id and from every id after it', async () => {
    const { hub, since } = await start(platform, { hub: { history: { limit: 3 } } });
    await publishAll(hub, range(1, 5));
    const client = await since('unknown');
    await client.until('data: 5\n\n');

    for (const [index, { id }] of eventsOf(client.body).entries()) {
      const back = await since(id);
      await back.until('\r\n\r\n');
      await joined(hub, index + 2);
      if (index < 3) {
        await back.until('data: 5\n\n');
      }
      expect(dataOf(back.body)).toEqual(range(3 + index, 5).map(String));
    }
  });

  it('receives the reset before any event, also in the turn of a publish', async () => {
    @Controller()
    class Racing {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('racing', { format: 'sse' })
      racing(@LastEventId() after?: string) {
        void publishAll(this.hub, ['a', 'b']);
        const subscription = this.hub.subscribe({ after });
        void publishAll(this.hub, ['c', 'd']);
        return subscription;
      }
    }
    for (const history of [undefined, { limit: 3 }, { limit: 1 }, false] as const) {
      const { since } = await start(platform, { hub: { history }, controllers: [Racing] });

      const client = await since('unknown', '/racing');
      await client.until('data: d\n\n');

      const { reset, data } = resetIn(client.body);
      expect(reset?.reason).toBe('malformed');
      expect(data.join()).toBe('a,b,c,d'.slice(-(data.length * 2 - 1)));
      expect(client.body.match(/event: reset/g)).toHaveLength(1);
    }
  });
});

describe.each(PLATFORMS)('%s: the id of an event', (platform) => {
  it('of one topic reveals nothing of that topic on a route of another', async () => {
    const { hub, since } = await start(platform, { hub: { history: { limit: 20 } } });
    const evicted = await hub.publish('secret 0', { topic: 'a' });
    const ids = [];
    for (const n of range(1, 10)) {
      ids.push(await hub.publish(`secret ${n}`, { topic: 'a' }));
      await hub.publish(`public ${n}`, { topic: 'b' });
    }
    await hub.publish('secret to all');

    for (const id of [evicted, ids[0], ids[4], ids[9], 'unknown']) {
      const client = await since(id, '/topics?topic=b');
      await client.until('data: public 10\n\n');
      await hub.publish('secret live', { topic: 'a' });
      const end = await hub.publish('public 11', { topic: 'b' });
      await client.until(`id: ${end}\ndata: public 11\n\n`);

      expect(client.received).not.toContain('secret');
      const { data } = resetIn(client.body);
      expect(data.every((each) => /^public \d+$/.test(String(each)))).toBe(true);
      client.disconnect();
    }
  });

  it('of one topic is a position in the log for another: no event is missed or sent twice', async () => {
    const { hub, since } = await start(platform);
    await hub.publish('b1', { topic: 'b' });
    const id = await hub.publish('a1', { topic: 'a' });
    await hub.publish('b2', { topic: 'b' });
    await hub.publish('a2', { topic: 'a' });
    await hub.publish('b3', { topic: 'b' });

    const [b, both, all] = [
      await since(id, '/topics?topic=b'),
      await since(id, '/topics?topic=b&topic=a'),
      await since(id),
    ];
    await Promise.all([b, both, all].map((client) => client.until('b3\n\n')));

    expect([b, both, all].map(({ body }) => dataOf(body))).toEqual([
      ['b2', 'b3'],
      ['b2', 'a2', 'b3'],
      ['b2', 'a2', 'b3'],
    ]);
  });

  it('reveals neither the name of the hub nor the topic', async () => {
    const { hub } = await start(platform);

    expect(await hub.publish('x', { topic: 'topic', type: 'type', key: 'key' })).toMatch(/^[\w-]{4}\.\w+\.[0-9a-z]+$/);
    expect(await hub.publish('x')).not.toContain('feed');
  });
});

describe.each(PLATFORMS)('%s: a hub without history', (platform) => {
  it('sends a reset to the clients that have missed events, and to no others', async () => {
    const { hub, get, since } = await start(platform, { hub: { history: false } });
    const [first, second] = await publishAll(hub, [1, 2]);
    const [fresh, current, missed] = [await get('/all', SSE), await since(second), await since(first)];
    await missed.until('\n\n\r\n');

    const third = await hub.publish(3);
    await Promise.all([fresh, current, missed].map((client) => client.until('data: 3\n\n')));

    expect(fresh.body).toBe(`event: position\nid: ${second}\ndata: {}\n\nid: ${third}\ndata: 3\n\n`);
    expect(current.body).toBe(`id: ${third}\ndata: 3\n\n`);
    expect(resetIn(missed.body)).toEqual({ reset: { reason: 'evicted', oldest: null }, id: second, data: ['3'] });
  });

  it('delivers all events to connected subscribers', async () => {
    const { hub, get } = await start(platform, { hub: { history: false } });
    const clients = [await get('/all', SSE), await get('/topics?topic=a', SSE), await get('/even', NDJSON)];
    await joined(hub, 3);

    await publishAll(hub, range(1, 2_000), { topic: 'a' });
    await Promise.all(clients.map((client) => client.until('2000\n')));

    expect(clients.slice(0, 2).map(({ body }) => dataOf(body))).toEqual(Array(2).fill(range(1, 2_000).map(String)));
    expect(clients[2]?.body.split('\n')).toHaveLength(1_001);
  });

  it('begins with new events for every client', async () => {
    const { hub, get } = await start(platform, { hub: { history: false } });
    const position = await hub.publish(1);
    const client = await get('/last?n=5', SSE);
    await joined(hub, 1);

    const id = await hub.publish(2);
    await client.until('data: 2\n\n');

    expect(client.body).toBe(`event: position\nid: ${position}\ndata: {}\n\nid: ${id}\ndata: 2\n\n`);
  });
});

describe.each(PLATFORMS)('%s: last', (platform) => {
  it.each([
    ['0', []],
    ['1', ['9']],
    ['3', ['7', '8', '9']],
    ['9', range(1, 9).map(String)],
    ['100', range(1, 9).map(String)],
    ['Infinity', range(1, 9).map(String)],
  ])('%s replays that number of the newest events', async (n, expected) => {
    const { get, hub } = await start(platform);
    const ids = await publishAll(hub, range(1, 9));
    const clients = [await get(`/last?n=${n}`, SSE), await get(`/last?n=${n}`, NDJSON)];
    await joined(hub, 2);

    await hub.publish(10);
    const [sse, ndjson] = clients;
    await Promise.all([sse?.until('data: 10\n\n'), ndjson?.until('10\n')]);

    expect(dataOf(sse?.body ?? '')).toEqual([...expected, '10']);
    expect(ndjson?.body).toBe([...expected, '10'].map((line) => `${line}\n`).join(''));
    const expectedId = ids[9 - expected.length - 1];
    const [{ id } = {}] = recordsOf(sse?.body ?? '');
    expect(expectedId === undefined ? id?.endsWith('.0') : id === expectedId).toBe(true);
  });

  it('counts only events that the client receives', async () => {
    const { get, hub } = await start(platform);
    for (const n of range(1, 100)) {
      await hub.publish(n, { topic: n % 10 === 0 ? 'tens' : n % 10 === 5 ? 'fives' : 'rest' });
    }
    const expected = [
      ['/last?n=2&topic=tens', ['90', '100']],
      ['/last?n=3&topic=tens&topic=fives', ['90', '95', '100']],
      ['/last?n=2&topic=fives', ['85', '95']],
      ['/last?n=2', ['99', '100']],
      ['/last?n=200&topic=tens', range(1, 10).map((n) => String(n * 10))],
      ['/last?n=2&topic=none', []],
    ] as const;
    const clients = await Promise.all(expected.map(([path]) => get(path, SSE)));
    await joined(hub, expected.length);

    for (const topic of ['tens', 'fives', 'none']) {
      await hub.publish('end', { topic });
    }
    await Promise.all(clients.map((client) => client.until('data: end\n\n')));

    expect(clients.map(({ body }) => dataOf(body).filter((data) => data !== 'end'))).toEqual(
      expected.map(([, data]) => data),
    );
  });

  it('replays no more events than the history has', async () => {
    const { get, hub } = await start(platform, { hub: { history: { limit: 2 } } });
    await publishAll(hub, range(1, 5));

    const client = await get('/last?n=4', SSE);
    await client.until('data: 5\n\n');

    expect(dataOf(client.body)).toEqual(['4', '5']);
  });

  it('applies to clients without an id or with an empty one, but not to a client with an id', async () => {
    const { hub, since } = await start(platform);
    const ids = await publishAll(hub, range(1, 5));

    const [back, fresh] = [await since(ids[3], '/last?n=4'), await since('', '/last?n=4')];
    await Promise.all([back, fresh].map((client) => client.until('data: 5\n\n')));

    expect(dataOf(back.body)).toEqual(['5']);
    expect(dataOf(fresh.body)).toEqual(['2', '3', '4', '5']);
  });
});

describe.each(PLATFORMS)('%s: a client that receives no event for a long time', (platform) => {
  it.each([
    ['because its topic has no events', '/topics?topic=quiet', { topic: 'loud' }, 7],
    ['because its filter lets nothing through', '/even', {}, 7],
  ])('%s, receives its position, and misses nothing later', async (_why, path, options, noise) => {
    const { get, hub, since } = await start(platform, {
      hub: { history: { limit: 10 } },
      options: { heartbeat: 10 },
    });
    const client = await get(path, SSE);
    await joined(hub, 1);
    const ids = await publishAll(hub, Array(2_000).fill(noise), options);

    await client.until(`id: ${ids.at(-1)}\ndata: {}\n\n`);
    client.disconnect();
    await joined(hub, 0);
    const lastId = recordsOf(client.body).at(-1)?.id;
    await hub.publish(2, { topic: 'quiet' });
    const back = await since(lastId, path);
    await back.until('data: 2\n\n');

    expect(lastId).toBe(ids.at(-1));
    expect(dataOf(client.body)).toEqual([]);
    expect(client.body).toMatch(/^(event: position\nid: \S+\ndata: \{\}\n\n)+$/);
    expect(dataOf(back.body)).toEqual(['2']);
  });

  it('and is subscribed to all topics receives comments, because its events contain its position', async () => {
    const { get, hub } = await start(platform, { options: { heartbeat: 10 } });
    const client = await get('/all', SSE);
    await joined(hub, 1);
    await hub.publish(1);

    await client.until(/data: 1\n\n\r\n[\s\S]*:\n\r\n/);

    expect(client.body.slice(client.body.indexOf('data: 1\n\n'))).toMatch(/^data: 1\n\n(:\n)+$/);
  });
});

/** A client of the package `eventsource`, and the events that it has received. */
function follow(
  url: string,
  fetch?: EventSourceInit['fetch'],
): { source: EventSource; seen: Recorder<string>; connectionEvents: Recorder } {
  const source = new EventSource(url, { fetch });
  sources.push(source);
  const seen = new Recorder<string>();
  const connectionEvents = new Recorder();
  source.addEventListener('open', () => connectionEvents.add('open'));
  for (const type of ['message', 'tick', 'reset', 'lagged']) {
    source.addEventListener(type, (event) => seen.add(`${type} ${String(event.data)}`));
  }
  return { source, seen, connectionEvents };
}

describe.each(PLATFORMS)('%s: eventsource', (platform) => {
  const options = {
    shutdown: { grace: 0, retry: 1 },
    // It then reconnects at once.
    hooks: { onOpen: (stream: { send(chunk: unknown): unknown }) => void stream.send(event({ retry: 1 })) },
  };

  it('receives everything in order, however often it is cut off', async () => {
    const { hub, url, registry } = await start(platform, { options });
    const { seen, connectionEvents } = follow(url('/all'));
    await connectionEvents.count(1);

    await hub.publish('first', { type: 'tick' });
    await seen.count(1);
    for (const round of range(1, 5)) {
      await publishAll(hub, [`${round} before`]);
      await seen.count(1 + (round - 1) * 4 + 1);
      void registry.close();
      await joined(hub, 0);
      await publishAll(hub, [`${round} while it is away`, `${round} still`]);
      await connectionEvents.count(round + 1);
      await publishAll(hub, [`${round} when it is back`]);
      await seen.count(1 + round * 4);
    }

    expect(seen.seen).toEqual([
      'tick first',
      ...range(1, 5).flatMap((round) =>
        ['before', 'while it is away', 'still', 'when it is back'].map((what) => `message ${round} ${what}`),
      ),
    ]);
  });

  it('receives everything in order when its connection breaks', async () => {
    const { hub, url, sockets } = await start(platform, { options });
    const { seen, connectionEvents } = follow(url('/all'));
    await connectionEvents.count(1);
    const loop = new PublishLoop(hub);

    for (const n of range(1, 5)) {
      // A connection that is destroyed earlier does not open.
      await connectionEvents.count(n);
      await seen.count(n * 50);
      const socket = (await sockets.count(n)).at(-1);
      socket?.destroy();
    }
    await connectionEvents.count(6);
    const count = await loop.stop();
    await seen.count(count);

    expect(seen.seen).toEqual(range(1, count).map((n) => `message ${n}`));
  }, 60_000);

  it('receives a reset, and then the events of the history', async () => {
    const { hub, url, registry } = await start(platform, { options, hub: { history: { limit: 2 } } });
    const { seen, connectionEvents } = follow(url('/all'));
    await connectionEvents.count(1);
    await hub.publish(1);
    await seen.count(1);

    void registry.close();
    await joined(hub, 0);
    const ids = await publishAll(hub, [2, 3, 4, 5]);
    await seen.count(4);

    expect(seen.seen).toEqual([
      'message 1',
      `reset {"reason":"evicted","oldest":"${ids[2]}"}`,
      'message 4',
      'message 5',
    ]);
  });

  it('receives a reset after the server was restarted', async () => {
    const first = await start(platform, { options });
    let current = first.url('/all');
    const { seen, connectionEvents } = follow(current, (_, init) => fetch(current, init));
    await connectionEvents.count(1);
    await first.hub.publish('before');
    await seen.count(1);

    const second = await start(platform, { options });
    const oldest = await second.hub.publish('after');
    current = second.url('/all');
    await first.close();
    await seen.count(3);
    await second.hub.publish('and on');

    expect(await seen.count(4)).toEqual([
      'message before',
      `reset {"reason":"epoch","oldest":"${oldest}"}`,
      'message after',
      'message and on',
    ]);
  });
});

describe.each(PLATFORMS)('%s: while events are published at full speed,', (platform) => {
  const CLIENTS = 50;
  const VISITS = 5;

  it('clients that resume repeatedly receive a sequence without a gap or a duplicate', async () => {
    const { hub, get } = await start(platform, { hub: { history: { limit: 1_000_000 } } });
    const loop = new PublishLoop(hub, 2);

    /** Connects a number of times, receives some events each time, and resumes from its last id. */
    async function visit(client: number): Promise<EventSourceMessage[]> {
      const had: EventSourceMessage[] = [];
      for (const n of range(1, VISITS)) {
        const id = had.at(-1)?.id;
        const raw = await get('/all', id === undefined ? SSE : { ...SSE, 'Last-Event-ID': id });
        const events = await eventsUntil(raw, 20 * n + client);
        raw.disconnect();
        had.push(...events);
      }
      return had;
    }
    const all = await Promise.all(range(1, CLIENTS).map((client) => visit(client)));
    await loop.stop();

    for (const had of all) {
      const first = Number(had[0]?.data);
      expect(had.length).toBeGreaterThan(VISITS * 20);
      expect(had.map(({ data }) => data)).toEqual(range(first, first + had.length - 1).map(String));
      expect(had.map(({ id }) => id)).toEqual(loop.ids.slice(first - 1, first - 1 + had.length));
    }
  }, 60_000);

  it('clients with a short history receive a reset for every gap', async () => {
    const { hub, get } = await start(platform, { hub: { history: { limit: 100 } } });
    const loop = new PublishLoop(hub, 20);

    async function visit(): Promise<(string | undefined)[]> {
      const had: (string | undefined)[] = [];
      let id: string | undefined;
      for (const n of range(1, VISITS)) {
        const raw = await get('/all', id === undefined ? SSE : { ...SSE, 'Last-Event-ID': id });
        const events = await eventsUntil(raw, 50 * n);
        raw.disconnect();
        id = events.at(-1)?.id;
        had.push(...events.map(({ event, data }) => (event === 'reset' ? 'reset' : data)));
      }
      return had;
    }
    const all = await Promise.all(range(1, 10).map(() => visit()));
    await loop.stop();

    for (const had of all) {
      let last: number | undefined;
      for (const [at, data] of had.entries()) {
        const number = Number(data);
        if (data === 'reset') {
          last = undefined;
        } else if (last !== undefined) {
          expect([at, number]).toEqual([at, last + 1]);
        }
        last = data === 'reset' ? undefined : number;
      }
    }
  }, 60_000);
});

describe.each(PLATFORMS)('%s: many clients that resume at once', (platform) => {
  it('receive the same bytes, encoded once, also if they start at different places', async () => {
    let encoded = 0;
    const own: StreamFormat = defineFormat({
      name: 'own',
      mediaTypes: ['text/x-own'],
      fields: true,
      encode: (value) => {
        encoded++;
        return `${String((value as { data: unknown }).data)};`;
      },
    });
    @Controller()
    class Own {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('own', { format: own })
      own(@LastEventId() after?: string) {
        return this.hub.subscribe({ after });
      }
    }
    const { hub, since } = await start(platform, { controllers: [Own] });
    const ids = await publishAll(hub, range(1, 640));

    const clients = await Promise.all(range(1, 100).map((n) => since(ids[n - 1], '/own')));
    await Promise.all(clients.map((client) => client.until('640;')));
    await hub.publish('end');
    await Promise.all(clients.map((client) => client.until('end;')));

    clients.forEach(({ body }, i) => {
      expect(body).toBe(`${range(i + 2, 640).join(';')};end;`);
    });
    // The pages of all clients begin at the same places, wherever a client starts.
    const pages = clients.map(({ frames }) => frames.slice(-10).join('|'));
    expect(new Set(pages.slice(0, 64)).size).toBe(1);
    expect(encoded).toBe(640);
  });

  it('with different topics each receive their own events', async () => {
    const { hub, since } = await start(platform);
    const first = await hub.publish('before');
    for (const n of range(1, 600)) {
      await hub.publish(n, { topic: `t${n % 3}` });
    }

    const clients = await Promise.all(range(0, 29).map((n) => since(first, `/topics?topic=t${n % 3}`)));
    await Promise.all(clients.map((client, n) => client.until(`data: ${600 - ((3 - (n % 3)) % 3)}\n\n`)));

    clients.forEach(({ body }, n) => {
      expect(dataOf(body)).toEqual(
        range(1, 600)
          .filter((i) => i % 3 === n % 3)
          .map(String),
      );
    });
  });
});
