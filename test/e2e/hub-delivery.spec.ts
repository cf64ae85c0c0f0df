import { once } from 'node:events';
import fastifyCompress from '@fastify/compress';
import {
  type CallHandler,
  type CanActivate,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  type INestApplication,
  type NestInterceptor,
  Query,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import compression from 'compression';
import { map, type Observable, of } from 'rxjs';
import {
  ConnectedStream,
  event,
  Hub,
  type HubEvent,
  type HubPresence,
  HubSubscription,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  type StreamHooks,
  type StreamingModuleOptions,
  StreamSignal,
  UseStreamHooks,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { dataOf, eventsOf, joined, NDJSON, PublishLoop, publishAll, range, recordsOf, SSE } from '../support/hub.js';
import { useHubApps } from '../support/hub-feed.js';
import { Reading } from '../support/reading.js';
import { countWrites, holdClock, turns } from '../support/running.js';

const start = useHubApps();

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('returned')
  returned(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('iterated')
  async *iterated(@StreamSignal() signal: AbortSignal, @LastEventId() after?: string) {
    for await (const event of this.hub.subscribe({ after, signal })) {
      yield event;
    }
  }

  @Stream('topics')
  topics(@Query('topic') topic: string | string[]) {
    return this.hub.subscribe({ topic });
  }
}

const VALUES = [
  'text',
  'two\nlines\r\nand three',
  '',
  { n: 1, nested: ['ü', '👋🏽'] },
  [1, 2],
  7,
  true,
  null,
  Buffer.of(0, 255),
];

describe.each(PLATFORMS)('%s: a returned subscription and an iterated subscription', (platform) => {
  it('send an SSE client the same bytes, for missed events and for new ones', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const before = await hub.publish('before');
    const headers = { ...SSE, 'Last-Event-ID': before };
    const missed = await publishAll(hub, VALUES, { topic: 'a', key: 'k' });
    const clients = [await get('/returned', headers), await get('/iterated', headers)];
    await joined(hub, 2);

    const live = await publishAll(hub, VALUES, { type: 'tick' });

    const DATA = [
      'data: text\n',
      'data: two\ndata: lines\ndata: and three\n',
      'data: \n',
      'data: {"n":1,"nested":["ü","👋🏽"]}\n',
      'data: [1,2]\n',
      'data: 7\n',
      'data: true\n',
      'data: null\n',
      'data: AP8=\n',
    ];
    const expected = [
      ...DATA.map((data, i) => `id: ${missed[i]}\n${data}\n`),
      ...DATA.map((data, i) => `event: tick\nid: ${live[i]}\n${data}\n`),
    ].join('');
    await Promise.all(clients.map((client) => client.until(/AP8=\n\n[\s\S]*AP8=\n\n/)));
    for (const client of clients) {
      expect(Buffer.from(client.body, 'latin1').toString()).toBe(expected);
    }
  });

  it('send an NDJSON client the same bytes, for missed events and for new ones', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const headers = { ...NDJSON, 'Last-Event-ID': await hub.publish('before') };
    await publishAll(hub, VALUES, { topic: 'a' });
    const clients = [await get('/returned', headers), await get('/iterated', headers)];
    await joined(hub, 2);

    await publishAll(hub, [...VALUES, 'end'], { type: 'tick', key: 'k' });
    await Promise.all(clients.map((client) => client.until('"end"\n')));

    const lines =
      '"text"\n"two\\nlines\\r\\nand three"\n""\n{"n":1,"nested":["ü","👋🏽"]}\n[1,2]\n7\ntrue\nnull\n"AP8="\n';
    for (const client of clients) {
      expect(Buffer.from(client.body, 'latin1').toString()).toBe(`${lines}${lines}"end"\n`);
    }
  });

  it('differ, for an SSE client without an id, by the position that the first one sends', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const position = await hub.publish('before');
    const [returned, iterated] = [await get('/returned', SSE), await get('/iterated', SSE)];
    await joined(hub, 2);

    const id = await hub.publish('one');
    await Promise.all([returned.until('one\n\n'), iterated.until('one\n\n')]);

    expect(iterated.body).toBe(`id: ${id}\ndata: one\n\n`);
    expect(returned.body).toBe(`event: position\nid: ${position}\ndata: {}\n\n${iterated.body}`);
  });

  it.each([
    ['SSE', SSE],
    ['NDJSON', NDJSON],
  ])('send an %s client its reset in the same bytes', async (_name, accept) => {
    const { get, hub } = await start(platform, [Feed], { hub: { history: { limit: 2 } } });
    const [first, second, third] = await publishAll(hub, [1, 2, 3, 4]);
    const headers = { ...accept, 'Last-Event-ID': String(first) };
    const clients = [await get('/returned', headers), await get('/iterated', headers)];
    await Promise.all(clients.map((client) => client.until(/(data: |\n)4\n/)));

    await hub.publish('end');
    await Promise.all(clients.map((client) => client.until(accept === SSE ? 'end\n\n' : '"end"\n')));

    const [returned, iterated] = clients.map(({ body }) => body);
    expect(returned).toBe(iterated);
    expect(returned).toContain(
      accept === SSE
        ? `event: reset\nid: ${second}\ndata: {"reason":"evicted","oldest":"${third}"}\n\nid: ${third}\ndata: 3\n\n`
        : `{"reset":{"reason":"evicted","oldest":"${third}"}}\n3\n4\n"end"\n`,
    );
  });

  it.each([
    ['SSE', SSE],
    ['NDJSON', NDJSON],
  ])('report dropped events to an %s client in the same bytes', async (_name, accept) => {
    const gate = deferred();
    const waiting = new Recorder<unknown>();
    const holding: StreamHooks = {
      beforeChunk: async (chunk) => {
        waiting.add(chunk);
        await gate.promise;
        return chunk;
      },
    };
    const { get, hub } = await start(platform, [Feed], {
      hub: { overflow: 'drop-oldest', queue: { items: 2 } },
      options: { hooks: holding },
    });
    const headers = { ...accept, 'Last-Event-ID': await hub.publish('before') };
    const clients = [await get('/returned', headers), await get('/iterated', headers)];
    await joined(hub, 2);

    const ids = await publishAll(hub, [1, 2, 3, 4, 5, 6]);
    await waiting.count(2);
    gate.resolve();
    await Promise.all(clients.map((client) => client.until(accept === SSE ? 'data: 6\n\n' : '\n6\n')));

    for (const { body } of clients) {
      expect(body).toBe(
        accept === SSE
          ? `id: ${ids[0]}\ndata: 1\n\nevent: lagged\ndata: {"dropped":3}\n\nid: ${ids[4]}\ndata: 5\n\nid: ${ids[5]}\ndata: 6\n\n`
          : '1\n{"lagged":{"dropped":3}}\n5\n6\n',
      );
    }
  });
});

describe.each(PLATFORMS)('%s: a subscriber receives', (platform) => {
  it('one topic, several or all; events without a topic reach only subscribers of all', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const paths = ['/topics?topic=a', '/topics?topic=b', '/topics?topic=a&topic=b', '/returned'];
    const clients = await Promise.all(paths.map((path) => get(path, NDJSON)));
    await joined(hub, 4);

    void hub.publish('to a', { topic: 'a' });
    void hub.publish('to b', { topic: 'b' });
    void hub.publish('to c', { topic: 'c' });
    void hub.publish('to nobody');
    void hub.publish('to A', { topic: 'A' });
    void publishAll(hub, ['end'], { topic: 'a' });
    void publishAll(hub, ['end'], { topic: 'b' });
    await Promise.all(clients.map((client) => client.until('"end"\n')));
    await clients[3]?.until(/"end"\n[\s\S]*"end"\n/);

    expect(clients.map(({ body }) => body)).toEqual([
      '"to a"\n"end"\n',
      '"to b"\n"end"\n',
      '"to a"\n"to b"\n"end"\n"end"\n',
      '"to a"\n"to b"\n"to c"\n"to nobody"\n"to A"\n"end"\n"end"\n',
    ]);
  });

  it('an event once although its topics name it twice, and in whatever order they are named', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const clients = await Promise.all(
      ['/topics?topic=a&topic=a&topic=b', '/topics?topic=b&topic=a'].map((path) => get(path, NDJSON)),
    );
    await joined(hub, 2);

    await hub.publish(1, { topic: 'a' });
    await hub.publish(2, { topic: 'b' });
    await Promise.all(clients.map((client) => client.until('2\n')));

    expect(clients.map(({ frames }) => frames)).toEqual([['1\n2\n'], ['1\n2\n']]);
    expect(hub.topics).toEqual(['a', 'b']);
  });

  it('only events of its own topics, also if other topics have the same prefix or the names of inherited properties', async () => {
    const topics = ['a', 'ab', 'a.b', 'constructor', '__proto__', 'ü', 'u\u0308', ' ', '0'];
    const { get, hub } = await start(platform, [Feed]);
    const clients = await Promise.all(topics.map((topic) => get(`/topics?topic=${encodeURIComponent(topic)}`, NDJSON)));
    await joined(hub, topics.length);

    topics.forEach((topic, i) => void hub.publish(i, { topic }));
    await Promise.all(clients.map((client) => client.until('\n')));
    await hub.close();
    await Promise.all(clients.map((client) => client.until('0\r\n\r\n')));

    expect(clients.map(({ body }) => body)).toEqual(topics.map((_, i) => `${i}\n`));
  });

  it('the events that its filter accepts, each of them once', async () => {
    interface Price {
      readonly eur: number;
    }
    const asked: unknown[] = [];
    @Controller()
    class Filtered {
      constructor(@InjectHub('feed') readonly prices: Hub<Price>) {}

      @Sse('dear')
      dear(@LastEventId() after?: string) {
        return this.prices.subscribe({
          after,
          topic: 'x',
          filter: ({ data, topic, type, key, id }: HubEvent<Price>) => {
            asked.push([id, topic, type, key, data.eur]);
            return data.eur >= 100;
          },
        });
      }
    }
    const { get, hub } = await start(platform, [Filtered]);
    const before = await hub.publish({ eur: 0 });
    const missed = await publishAll(hub, [{ eur: 100 }, { eur: 50 }], { topic: 'x' });
    const client = await get('/dear', { 'Last-Event-ID': before });
    await joined(hub, 1);

    await hub.publish({ eur: 300 }, { topic: 'y' });
    const live = await publishAll(hub, [{ eur: 99 }, { eur: 200 }], { topic: 'x', type: 't', key: 'k' });
    await client.until('{"eur":200}\n\n');

    expect(dataOf(client.body)).toEqual(['{"eur":100}', '{"eur":200}']);
    expect(asked).toEqual([
      [missed[0], 'x', undefined, undefined, 100],
      [missed[1], 'x', undefined, undefined, 50],
      [live[0], 'x', 't', 'k', 99],
      [live[1], 'x', 't', 'k', 200],
    ]);
  });

  it.each(['returned', 'iterated'])(
    'events of the history after exactly one call of its filter for each: %s',
    async (how) => {
      const asked: unknown[] = [];
      @Controller()
      class Filtered {
        constructor(@InjectHub('feed') readonly hub: Hub) {}

        /** A filter whose result depends on the number of its calls. */
        private subscribe(signal: AbortSignal) {
          const filter = ({ data }: HubEvent) => asked.push(data) % 2 === 0;
          return this.hub.subscribe({ last: Infinity, filter, signal });
        }

        @Stream('returned', { format: 'ndjson' })
        returned(@StreamSignal() signal: AbortSignal) {
          return this.subscribe(signal);
        }

        @Stream('iterated', { format: 'ndjson' })
        async *iterated(@StreamSignal() signal: AbortSignal) {
          yield* this.subscribe(signal);
        }
      }
      const { get, hub } = await start(platform, [Filtered]);
      await publishAll(hub, range(1, 200));

      const client = await get(`/${how}`);
      await client.until('\n200\n');

      expect(asked).toEqual(range(1, 200));
      expect(client.body).toBe(
        range(1, 200)
          .filter((n) => n % 2 === 0)
          .map((n) => `${n}\n`)
          .join(''),
      );
    },
  );

  it('the types of events', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const [sse, ndjson] = [await get('/returned', SSE), await get('/returned', NDJSON)];
    await joined(hub, 2);

    await hub.publish(1, { type: 'tick' });
    await hub.publish(2, { type: '' });
    await hub.publish(3, { type: 'with space: ü' });
    await hub.publish(4);
    await Promise.all([sse.until('data: 4\n\n'), ndjson.until('4\n')]);

    expect(eventsOf(Buffer.from(sse.body, 'latin1').toString()).map(({ event, data }) => [event, data])).toEqual([
      ['tick', '1'],
      [undefined, '2'],
      ['with space: ü', '3'],
      [undefined, '4'],
    ]);
    expect(ndjson.body).toBe('1\n2\n3\n4\n');
  });
});

describe.each(PLATFORMS)('%s: a filter that throws', (platform) => {
  it.each([
    ['live', undefined],
    ['in the history', Infinity],
  ])('%s makes only its own stream fail', async (_when, last) => {
    @Controller()
    class Filtered {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('broken')
      broken() {
        const filter = ({ data }: HubEvent) => {
          if (data === 2) {
            throw new Error('the filter broke');
          }
          return true;
        };
        return this.hub.subscribe({ filter, last });
      }

      @Sse('sound')
      sound() {
        return this.hub.subscribe({ last });
      }
    }
    const { get, hub, logs } = await start(platform, [Filtered]);
    const connect = async () => {
      const clients = [await get('/sound'), await get('/broken'), await get('/sound')] as const;
      await Promise.all(clients.map((client) => client.until('\r\n\r\n')));
      return clients;
    };
    const early = last === undefined ? await connect() : undefined;

    await publishAll(hub, [1, 2, 3]);
    const [before, broken, after] = early ?? (await connect());
    await Promise.all([before.until('data: 3\n\n'), after.until('data: 3\n\n'), broken.closed()]);

    expect(dataOf(before.body)).toEqual(['1', '2', '3']);
    expect(dataOf(after.body)).toEqual(['1', '2', '3']);
    expect(eventsOf(broken.body).at(-1)).toEqual({
      event: 'error',
      data: '{"statusCode":500,"message":"Internal server error"}',
    });
    expect(broken.complete).toBe(false);
    expect(logs.of('error')).toHaveLength(1);
    expect(logs.of('error').join()).toMatch(/Filtered\.broken.*the filter broke/s);
    expect(hub.size()).toBe(2);
  });
});

describe.each(PLATFORMS)('%s: a batch of events that are published in one turn', (platform) => {
  @Controller()
  class Formats {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Stream('returned')
    returned() {
      return this.hub.subscribe();
    }

    @Stream('iterated')
    iterated() {
      return this.iterate();
    }

    @Stream('filtered')
    filtered() {
      return this.hub.subscribe({ filter: () => true });
    }

    @Stream('hooked')
    @UseStreamHooks({ beforeChunk: (chunk) => chunk })
    hooked() {
      return this.hub.subscribe();
    }

    private async *iterate() {
      yield* this.hub.subscribe();
    }
  }

  const ROUTES = ['returned', 'filtered', 'hooked', 'iterated'];
  const TYPES = ['text/event-stream', 'application/x-ndjson', 'text/plain', 'application/json', 'application/json-seq'];

  it.each(ROUTES.flatMap((route) => TYPES.map((type) => [route, type])))(
    'reaches a client in one write, in one HTTP chunk, in order: %s as %s',
    async (route, type) => {
      const { get, hub, sockets } = await start(platform, [Formats]);
      const client = await get(`/${route}`, { Accept: type });
      await joined(hub, 1);
      void hub.publish('opening');
      await client.until('opening');
      const [socket] = await sockets.count(1);
      if (!socket) {
        throw new Error('There is no connection');
      }
      await turns();
      const opened = client.frames.length;
      const writes = countWrites(socket);
      const resume = holdClock();

      for (const n of range(1, 20)) {
        void hub.publish(`event ${n}.`);
      }
      await client.until('event 20.').finally(resume);
      await turns();

      expect(writes()).toBe(1);
      expect(client.frames).toHaveLength(opened + 1);
      expect(client.frames.at(-1)?.match(/event \d+\./g)).toEqual(range(1, 20).map((n) => `event ${n}.`));
    },
  );

  it('reaches each of many clients in one write', async () => {
    const { get, hub, sockets } = await start(platform, [Formats]);
    const clients = await Promise.all(range(1, 30).map((n) => get('/returned', n % 2 ? SSE : NDJSON)));
    await joined(hub, 30);
    await hub.publish('opening');
    await Promise.all(clients.map((client) => client.until('opening')));
    await turns();
    const counters = (await sockets.count(30)).map((socket) => countWrites(socket));

    for (const n of range(1, 10)) {
      await hub.publish(`event ${n}.`);
    }
    await Promise.all(clients.map((client) => client.until('event 10.')));
    await turns();

    expect(counters.map((count) => count())).toEqual(Array(30).fill(1));
  });

  it('and another batch of the next turn are sent in two writes', async () => {
    const { get, hub, sockets } = await start(platform, [Formats]);
    const client = await get('/returned', SSE);
    await joined(hub, 1);
    await client.until('id: ');
    const [socket] = await sockets.count(1);
    const writes = socket ? countWrites(socket) : () => 0;

    await publishAll(hub, [1, 2]);
    await client.until('data: 2\n\n');
    await publishAll(hub, [3, 4]);
    await client.until('data: 4\n\n');

    expect(writes()).toBe(2);
    expect(client.frames.map((frame) => dataOf(frame))).toEqual([[], ['1', '2'], ['3', '4']]);
  });

  it('keeps its order, also if nothing is awaited, among topics and publishers', async () => {
    const { get, hub } = await start(platform, [Formats]);
    const client = await get('/returned', SSE);
    await client.until('id: ');

    const ids = await Promise.all(range(1, 500).map((n) => hub.publish(n, { topic: `t${n % 7}` })));
    await client.until('data: 500\n\n');

    expect(eventsOf(client.body)).toEqual(range(1, 500).map((n) => ({ id: ids[n - 1], data: String(n) })));
    expect(new Set(ids).size).toBe(500);
  });

  it('that is larger than 64 KiB arrives whole and in order', async () => {
    const { get, hub } = await start(platform, [Formats]);
    const clients = [await get('/returned', NDJSON), await get('/filtered', NDJSON), await get('/iterated', NDJSON)];
    await joined(hub, 3);

    const texts = range(1, 40).map((n) => `${n} ${'x'.repeat(n * 500)}`);
    await publishAll(hub, texts);
    await Promise.all(clients.map((client) => client.until(`"${texts.at(-1)}"\n`)));

    for (const { body } of clients) {
      expect(body).toBe(texts.map((text) => `"${text}"\n`).join(''));
    }
  });
});

describe.each(PLATFORMS)('%s: an event', (platform) => {
  it('is serialized to JSON once, for any number of clients and formats', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const accepts = ['text/event-stream', 'application/x-ndjson', 'application/json-seq', 'application/json', '*/*'];
    const before = await hub.publish('before');
    const clients = await Promise.all(
      range(1, 20).flatMap((n) => [
        get('/returned', { Accept: accepts[n % accepts.length] ?? '', 'Last-Event-ID': before }),
        get('/iterated', { Accept: accepts[n % accepts.length] ?? '', 'Last-Event-ID': before }),
      ]),
    );
    await joined(hub, 40);
    let count = 0;
    const counting = { toJSON: () => ({ made: ++count }) };

    await hub.publish(counting);
    await hub.publish(counting);
    await Promise.all(clients.map((client) => client.until('{"made":2}')));
    const late = await get('/returned', { ...NDJSON, 'Last-Event-ID': before });
    await late.until('{"made":2}');

    expect(count).toBe(2);
    for (const { received } of clients) {
      expect(received.match(/"made":\d/g)).toEqual(['"made":1', '"made":2']);
    }
  });

  it('has the data that it had when it was published', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const client = await get('/returned', NDJSON);
    await joined(hub, 1);
    const value = { n: 1 };
    const bytes = Buffer.from('one');

    void hub.publish(value);
    void hub.publish(bytes);
    value.n = 2;
    bytes.write('two');
    await client.until('"\n');

    expect(client.body).toBe('{"n":1}\n"b25l"\n');
  });
});

describe.each(PLATFORMS)('%s: more than 256 clients', (platform) => {
  it('receive all events once and in order, while others subscribe in the middle of rounds', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const first = await Promise.all(range(1, 300).map(() => get('/returned', SSE)));
    await joined(hub, 300);

    const loop = new PublishLoop(hub, 3);
    const second = await Promise.all(range(1, 60).map((n) => get(n % 3 ? '/returned' : '/iterated', SSE)));
    const third = await Promise.all(
      range(1, 40).map((n) => get(n % 3 ? '/returned' : '/iterated', { ...SSE, 'Last-Event-ID': loop.ids[0] ?? '' })),
    );
    await joined(hub, 400);
    const count = await loop.stop();
    await hub.publish('end');
    await Promise.all([...first, ...second, ...third].map((client) => client.until('data: end\n\n')));

    const whole = [...range(1, count).map(String), 'end'];
    const short = first.filter(({ body }) => dataOf(body).join() !== whole.join());
    expect(short.map(({ body }) => dataOf(body))).toEqual([]);
    for (const { body } of second) {
      const [mark] = recordsOf(body);
      const from = mark?.event === 'position' ? loop.ids.indexOf(mark?.id ?? '') + 1 : Number(mark?.data) - 1;
      expect(dataOf(body)).toEqual(whole.slice(from));
    }
    for (const { body } of third) {
      expect(dataOf(body)).toEqual(whole.slice(1));
    }
  }, 60_000);

  it('and one that subscribes between two slices of a round receive every event of that round exactly once', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const clients = await Promise.all(range(1, 300).map(() => get('/returned', SSE)));
    await joined(hub, 300);
    const zero = await hub.publish(0);
    await Promise.all(clients.map((client) => client.until('data: 0\n\n')));

    const published = hub.publish(1);
    // Runs after the first slice of the round, and before the second.
    await new Promise((resolve) => setImmediate(resolve));
    const late = [hub.subscribe(), hub.subscribe({ after: zero }), hub.subscribe({ last: 1 })].map((subscription) =>
      subscription[Symbol.asyncIterator](),
    );
    const received = late.map(async (events) =>
      [await events.next(), await events.next()].map(({ value }) => value?.data),
    );
    await hub.publish(2);
    await turns(10);
    await hub.publish(3);

    expect(await Promise.all(received)).toEqual([
      [2, 3],
      [1, 2],
      [1, 2],
    ]);
    await published;
    await Promise.all(late.map((events) => events.return?.()));
    await Promise.all(clients.map((client) => client.until('data: 3\n\n')));
    expect(clients.filter(({ body }) => dataOf(body).join() !== '0,1,2,3')).toEqual([]);
  });

  it.each([
    ['as the first that has any', 'never'],
    ['where another has had some all the time', 'from the start'],
    ['where another has got some later', 'later'],
  ])(
    'and one that registers hooks between two slices of a round, %s, miss no event of that round',
    async (_what, others) => {
      const hooks: StreamHooks = { beforeChunk: (chunk) => ({ ...(chunk as HubEvent), data: 'hooked' }) };
      const streams = new Map<string, StreamConnection>();
      @Controller()
      class Hookable {
        constructor(@InjectHub('feed') readonly hub: Hub) {}

        @Sse('feed')
        feed(@ConnectedStream() stream: StreamConnection, @Query('n') n: string) {
          streams.set(n, stream);
          if (n === '1' && others === 'from the start') {
            stream.hooks(hooks);
          }
          return this.hub.subscribe();
        }
      }
      const { get, hub } = await start(platform, [Hookable]);
      const clients = [];
      for (const n of range(1, 300)) {
        // One after the other, because the order of the clients matters.
        clients.push(await get(`/feed?n=${n}`));
        await joined(hub, n);
      }
      if (others === 'later') {
        streams.get('1')?.hooks(hooks);
      }
      await hub.publish('before');
      await Promise.all(clients.slice(1).map((client) => client.until('before')));

      const id = await hub.publish('in the round');
      await new Promise((resolve) => setImmediate(resolve));
      expect(hub.size()).toBe(300);
      streams.get('300')?.hooks(hooks);
      await turns(10);
      const end = await hub.publish('end');
      await clients[299]?.until(new RegExp(`id: ${end}\ndata: hooked\n\n`));

      expect(eventsOf(clients[299]?.body ?? '').map((event) => event.id)).toEqual([expect.any(String), id, end]);
    },
    20_000,
  );
});

describe.each(PLATFORMS)('%s: a client that subscribes in the turn of a publish()', (platform) => {
  @Controller()
  class Racing {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Sse('returned')
    returned(@LastEventId() after?: string) {
      void this.hub.publish('before');
      const subscription = this.hub.subscribe({ after });
      void this.hub.publish('after');
      queueMicrotask(() => void this.hub.publish('microtask'));
      setImmediate(() => void this.hub.publish('next turn'));
      return subscription;
    }

    @Sse('late')
    async late(@LastEventId() after?: string) {
      void this.hub.publish('before');
      const subscription = this.hub.subscribe({ after });
      void this.hub.publish('after');
      await turns(3);
      void this.hub.publish('microtask');
      setImmediate(() => void this.hub.publish('next turn'));
      return subscription;
    }

    @Sse('iterated')
    async *iterated(@LastEventId() after?: string) {
      void this.hub.publish('before');
      const subscription = this.hub.subscribe({ after });
      void this.hub.publish('after');
      queueMicrotask(() => void this.hub.publish('microtask'));
      setImmediate(() => void this.hub.publish('next turn'));
      yield* subscription;
    }
  }

  it.each(['returned', 'late', 'iterated'])('receives the events after it, once: %s', async (route) => {
    const { get } = await start(platform, [Racing]);

    const client = await get(`/${route}`);
    await client.until('data: next turn\n\n');

    expect(dataOf(client.body)).toEqual(['after', 'microtask', 'next turn']);
  });

  it.each(['returned', 'late', 'iterated'])(
    'and has an id receives all events that it has missed, once: %s',
    async (route) => {
      const { get, hub } = await start(platform, [Racing]);
      const [first] = await publishAll(hub, [1, 2]);

      const client = await get(`/${route}`, { 'Last-Event-ID': first ?? '' });
      await client.until('data: next turn\n\n');

      expect(dataOf(client.body)).toEqual(['2', 'before', 'after', 'microtask', 'next turn']);
    },
  );
});

describe.each(PLATFORMS)('%s: behind compression', (platform) => {
  async function compressing(app: INestApplication): Promise<void> {
    if (platform === 'express') {
      app.use(compression({ threshold: 0 }));
    } else {
      await (app as NestFastifyApplication).register(fastifyCompress, { threshold: 0 });
    }
  }

  @Controller()
  class Compressed {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Sse('feed')
    feed(@ConnectedStream() stream: StreamConnection, @Query('cache') cache?: string) {
      if (cache) {
        stream.header('Cache-Control', cache);
      }
      return this.hub.subscribe();
    }
  }

  it.each(['', 'no-cache'])('events arrive while the stream is open, with Cache-Control: %p', async (cache) => {
    const { url, hub } = await start(platform, [Compressed], { configure: compressing });
    const response = await fetch(url(`/feed?cache=${cache}`), { headers: { 'Accept-Encoding': 'gzip' } });
    const reading = new Reading(response);

    for (const n of range(1, 5)) {
      await publishAll(hub, [`${n}a`, `${n}b`]);
      await reading.until(`data: ${n}b\n\n`);
    }
    await hub.close();
    const text = await reading.end();

    // Only the middleware of Express compresses a stream, and only if its Cache-Control allows that.
    expect(response.headers.get('content-encoding')).toBe(platform === 'express' && cache ? 'gzip' : null);
    expect(dataOf(text)).toEqual(range(1, 5).flatMap((n) => [`${n}a`, `${n}b`]));
  });
});

describe.each(PLATFORMS)('%s: another client', (platform) => {
  it('with HTTP/1.0 receives the bytes without the chunked coding', async () => {
    const { connect, hub } = await start(platform, [Feed]);
    const client = await connect();
    client.send('GET /returned HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n');
    await joined(hub, 1);

    const ids = await publishAll(hub, [1, 2]);
    await client.until('data: 2\n\n');
    await hub.publish(3);
    await client.until('data: 3\n\n');
    await hub.close();
    await client.closed();

    expect(client.head).not.toMatch(/transfer-encoding/i);
    expect(client.body).toMatch(
      new RegExp(
        `^event: position\nid: \\S+\ndata: {}\n\nid: ${ids[0]}\ndata: 1\n\nid: ${ids[1]}\ndata: 2\n\nid: \\S+\ndata: 3\n\n$`,
      ),
    );
    expect(client.error).toBeUndefined();
  });

  it('with Connection: close receives all events, and the end', async () => {
    const { get, hub } = await start(platform, [Feed]);
    const client = await get('/returned', { ...SSE, Connection: 'close' });
    await joined(hub, 1);

    await publishAll(hub, [1, 2]);
    await client.until('data: 2\n\n');
    void hub.publish(3);
    await hub.close();
    await client.closed();

    expect(client.head).toMatch(/connection: close/i);
    expect(dataOf(client.body)).toEqual(['1', '2', '3']);
    expect(client.complete).toBe(true);
  });

  it('that pipelines receives its second stream with all events when the first has ended', async () => {
    const { connect, hub, registry } = await start(platform, [Feed]);
    const client = await connect();
    const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n`;

    client.send(request('/topics?topic=a') + request('/returned'));
    await joined(hub, 2);
    await hub.publish(1, { topic: 'a' });
    await client.until('data: 1\n\n');
    await hub.publish(2, { topic: 'b' });
    await turns();
    expect(client.received).not.toContain('data: 2');
    await registry.close((stream) => stream.route === 'Feed.topics');
    await client.until('data: 2\n\n');
    await publishAll(hub, [3, 4], { topic: 'a' });
    await client.until('data: 4\n\n');

    const [first = '', second = ''] = client.received.split(/(?<=\r\n0\r\n\r\n)/);
    expect(first.match(/data: \d/g)).toEqual(['data: 1']);
    expect(second).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(second.match(/data: \d/g)).toEqual(['data: 1', 'data: 2', 'data: 3', 'data: 4']);
    // All events of one turn are one chunk here too.
    expect(second).toMatch(/\r\nid: \S+\ndata: 3\n\nid: \S+\ndata: 4\n\n\r\n$/);
  });

  it('that pipelines and disconnects is removed from the hub', async () => {
    const { connect, hub, registry } = await start(platform, [Feed]);
    const client = await connect();
    const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n`;

    client.send(request('/returned') + request('/returned') + request('/iterated'));
    await joined(hub, 3);
    client.disconnect();
    await joined(hub, 0);

    expect(registry.size).toBe(0);
  });

  it.each(['/returned', '/iterated'])(
    'that sends HEAD %s receives the head and its end, and is never subscribed',
    async (path) => {
      const { get, hub, registry } = await start(platform, [Feed]);
      const seen: HubPresence[] = [];
      hub.presence.subscribe((event) => seen.push(event));

      const client = await get(path, { ...SSE, Connection: 'close' }, 'HEAD');
      await client.closed();

      expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(client.head).toMatch(/content-type: text\/event-stream/i);
      expect(client.body).toBe('');
      expect(seen).toEqual([]);
      expect([hub.size(), registry.size]).toEqual([0, 0]);
    },
  );
});

describe.each(PLATFORMS)('%s: a subscription behind interceptors', (platform) => {
  const passed: unknown[] = [];

  class Passing implements NestInterceptor {
    async intercept(_: ExecutionContext, next: CallHandler): Promise<Observable<unknown>> {
      await turns(2);
      return next.handle().pipe(
        map((value: unknown) => {
          passed.push(value);
          return value;
        }),
      );
    }
  }

  class Replacing implements NestInterceptor {
    intercept(_: ExecutionContext, next: CallHandler): Observable<unknown> {
      return next.handle().pipe(map(() => ['replaced']));
    }
  }

  class Answering implements NestInterceptor {
    intercept(): Observable<unknown> {
      return of('answered');
    }
  }

  @Controller()
  class Intercepted {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Sse('passing')
    @UseInterceptors(Passing)
    passing() {
      return this.hub.subscribe();
    }

    @Sse('promised')
    @UseInterceptors(Passing)
    async promised() {
      await turns(2);
      return this.hub.subscribe();
    }

    @Sse('replacing')
    @UseInterceptors(Replacing)
    replacing() {
      return this.hub.subscribe();
    }

    @Sse('answering')
    @UseInterceptors(Answering)
    answering() {
      return this.hub.subscribe();
    }
  }

  it.each(['passing', 'promised'])('is passed on as a whole, and its bytes are still shared: %s', async (route) => {
    passed.length = 0;
    const { get, hub, sockets } = await start(platform, [Intercepted]);
    const client = await get(`/${route}`);
    await client.until('id: ');
    const [socket] = await sockets.count(1);
    const writes = socket ? countWrites(socket) : () => 0;

    await publishAll(hub, [1, 2, 3]);
    await client.until('data: 3\n\n');

    expect(passed).toEqual([expect.any(HubSubscription)]);
    expect(dataOf(client.body)).toEqual(['1', '2', '3']);
    expect(writes()).toBe(1);
    client.disconnect();
    await joined(hub, 0);
  });

  it.each([
    ['replacing', 'data: replaced\n\n'],
    ['answering', 'data: answered\n\n'],
  ])('holds no event if it is not used: %s', async (route, body) => {
    const { text, hub } = await start(platform, [Intercepted]);
    const seen: HubPresence[] = [];
    hub.presence.subscribe((event) => seen.push(event));

    expect(await text(`/${route}`)).toBe(body);
    expect(seen).toEqual([]);
    expect(hub.size()).toBe(0);
  });
});

describe.each(PLATFORMS)('%s: hooks of a stream of a hub', (platform) => {
  function hooked(hooks: StreamHooks, options: StreamingModuleOptions = {}) {
    @Controller()
    @UseStreamHooks(hooks)
    class Hooked {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('feed', options)
      feed(@LastEventId() after?: string) {
        return this.hub.subscribe({ after });
      }
    }
    return [Hooked];
  }

  it('include beforeChunk, which receives events with their topic and key, and may change, split and drop them', async () => {
    const seen: unknown[] = [];
    const beforeChunk = (chunk: unknown) => {
      const { id, type, data, topic, key } = chunk as HubEvent<number>;
      seen.push([id, type, data, topic, key]);
      switch (data) {
        case 1:
          return chunk;
        case 2:
          return [event({ data: 'two' }), event({ data: 'and a half' })];
        case 3:
          return undefined;
        case 4:
          return event({ ...(chunk as HubEvent), data: 'four' });
        default:
          return Promise.resolve('five');
      }
    };
    const { get, hub } = await start(platform, hooked({ beforeChunk }));
    const sse = await get('/feed', SSE);
    const ndjson = await get('/feed', NDJSON);
    await joined(hub, 2);

    const ids = await publishAll(hub, [1, 2, 3, 4, 5], { topic: 't', type: 'n', key: 'k' });
    await Promise.all([sse.until('data: five\n\n'), ndjson.until('"five"\n')]);

    expect(eventsOf(sse.body)).toEqual([
      { id: ids[0], event: 'n', data: '1' },
      { data: 'two' },
      { data: 'and a half' },
      { id: ids[3], event: 'n', data: 'four' },
      { data: 'five' },
    ]);
    expect(ndjson.body).toBe('1\n"two"\n"and a half"\n"four"\n"five"\n');
    const all = range(1, 5).map((n) => [ids[n - 1], 'n', n, 't', 'k']);
    expect([...seen].sort()).toEqual([...all, ...all].sort());
  });

  it('do not include beforeChunk for notices of the hub', async () => {
    const seen: unknown[] = [];
    const beforeChunk = (chunk: unknown) => {
      seen.push((chunk as HubEvent).data);
      return chunk;
    };
    const { get, hub } = await start(platform, hooked({ beforeChunk }, { format: 'ndjson' }));
    await hub.publish(1);

    const client = await get('/feed', { 'Last-Event-ID': 'unknown' });
    await client.until('\n1\n');

    expect(seen).toEqual([1]);
    expect(client.body).toMatch(/^\{"reset":\{"reason":"malformed","oldest":"\S+"\}\}\n1\n$/);
  });

  it('include a slow beforeChunk, which keeps the order, and delays no other client', async () => {
    const gate = deferred();
    const slow = hooked({ beforeChunk: async (chunk) => gate.promise.then(() => chunk) }, { format: 'ndjson' });
    const { get, hub } = await start(platform, [...slow, Feed]);
    const [held, other] = [await get('/feed'), await get('/returned', NDJSON)];
    await joined(hub, 2);

    await publishAll(hub, [1, 2, 3]);
    await other.until('3\n');
    expect(held.body).toBe('');
    await publishAll(hub, [4, 5]);
    gate.resolve();
    await held.until('\n5\n');

    expect(held.body).toBe('1\n2\n3\n4\n5\n');
  });

  it('include a beforeChunk that throws, which makes its own stream fail', async () => {
    const beforeChunk = () => {
      throw new Error('the hook broke');
    };
    const { get, hub, logs } = await start(platform, [...hooked({ beforeChunk }, { format: 'sse' }), Feed]);
    const [broken, sound] = [await get('/feed'), await get('/returned', SSE)];
    await joined(hub, 2);

    await hub.publish(1);
    await Promise.all([broken.closed(), sound.until('data: 1\n\n')]);

    expect(eventsOf(broken.body)).toEqual([
      { event: 'error', data: '{"statusCode":500,"message":"Internal server error"}' },
    ]);
    expect(broken.complete).toBe(false);
    expect(hub.size()).toBe(1);
    expect(logs.of('error').join()).toContain('the hook broke');
  });

  it('include a slow onOpen, whose chunks are sent first, and no event is missed', async () => {
    const opening = deferred();
    const gate = deferred();
    const onOpen = async (stream: StreamConnection) => {
      void stream.send({ comment: 'hello' });
      opening.resolve();
      await gate.promise;
      void stream.send({ comment: 'still opening' });
    };
    const { get, hub } = await start(platform, hooked({ onOpen }, { format: 'sse' }));
    const before = await hub.publish('before');
    const client = await get('/feed');
    await opening.promise;
    await publishAll(hub, [1, 2]);
    await turns();
    await publishAll(hub, [3]);
    await turns();
    expect(client.received).not.toContain('data: 1');
    gate.resolve();
    await client.until('data: 3\n\n');
    await hub.publish(4);
    await client.until('data: 4\n\n');

    expect(client.body.replace(/id: \S+\ndata: (?=\d)/g, 'data: ')).toBe(
      `: hello\n: still opening\nevent: position\nid: ${before}\ndata: {}\n\ndata: 1\n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n`,
    );
  });

  it.each([
    [
      'throws',
      () => {
        throw new ForbiddenException('not you');
      },
    ],
    ['rejects', async () => Promise.reject(new ForbiddenException('not you'))],
    [
      'rejects later',
      async () => {
        await turns(3);
        throw new ForbiddenException('not you');
      },
    ],
  ])(
    'include an onOpen that %s, whose response has the status of the exception filter, and no subscriber remains',
    async (_how, onOpen) => {
      const { url, hub, registry } = await start(platform, hooked({ onOpen }, { format: 'sse' }));

      const response = await fetch(url('/feed'));

      expect([response.status, await response.text()]).toEqual([403, expect.stringContaining('not you')]);
      expect([hub.size(), registry.size]).toEqual([0, 0]);
    },
  );

  it('run in the same order as for any stream', async () => {
    const seen = new Recorder();
    const { get, hub } = await start(
      platform,
      hooked(
        {
          onOpen: () => seen.add('onOpen'),
          beforeChunk: (chunk) => {
            seen.add('beforeChunk');
            return chunk;
          },
          beforeClose: (stream) => {
            seen.add('beforeClose');
            void stream.send('bye');
          },
          onClose: (_stream, { code }) => seen.add(`onClose ${code}`),
        },
        { format: 'ndjson' },
      ),
    );
    const client = await get('/feed');
    await joined(hub, 1);

    void hub.publish(1);
    await hub.close();
    await client.until('0\r\n\r\n');

    expect(client.body).toBe('1\n"bye"\n');
    expect(await seen.count(5)).toEqual(['onOpen', 'beforeChunk', 'beforeClose', 'beforeChunk', 'onClose completed']);
  });

  it('receive the following chunks if they are added later', async () => {
    let connection: StreamConnection | undefined;
    @Controller()
    class Later {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('feed', { format: 'ndjson' })
      feed(@ConnectedStream() stream: StreamConnection) {
        connection = stream;
        return this.hub.subscribe();
      }
    }
    const { get, hub } = await start(platform, [Later, Feed]);
    const [client, other] = [await get('/feed'), await get('/returned', NDJSON)];
    await joined(hub, 2);

    await hub.publish(1);
    await client.until('1\n');
    connection?.hooks({ beforeChunk: (chunk) => ({ hooked: (chunk as HubEvent).data }) });
    await publishAll(hub, [2, 3]);
    await client.until('{"hooked":3}\n');
    void hub.publish(4);
    connection?.hooks({ beforeChunk: (chunk) => [chunk, 'again'] });
    await hub.publish(5);
    await Promise.all([other.until('5\n'), client.until(/"hooked":5\}\n"again"\n/)]);

    expect(client.body).toBe('1\n{"hooked":2}\n{"hooked":3}\n{"hooked":4}\n"again"\n{"hooked":5}\n"again"\n');
    expect(other.body).toBe('1\n2\n3\n4\n5\n');
  });
});

describe.each(PLATFORMS)('%s: a handler that returns a subscription', (platform) => {
  const streams = new Recorder<StreamConnection>();

  @Controller()
  class Owning {
    constructor(@InjectHub('feed') readonly hub: Hub) {}

    @Sse('feed')
    feed(@ConnectedStream() stream: StreamConnection) {
      streams.add(stream);
      void stream.status(202).header('X-Feed', 'yes').send({ comment: 'welcome' });
      return this.hub.subscribe();
    }

    @Sse('promised')
    async promised(@ConnectedStream() stream: StreamConnection) {
      await turns(3);
      stream.header('X-Feed', 'later');
      return this.hub.subscribe();
    }
  }

  beforeEach(() => {
    streams.seen.length = 0;
  });

  it('may send its own events, which are between those of the hub in the order of the calls', async () => {
    const { get, hub } = await start(platform, [Owning]);
    const client = await get('/feed');
    const [stream] = await streams.count(1);
    await client.until('id: ');

    await publishAll(hub, [1, 2]);
    await client.until('data: 2\n\n');
    void stream?.send('a');
    void stream?.send('b');
    await turns(2);
    await publishAll(hub, [3]);
    await turns(2);
    void stream?.send('c');
    await hub.publish(4);
    await client.until('data: 4\n\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 202 Accepted\r\n/);
    expect(client.head).toMatch(/x-feed: yes/i);
    expect(client.body).toMatch(/^: welcome\n\nevent: position\nid: \S+\ndata: \{\}\n\n/);
    expect(dataOf(client.body)).toEqual(['1', '2', 'a', 'b', '3', 'c', '4']);
  });

  it('may send and publish in one turn, and the client receives everything in order and in one write', async () => {
    const { get, hub, sockets } = await start(platform, [Owning]);
    const client = await get('/feed');
    const [stream] = await streams.count(1);
    await client.until('id: ');
    const [socket] = await sockets.count(1);
    const writes = socket ? countWrites(socket) : () => 0;

    for (const n of range(1, 10)) {
      void stream?.send(`s${n}`);
      void hub.publish(n);
    }
    await client.until('data: 10\n\n');
    await client.until('data: s10\n\n');

    const data = dataOf(client.body);
    expect(data.filter((each) => each?.startsWith('s'))).toEqual(range(1, 10).map((n) => `s${n}`));
    expect(data.filter((each) => !each?.startsWith('s'))).toEqual(range(1, 10).map(String));
    expect(writes()).toBe(1);
  });

  it('may close the stream, which ends after the chunks that were sent, and the subscriber is removed', async () => {
    const { get, hub, registry } = await start(platform, [Owning]);
    const client = await get('/feed');
    const [stream] = await streams.count(1);
    await client.until('id: ');
    await hub.publish(1);
    await client.until('data: 1\n\n');

    void stream?.send('bye');
    const closed = stream?.close();
    expect(hub.size()).toBe(0);
    void hub.publish(2);
    await closed;
    await client.until('0\r\n\r\n');

    expect(dataOf(client.body)).toEqual(['1', 'bye']);
    expect(registry.size).toBe(0);
  });

  it('may return a promise of the subscription', async () => {
    const { get, hub } = await start(platform, [Owning]);
    const client = await get('/promised');
    await client.until('id: ');

    await hub.publish(1);
    await client.until('data: 1\n\n');

    expect(client.head).toMatch(/x-feed: later/i);
    expect(dataOf(client.body)).toEqual(['1']);
  });

  it('opens the stream at once, without waiting for an event or for openDelay', async () => {
    const { get, hub } = await start(platform, [Owning], { options: { openDelay: 'first-chunk' } });
    const position = await hub.publish(0);

    const client = await get('/promised');
    await client.until('id: ');

    expect(client.body).toBe(`event: position\nid: ${position}\ndata: {}\n\n`);
  });

  it('and returns it a second time makes only the second request fail', async () => {
    @Controller()
    class Twice {
      private readonly subscription: HubSubscription;

      constructor(@InjectHub('feed') readonly hub: Hub) {
        this.subscription = hub.subscribe();
      }

      @Sse('feed')
      feed() {
        return this.subscription;
      }
    }
    const { get, url, hub, logs } = await start(platform, [Twice]);
    const client = await get('/feed');
    await client.until('id: ');

    const response = await fetch(url('/feed'));
    await hub.publish(1);
    await client.until('data: 1\n\n');

    expect(response.status).toBe(500);
    expect(logs.of('error').join()).toContain('A subscription is read once');
    expect(hub.size()).toBe(1);
  });
});

describe.each(PLATFORMS)('%s: a client that disconnects', (platform) => {
  it.each([
    ['/returned', undefined],
    ['/iterated', undefined],
    ['/topics?topic=b&topic=a', ['a', 'b']],
  ])('%s is removed from the hub at once', async (path, topics) => {
    const { get, hub, sockets, registry } = await start(platform, [Feed]);
    const seen = new Recorder<HubPresence>();
    hub.presence.subscribe(seen.add);
    const client = await get(path, SSE);
    await joined(hub, 1);
    const [socket] = await sockets.count(1);
    const sizes: number[] = [];
    // Registered last, so called last, in the turn of the event.
    socket?.on('close', () => sizes.push(hub.size()));

    client.disconnect();
    await seen.count(2);
    await turns();

    expect(seen.seen).toEqual([
      { type: 'subscribe', topics, size: 1 },
      { type: 'unsubscribe', topics, size: 0 },
    ]);
    expect([hub.size(), registry.size, ...sizes]).toEqual([0, 0, 0]);
    expect(hub.topics).toEqual([]);
  });

  it('during an asynchronous guard is never subscribed', async () => {
    const asked = deferred();
    const gate = deferred();
    class Slow implements CanActivate {
      async canActivate(): Promise<boolean> {
        asked.resolve();
        await gate.promise;
        return true;
      }
    }
    @Controller()
    class Guarded {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('feed')
      @UseGuards(Slow)
      feed(@LastEventId() after?: string) {
        return this.hub.subscribe({ after });
      }
    }
    const { get, hub, sockets, logs, registry } = await start(platform, [Guarded]);
    const seen: HubPresence[] = [];
    hub.presence.subscribe((event) => seen.push(event));
    const client = await get('/feed');
    const [socket] = await sockets.count(1);
    await asked.promise;

    client.disconnect();
    await (socket?.closed ? undefined : once(socket ?? client.socket, 'close'));
    gate.resolve();
    await turns(20);
    await hub.publish(1);
    await turns();

    expect(seen).toEqual([]);
    expect([hub.size(), registry.size]).toEqual([0, 0]);
    expect(logs.of('error')).toEqual([]);
  });

  it('while the handler is still running is never subscribed', async () => {
    const called = deferred();
    const gate = deferred();
    @Controller()
    class Busy {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('feed')
      async feed() {
        called.resolve();
        const subscription = this.hub.subscribe();
        await gate.promise;
        return subscription;
      }
    }
    const { get, hub, logs, registry } = await start(platform, [Busy]);
    const seen: HubPresence[] = [];
    hub.presence.subscribe((event) => seen.push(event));
    const client = await get('/feed');
    await called.promise;
    const [stream] = registry;
    const gone = new Promise((resolve) => stream?.signal.addEventListener('abort', resolve));

    client.disconnect();
    await gone;
    gate.resolve();
    await turns(10);

    expect(seen).toEqual([]);
    expect(hub.size()).toBe(0);
    expect(logs.of('error')).toEqual([]);
  });

  it('in the middle of a round does not affect the others', async () => {
    const { get, hub, sockets } = await start(platform, [Feed]);
    const clients = await Promise.all(range(1, 10).map(() => get('/returned', NDJSON)));
    await joined(hub, 10);
    const all = await sockets.count(10);

    void publishAll(hub, [1, 2]);
    for (const socket of all.slice(3, 6)) {
      socket.destroy();
    }
    await joined(hub, 7);
    await hub.publish(3);
    const whole = new Recorder<string>();
    for (const client of clients) {
      client.until('3\n').then(
        () => whole.add(client.body),
        () => undefined,
      );
    }

    expect(await whole.count(7)).toEqual(Array(7).fill('1\n2\n3\n'));
  });
});
