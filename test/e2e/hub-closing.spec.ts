import { Controller } from '@nestjs/common';
import {
  type Broker,
  type BrokerRecord,
  Hub,
  InjectHub,
  MemoryBroker,
  Stream,
  StreamingModule,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { dataOf, eventsOf, hubOf, joined, publishAll, range, SSE, untilLast } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { type RunningApp, turns, useApps } from '../support/running.js';

/** Whether the loop of a test that publishes continues. */
let publishing = false;

afterEach(() => {
  publishing = false;
});

// Registered after the hook above, because hooks of Jest run in reverse order.
const launch = useApps();
const start = useHubApps();

/** A broker that fails when it is closed, like one that has lost its connection. */
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

describe.each(PLATFORMS)('%s: a broker whose stop() or close() fails', (platform) => {
  it.each(['/returned', '/iterated'])('leaves no subscriber after hub.close(): %s', async (path) => {
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

  it.each(['stop', 'close'] as const)(
    'does not prevent app.close() from closing the other brokers: %s',
    async (what) => {
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
    },
  );
});

describe.each(PLATFORMS)('%s: app.close()', (platform) => {
  const PATIENT = { shutdown: { grace: 60_000, retry: false } } as const;

  it('does not wait for the grace period if a subscriber does not read', async () => {
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

  it('does not wait for the grace period if a generator reads a hub and ignores its signal', async () => {
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

describe.each(PLATFORMS)('%s: an application that continues to publish', (platform) => {
  it.each([10, 300])('can be closed, with %i subscribers', async (count) => {
    const { hub, close } = await start(platform, [Feed]);
    const ends = range(1, count).map(async () => {
      const received = [];
      for await (const { data } of hub.subscribe()) {
        received.push(data);
      }
      return received;
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
    for (const received of await Promise.all(ends)) {
      expect(received).toEqual(range(1, received.length));
    }
  });
});

describe.each(PLATFORMS)('%s: an event that is being published when its hub is closed', (platform) => {
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

  it('reaches them also if the broker delivers it some time after append() has resolved', async () => {
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

  it('does not keep the hub open if the broker fails to append it', async () => {
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
  it('of several applications is closed by the last of them, wherever it is configured', async () => {
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

describe.each(PLATFORMS)('%s: the history of a hub that is closed', (platform) => {
  it('is released', async () => {
    const { hub } = await start(platform, [Feed]);
    await publishAll(hub, range(1, 100));
    expect(hub.log.kept).toBe(100);

    await hub.close();

    expect(hub.log.kept).toBe(0);
  });

  it('is released when the last client has read it to its end', async () => {
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
    expect(hub.log.kept).toBe(201);
    const ended = untilLast(client, '\r\n0\r\n\r\n');
    client.socket.resume();
    await ended;
    await turns(2);

    expect(dataOf(client.body).map((data) => Number(data?.split(' ')[0]))).toEqual(range(1, 200));
    expect([hub.log.kept, hub.size()]).toEqual([0, 0]);
  }, 60_000);
});
