import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import type { ServerResponse } from 'node:http';
import { Controller, type INestApplication, Res, type Type } from '@nestjs/common';
import type { RecordWindow } from '../../lib/broker/record-window.js';
import {
  type Broker,
  type BrokerPosition,
  type BrokerRecord,
  ConnectedStream,
  Hub,
  type HubEvent,
  type HubOptions,
  type HubSubscription,
  InjectHub,
  LastEventId,
  MemoryBroker,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { deferred } from '../support/events.js';
import { dataOf, eventsOf, hubOf, joined, publishAll, range, recordsOf, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, turns, useApps } from '../support/running.js';

/** Whether those who publish all the time are to go on. */
let publishing = false;

afterEach(() => {
  publishing = false;
});

// After the hook above, so that its own comes after it.
const launch = useApps();

/** An application with the hub `feed`. */
async function start(
  platform: Platform,
  controllers: Type[],
  { hub = {}, ...setup }: Omit<AppSetup, 'controllers'> & { hub?: Partial<HubOptions> } = {},
): Promise<RunningApp & { readonly hub: Hub }> {
  const imports = [StreamingModule.registerHub({ name: 'feed', ...hub })];
  const app = await launch(platform, { ...setup, controllers, imports });
  return { ...app, hub: hubOf(app) };
}

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('returned', { format: ['sse', 'ndjson'] })
  returned(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('iterated', { format: ['sse', 'ndjson'] })
  async *iterated(@StreamSignal() signal: AbortSignal, @LastEventId() after?: string) {
    for await (const event of this.hub.subscribe({ after, signal })) {
      yield event;
    }
  }
}

/** Waits until a client has received so many more bytes, and has it take no more until it is asked again. */
async function readSome({ socket }: RawClient, bytes: number): Promise<void> {
  const goal = socket.bytesRead + bytes;
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (socket.bytesRead >= goal || socket.destroyed) {
        socket.off('data', look);
        socket.off('close', look);
        socket.pause();
        resolve();
      }
    };
    socket.on('data', look);
    socket.on('close', look);
    socket.resume();
  });
}

// On Express, headers cannot be set any more then: that fails, and is logged.
describe('fastify: a handler that sends the head itself', () => {
  it('and returns a subscription has it before the first event, also of the history', async () => {
    @Controller()
    class Raw {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('raw')
      raw(@LastEventId() after: string, @Res({ passthrough: true }) reply: { raw: ServerResponse }) {
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'x-own': '1' });
        return this.hub.subscribe({ after });
      }
    }
    const { get, hub } = await start('fastify', [Raw]);
    const ids = await publishAll(hub, ['had', 'missed']);

    const client = await get('/raw', { 'Last-Event-ID': ids[0] ?? '' });
    await client.until('data: missed\n\n');
    const last = await hub.publish('live');
    await client.until('data: live\n\n');

    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(client.head).toContain('x-own: 1\r\n');
    expect(client.body).toBe(`id: ${ids[1]}\ndata: missed\n\nid: ${last}\ndata: live\n\n`);
  });
});

describe.each(PLATFORMS)('%s: one large event', (platform) => {
  it('reaches a client that takes it slowly, but steadily, however long that is', async () => {
    const { get, hub, registry, logs } = await start(platform, [Feed], { options: { sendTimeout: 60_000 } });
    const client = await get('/returned', SSE);
    await client.until('id: ');
    await joined(hub, 1);
    // Time goes by when the test says so.
    registry.rest();
    let now = registry.now();
    const pass = (ms: number): void => {
      now += ms;
      Reflect.set(registry, 'time', now);
      for (const stream of registry.open) {
        stream.tick(now, now, 0);
      }
    };
    pass(0);
    client.socket.pause();

    const large = 'x'.repeat(32 * 1024 * 1024);
    await hub.publish(large);
    await turns(20);
    while (client.socket.bytesRead < 20 * 1024 * 1024 && !client.socket.destroyed) {
      await readSome(client, 3 * 1024 * 1024);
      await turns(20);
      pass(40_000);
    }
    client.socket.resume();
    const closing = hub.close();
    await client.until(/\r\n0\r\n\r\n$/);
    await closing;

    const [, data] = recordsOf(client.body);
    expect(data?.data?.length).toBe(large.length);
    expect(logs.of('warn')).toEqual([]);
  }, 30_000);
});

describe.each(PLATFORMS)('%s: a filter', (platform) => {
  it('runs in the context of its subscriber, whoever publishes', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    @Controller()
    class Filtered {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('filtered', { format: 'ndjson' })
      filtered(@LastEventId() after?: string) {
        return this.hub.subscribe({
          after,
          filter: ({ data }) => {
            seen.push([data, context.getStore()]);
            return true;
          },
        });
      }
    }
    const { get, hub } = await start(platform, [Filtered], {
      configure: (app: INestApplication) => {
        app.use((_request: unknown, _response: unknown, next: () => void) => context.run('subscriber', next));
      },
    });
    const id = await hub.publish(0);
    await context.run('publisher', () => hub.publish('missed'));
    const client = await get('/filtered', { 'Last-Event-ID': id });
    await client.until('"missed"\n');
    await joined(hub, 1);

    await context.run('publisher', () => hub.publish('live'));
    await client.until('"live"\n');

    expect(seen).toEqual([
      ['missed', 'subscriber'],
      ['live', 'subscriber'],
    ]);
  });

  it('that is slow does not keep others from their turn until everyone is served', async () => {
    const { hub } = await start(platform, [Feed]);
    const order: string[] = [];
    const iterators = range(1, 64).map(() =>
      hub
        .subscribe({
          filter: () => {
            order.push('filter');
            const end = performance.now() + 1;
            while (performance.now() < end) {
              // It is busy.
            }
            return true;
          },
        })
        [Symbol.asyncIterator](),
    );
    const heard = Promise.all(iterators.map((iterator) => iterator.next()));
    await turns(3);

    await hub.publish(1);
    const others = (async () => {
      while (order.filter((what) => what === 'filter').length < 64) {
        await turns(1);
        order.push('turn');
      }
    })();
    await Promise.all([heard, others]);

    const first = order.indexOf('filter');
    const last = order.lastIndexOf('filter');
    expect(order.slice(first, last)).toContain('turn');
    expect((await heard).map(({ value }) => value?.data)).toEqual(Array(64).fill(1));
    await Promise.all(iterators.map((iterator) => iterator.return?.()));
  });
});

/** A broker whose connection to its store is gone, as far as ending goes. */
class Failing extends MemoryBroker {
  closed = 0;

  constructor(private readonly fails: 'stop' | 'close' | 'nothing') {
    super();
  }

  override async tail(...args: Parameters<Broker['tail']>): ReturnType<Broker['tail']> {
    const tail = await super.tail(...args);
    return {
      ...tail,
      stop: () => (this.fails === 'stop' ? Promise.reject(new Error('cannot stop')) : tail.stop()),
    };
  }

  override async close(): Promise<void> {
    this.closed++;
    await super.close();
    if (this.fails === 'close') {
      throw new Error('cannot close');
    }
  }
}

describe.each(PLATFORMS)('%s: a broker that fails when it is to end', (platform) => {
  it.each(['/returned', '/iterated'])('leaves no subscriber behind at hub.close(): %s', async (path) => {
    const { get, hub } = await start(platform, [Feed], { hub: { broker: new Failing('stop') } });
    const completed = deferred();
    hub.presence.subscribe({ complete: completed.resolve });
    const client = await get(path, SSE);
    await joined(hub, 1);
    await hub.publish('first');
    await client.until('data: first\n\n');

    void hub.publish('last');
    await expect(hub.close()).rejects.toThrow('cannot stop');
    await client.until('\r\n0\r\n\r\n');
    await completed.promise;

    expect(dataOf(client.body)).toEqual(['first', 'last']);
    expect(hub.size()).toBe(0);
  });

  it.each(['stop', 'close'] as const)('does not keep app.close() from closing the others: %s', async (what) => {
    const brokers = [new Failing('nothing'), new Failing(what), new Failing('nothing')];
    const imports = [
      StreamingModule.registerHub(...['before', 'feed', 'after'].map((name, i) => ({ name, broker: brokers[i] }))),
    ];
    const app = await launch(platform, { imports, controllers: [Feed] });
    const client = await app.get('/returned', { ...SSE, Connection: 'close' });
    await joined(hubOf(app), 1);

    await app.close();
    await client.closed();

    expect(client.complete).toBe(true);
    expect(brokers.map(({ closed }) => closed)).toEqual([1, 1, 1]);
    expect(app.logs.of('error')).toEqual([
      expect.stringMatching(
        what === 'stop' ? /^error A hub could not .*cannot stop/ : /^error A broker .*cannot close/,
      ),
    ]);
    await expect(hubOf(app, 'after').publish(1)).rejects.toMatchObject({ code: 'hub-closed' });
  });
});

describe.each(PLATFORMS)('%s: app.close()', (platform) => {
  const PATIENT = { shutdown: { grace: 60_000, retry: false } } as const;

  it('does not wait for the grace where a client takes nothing', async () => {
    const { get, hub, close, registry, sockets } = await start(platform, [Feed], {
      hub: { overflow: 'drop-oldest', queue: { items: 2 } },
      options: PATIENT,
    });
    const client = await get('/returned', SSE);
    await joined(hub, 1);
    await hub.publish('first');
    await client.until('data: first\n\n');
    client.socket.pause();
    const [socket] = await sockets.count(1);
    while ((socket?.writableLength ?? 0) === 0) {
      await hub.publish('x'.repeat(1024 * 1024));
      await turns(2);
    }

    await close();

    expect([registry.size, hub.size(), socket?.destroyed]).toEqual([0, 0, true]);
  });

  it('does not wait for the grace where what iterates a hub heeds no signal', async () => {
    @Controller()
    class Deaf {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('deaf', { format: 'sse' })
      async *deaf() {
        for await (const event of this.hub.subscribe()) {
          yield event;
        }
        yield { data: 'after the loop' };
      }
    }
    const { get, hub, close } = await start(platform, [Deaf], { options: PATIENT });
    const client = await get('/deaf', { Connection: 'close' });
    await joined(hub, 1);

    void hub.publish('published');
    await close();
    await client.closed();

    expect(client.body).toContain('data: published\n\ndata: after the loop\n\n');
  });
});

describe.each(PLATFORMS)('%s: while somebody goes on publishing', (platform) => {
  it.each([10, 300])('app.close() comes to its end, with %i subscribers', async (count) => {
    const { hub, close } = await start(platform, [Feed]);
    const ends = range(1, count).map(async () => {
      const heard = [];
      for await (const { data } of hub.subscribe()) {
        heard.push(data);
      }
      return heard;
    });
    await turns(2);
    publishing = true;
    const refusal = (async () => {
      for (let number = 1; publishing; number++) {
        await hub.publish(number);
        await turns(1);
      }
    })().catch((error: unknown) => error);

    await close();

    expect(await refusal).toMatchObject({ code: 'hub-closed' });
    for (const heard of await Promise.all(ends)) {
      expect(heard).toEqual(range(1, heard.length));
    }
  });
});

describe.each(PLATFORMS)('%s: a subscription that is closed by who watches who comes', (platform) => {
  it.each([undefined, 'gone'])('is over, and hears nothing any more (Last-Event-ID: %p)', async (id) => {
    const asked: unknown[] = [];
    let last: HubSubscription | undefined;
    @Controller()
    class Watched {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('watched')
      watched(@LastEventId() after?: string) {
        last = this.hub.subscribe({ after, filter: ({ data }) => asked.push(data) > 0 });
        return last;
      }
    }
    const { get, hub, registry } = await start(platform, [Watched]);
    const sizes: number[] = [];
    hub.presence.subscribe(({ type, size }) => {
      sizes.push(size);
      if (type === 'subscribe') {
        last?.close();
      }
    });

    const client = await get('/watched', id === undefined ? {} : { 'Last-Event-ID': id });
    await client.until(/\r\n0\r\n\r\n|content-length/i);
    await hub.publish('nobody hears it');
    await turns(5);

    expect(asked).toEqual([]);
    expect(sizes).toEqual([1, 0]);
    expect([hub.size(), registry.size]).toEqual([0, 0]);
    expect(client.body).not.toContain('event: reset');
  });
});

/** A broker on a server that loses its log, and begins another, without this process being told. */
class Losing implements Broker {
  private records: BrokerRecord[] = [];
  private epoch = 'first';
  private tell: (records: readonly BrokerRecord[]) => void = () => undefined;

  async open(): Promise<void> {
    this.records = [];
  }

  async append(_log: string, entry: Parameters<Broker['append']>[1]): Promise<BrokerPosition> {
    const record = { ...entry, epoch: this.epoch, offset: this.records.length + 1, time: Date.now() };
    this.records.push(record);
    this.tell([record]);
    return record;
  }

  async tail(_log: string, listener: (records: readonly BrokerRecord[]) => void) {
    this.tell = listener;
    return { epoch: this.epoch, offset: this.records.length, stop: () => undefined };
  }

  async read(_log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.records.slice(after, after + count);
  }

  async close(): Promise<void> {
    this.records = [];
  }

  lose(epoch: string): void {
    this.epoch = epoch;
    this.records = [];
  }
}

describe.each(PLATFORMS)('%s: after the log has begun anew while the application runs', (platform) => {
  async function begunAnew() {
    const broker = new Losing();
    const app = await start(platform, [Feed], { hub: { broker } });
    const old = await app.hub.publish('old');
    const live = await app.get('/returned', SSE);
    await joined(app.hub, 1);
    broker.lose('second');
    const ids = await publishAll(app.hub, ['one', 'two']);
    await live.until('data: two\n\n');
    return { ...app, old, live, ids };
  }

  it.each(['/returned', '/iterated'])('a client is sent one reset, with an id to go on with: %s', async (path) => {
    const { get, hub, old, live, ids } = await begunAnew();

    for (const [id, reason] of [
      [old, 'epoch'],
      ['malformed', 'malformed'],
    ] as const) {
      const client = await get(path, { ...SSE, 'Last-Event-ID': id });
      await client.until('data: two\n\n');

      const [reset, ...events] = eventsOf(client.body);
      expect(reset?.event).toBe('reset');
      expect(JSON.parse(reset?.data ?? '')).toEqual({ reason, oldest: ids[0] });
      expect(events).toEqual([
        { id: ids[0], data: 'one' },
        { id: ids[1], data: 'two' },
      ]);
      const back = await get(path, { ...SSE, 'Last-Event-ID': reset?.id ?? '' });
      await back.until('data: two\n\n');
      expect(eventsOf(back.body)).toEqual(events);
    }

    const [mark, ...told] = recordsOf(live.body);
    expect(mark?.id).toBe(old);
    expect(told.map(({ event, data }) => event ?? data)).toEqual(['reset', 'one', 'two']);
    expect(JSON.parse(told[0]?.data ?? '')).toEqual({ reason: 'epoch', oldest: ids[0] });
    expect(hub.size()).toBe(5);
  });
});

describe.each(PLATFORMS)('%s: what is being published when the hub is closed', (platform) => {
  it.each(['/returned', '/iterated'])('reaches its subscribers before they end: %s', async (path) => {
    const gate = deferred();
    let slow = false;
    class Slow extends MemoryBroker {
      override async append(...args: Parameters<Broker['append']>): ReturnType<Broker['append']> {
        if (slow) {
          await gate.promise;
        }
        return super.append(...args);
      }
    }
    const { get, hub } = await start(platform, [Feed], { hub: { broker: new Slow() } });
    const client = await get(path, SSE);
    await joined(hub, 1);
    await hub.publish('zero');
    await client.until('data: zero\n\n');

    slow = true;
    const published = publishAll(hub, ['one', 'two']);
    const closing = hub.close();
    await turns(5);
    expect(hub.size()).toBe(1);
    gate.resolve();
    const ids = await published;
    await closing;
    await client.until('\r\n0\r\n\r\n');

    expect(eventsOf(client.body).slice(1)).toEqual([
      { id: ids[0], data: 'one' },
      { id: ids[1], data: 'two' },
    ]);
  });

  it('and is told by the broker later than it is appended reaches them too', async () => {
    class Remote extends MemoryBroker {
      override tail(log: string, listener: (records: readonly BrokerRecord[]) => void): ReturnType<Broker['tail']> {
        return super.tail(log, (records) => void turns(3).then(() => listener(records)));
      }
    }
    const { get, hub } = await start(platform, [Feed], { hub: { broker: new Remote() } });
    const client = await get('/returned', SSE);
    await joined(hub, 1);

    const id = await hub.publish('published');
    await hub.close();
    await client.until('\r\n0\r\n\r\n');

    expect(eventsOf(client.body)).toEqual([{ id, data: 'published' }]);
  });

  it('and fails does not keep the hub open', async () => {
    class Broken extends MemoryBroker {
      override async append(): ReturnType<Broker['append']> {
        await turns(3);
        throw new Error('the store is full');
      }
    }
    const { get, hub } = await start(platform, [Feed], { hub: { broker: new Broken() } });
    const client = await get('/returned', SSE);
    await joined(hub, 1);

    const published = hub.publish('one');
    const closing = hub.close();

    await expect(published).rejects.toThrow('the store is full');
    await closing;
    await client.until('\r\n0\r\n\r\n');
    expect(dataOf(client.body)).toEqual([]);
  });
});

describe.each(PLATFORMS)('%s: a broker', (platform) => {
  it('of several applications is closed by the last of them, whichever way they have it', async () => {
    const broker = new Failing('nothing');
    const root = { options: { broker }, imports: [StreamingModule.registerHub({ name: 'feed' })] };
    const own = { imports: [StreamingModule.registerHub({ name: 'feed', broker }, { name: 'other', broker })] };
    const apps = [await launch(platform, root), await launch(platform, own), await launch(platform, root)];

    for (const app of apps.slice(0, 2)) {
      await app.close();
      expect(broker.closed).toBe(0);
      expect(await hubOf(apps[2] as RunningApp).publish('still')).toEqual(expect.any(String));
    }
    await apps[2]?.close();

    expect(broker.closed).toBe(1);
  });

  it('of an application without hubs is closed with it', async () => {
    const broker = new Failing('nothing');
    const app = await launch(platform, { options: { broker } });

    await app.close();

    expect(broker.closed).toBe(1);
  });
});

describe.each(PLATFORMS)('%s: a subscriber that is told what was dropped', (platform) => {
  it.each([
    ['drop-oldest', [undefined, undefined, undefined, undefined, undefined], [2, 3, 4, 5]],
    ['latest', ['a', 'b', 'a', 'c', 'a'], [2, 3, 4, 5]],
    // The first of them is not dropped, and still to come.
    ['latest', ['a', 'b', 'b'], [1, 2, 3]],
  ] as const)('and comes back with the id of that misses nothing: %s of keys %j', async (overflow, keys, missed) => {
    const queue = { items: overflow === 'latest' ? 9 : 2 };
    const { hub } = await start(platform, [Feed], { hub: { overflow, queue } });
    const events = hub.subscribe()[Symbol.asyncIterator]();
    const first = events.next();
    await hub.publish('first');
    await first;

    for (const [index, key] of keys.entries()) {
      await hub.publish(index + 1, { key });
      await turns(2);
    }
    const { value: lagged } = await events.next();
    await events.return?.();
    expect(lagged?.type).toBe('lagged');
    const back = hub.subscribe({ after: lagged?.id })[Symbol.asyncIterator]();
    const heard: unknown[] = [];
    while (heard.at(-1) !== missed.at(-1)) {
      heard.push((await back.next()).value?.data);
    }

    expect(heard.filter((each) => each !== 'first').slice(-missed.length)).toEqual(missed);
    await back.return?.();
  });
});

describe.each(PLATFORMS)('%s: a stream that hears a hub', (platform) => {
  it('and is closed by its own hook in the middle of much ends well, and is not called slow', async () => {
    const heard: unknown[] = [];
    const codes: string[] = [];
    @Controller()
    class Closing {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('closing')
      closing(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          beforeChunk: (chunk) => {
            const { data } = chunk as HubEvent;
            heard.push(data);
            if (data === 3) {
              void stream.close();
            }
            return chunk;
          },
          onClose: (_, { code }) => codes.push(code),
        });
        return this.hub.subscribe();
      }
    }
    const { get, hub, logs } = await start(platform, [Closing]);
    const client = await get('/closing');
    await joined(hub, 1);

    await publishAll(hub, range(1, 2_000));
    await Promise.race([client.until('\r\n0\r\n\r\n'), client.closed()]);

    expect(client.complete).toBe(true);
    expect(dataOf(client.body).slice(0, 2)).toEqual(['1', '2']);
    expect(heard).toEqual([1, 2, 3]);
    expect([logs.of('warn'), logs.of('error'), hub.size()]).toEqual([[], [], 0]);
    expect(codes).toHaveLength(1);
  });

  it.each([
    ['each', 'each', ['one', 'two', 'three']],
    ['by bytes', { bytes: 60, ms: 60_000 }, ['one', 'two', 'three', 'x'.repeat(60)]],
  ] as const)('is flushed as its route says: %s', async (_how, flush, values) => {
    @Controller()
    class Flushed {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('flushed', { format: 'ndjson', flush: flush as 'each' })
      flushed() {
        return this.hub.subscribe();
      }
    }
    const { get, hub } = await start(platform, [Flushed]);
    const client = await get('/flushed');
    await joined(hub, 1);
    await client.until('\r\n\r\n');

    for (const value of values) {
      void hub.publish(value);
      if (flush !== 'each') {
        await turns(5);
      }
    }
    const lines = values.map((value) => `"${value}"\n`);
    await client.until(lines.at(-1) ?? '');

    expect(client.frames).toEqual(flush === 'each' ? lines : [lines.join('')]);
  });

  it.each([
    ['the newest', { last: 3 }, ['3', '4', '5']],
    ['more than there are', { last: Infinity }, ['3', '4', '5']],
  ])('and begins with %s is told of no gap when those are evicted before it reads', async (_how, options, expected) => {
    @Controller()
    class Late {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('late')
      async late() {
        const subscription = this.hub.subscribe(options);
        await publishAll(this.hub, [4, 5]);
        await turns(5);
        return subscription;
      }
    }
    const { get, hub } = await start(platform, [Late], { hub: { history: { limit: 3 } } });
    const ids = await publishAll(hub, [1, 2, 3]);

    const client = await get('/late');
    await client.until('data: 5\n\n');

    const [mark, ...events] = recordsOf(client.body);
    expect(mark).toEqual({ event: 'position', id: ids[1], data: '{}' });
    expect(events.map(({ event, data }) => event ?? data)).toEqual(expected);
  });
});

describe('subscribe({ signal })', () => {
  it('does not touch the signal of who never reads, nor after it is over', async () => {
    const { hub } = await start('express', [Feed]);
    const controller = new AbortController();
    const { signal } = controller;

    const subscriptions = range(1, 12).map(() => hub.subscribe({ signal }));

    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const iterators = subscriptions.slice(0, 2).map((subscription) => subscription[Symbol.asyncIterator]());
    expect(getEventListeners(signal, 'abort')).toHaveLength(2);
    await iterators[0]?.return?.();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    const heard = iterators[1]?.next();
    controller.abort();
    expect(await heard).toEqual({ done: true, value: undefined });
    // One that is taken up only now is over at once.
    expect(await subscriptions[2]?.[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
    expect(hub.size()).toBe(0);
  });
});

describe.each(PLATFORMS)('%s: the history of a hub that is closed', (platform) => {
  /** How many events it still has. */
  function kept(hub: Hub): number {
    const { window } = Reflect.get(hub, 'history') as { readonly window: RecordWindow<unknown> };
    return window.after(0, Infinity).length;
  }

  it('is let go of', async () => {
    const { hub } = await start(platform, [Feed]);
    await publishAll(hub, range(1, 100));
    expect(kept(hub)).toBe(100);

    await hub.close();

    expect(kept(hub)).toBe(0);
  });

  it('is let go of when the last client has read it to its end', async () => {
    const { get, hub, sockets } = await start(platform, [Feed]);
    const id = await hub.publish('first');
    await publishAll(
      hub,
      range(1, 200).map((n) => `${n} ${'x'.repeat(100_000)}`),
    );
    const client = await get('/returned', { ...SSE, 'Last-Event-ID': id });
    client.socket.pause();
    const [socket] = await sockets.count(1);
    while ((socket?.writableLength ?? 0) === 0) {
      await turns(1);
    }

    await hub.close();
    expect(kept(hub)).toBe(201);
    client.socket.resume();
    await client.until(/\r\n0\r\n\r\n$/);
    await turns(2);

    expect(dataOf(client.body).map((data) => Number(data?.split(' ')[0]))).toEqual(range(1, 200));
    expect([kept(hub), hub.size()]).toEqual([0, 0]);
  }, 20_000);
});
