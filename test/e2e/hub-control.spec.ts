import { getEventListeners } from 'node:events';
import { Controller, Param, Query } from '@nestjs/common';
import {
  Hub,
  type HubEvent,
  type HubOptions,
  type HubPresence,
  type HubSubscription,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { dataOf, hubOf, joined, NDJSON, publishAll, range, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();

/** Its promise is the result of the route `held`. */
let held = deferred();
const subscriptions: HubSubscription[] = [];

beforeEach(() => {
  held = deferred();
  subscriptions.length = 0;
});

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('returned')
  returned(@LastEventId() after?: string, @Query('topic') topic?: string | string[]) {
    return this.keep(this.hub.subscribe({ after, topic }));
  }

  @Stream('iterated', { openDelay: 0 })
  async *iterated(@StreamSignal() signal: AbortSignal, @LastEventId() after?: string, @Query('topic') topic?: string) {
    yield* this.keep(this.hub.subscribe({ after, topic, signal }));
  }

  @Sse('held', { openDelay: 'first-chunk' })
  async held() {
    const subscription = this.keep(this.hub.subscribe());
    await held.promise;
    return subscription;
  }

  @Sse('late/:topic')
  late(@Param('topic') topic: string) {
    return this.hub.subscribe({ topic });
  }

  private keep(subscription: HubSubscription): HubSubscription {
    subscriptions.push(subscription);
    return subscription;
  }
}

async function start(platform: Platform, options: Partial<HubOptions> = {}) {
  const imports = [StreamingModule.registerHub({ name: 'feed', ...options })];
  const app = await launch(platform, { controllers: [Feed], imports });
  const hub = hubOf(app);
  const come = async (path: string, headers: Record<string, string> = SSE) => {
    const size = hub.size() + 1;
    const client = await app.get(path, headers);
    await joined(hub, size);
    await client.until('\r\n\r\n');
    return client;
  };
  return { ...app, hub, come };
}

/** Whether a body is complete, chunked or by its Content-Length. */
function endedWell({ head, body, complete }: RawClient): boolean {
  const [, length] = /content-length: (\d+)/i.exec(head) ?? [];
  return complete || (length !== undefined && body.length === Number(length));
}

/** Reads a subscription to its end. */
async function all(subscription: AsyncIterable<HubEvent>, seen = new Recorder<unknown>()): Promise<unknown[]> {
  for await (const { data } of subscription) {
    seen.add(data);
  }
  return seen.seen;
}

describe.each(PLATFORMS)('%s: a subscriber of a hub', (platform) => {
  it('is counted, in total and by topic, when it subscribes and unsubscribes', async () => {
    const { hub, come } = await start(platform);
    expect([hub.size(), hub.size('a'), hub.topics]).toEqual([0, 0, []]);

    const toAll = await come('/returned');
    const a = await come('/returned?topic=a');
    const both = await come('/returned?topic=b&topic=a&topic=b');
    const iterated = await come('/iterated?topic=c');

    expect(hub.size()).toBe(4);
    expect([hub.size('a'), hub.size('b'), hub.size('c'), hub.size('nobody')]).toEqual([3, 2, 2, 1]);
    expect(hub.topics.sort()).toEqual(['a', 'b', 'c']);
    both.disconnect();
    await joined(hub, 3);
    expect([hub.size('a'), hub.size('b'), hub.topics.sort()]).toEqual([2, 1, ['a', 'c']]);
    iterated.disconnect();
    a.disconnect();
    toAll.disconnect();
    await joined(hub, 0);
    expect([hub.size('a'), hub.topics]).toEqual([0, []]);
  });

  it('is reported by hub.presence when it subscribes and unsubscribes, until the hub is closed', async () => {
    const { hub, come } = await start(platform);
    const seen: (HubPresence | string)[] = [];
    hub.presence.subscribe({ next: (event) => seen.push(event), complete: () => seen.push('complete') });

    const first = await come('/returned');
    await come('/returned?topic=b&topic=a');
    first.disconnect();
    await joined(hub, 1);
    await hub.close();

    expect(seen).toEqual([
      { type: 'subscribe', topics: undefined, size: 1 },
      { type: 'subscribe', topics: ['a', 'b'], size: 2 },
      { type: 'unsubscribe', topics: undefined, size: 1 },
      { type: 'unsubscribe', topics: ['a', 'b'], size: 0 },
      'complete',
    ]);
  });

  it('cannot emit on hub.presence itself', async () => {
    const { hub, come } = await start(platform);
    const presence = hub.presence as { next?: unknown };

    await come('/returned');

    expect(presence.next).toBeUndefined();
    expect(hub.size()).toBe(1);
  });
});

describe.each(PLATFORMS)('%s: hub.close()', (platform) => {
  it.each([
    ['returned', SSE],
    ['returned', NDJSON],
    ['iterated', SSE],
    ['iterated', NDJSON],
  ])(
    'delivers to live clients all events published before, and completes their streams: %s, %j',
    async (route, format) => {
      const { hub, come } = await start(platform);
      const clients = [await come(`/${route}`, { ...format, Connection: 'close' })];
      clients.push(await come(`/${route}`, { ...format, Connection: 'close' }));

      void publishAll(hub, range(1, 50));
      const closed = hub.close();

      for (const client of clients) {
        await client.closed();
        expect(client.complete).toBe(true);
        const numbers = format === SSE ? dataOf(client.body) : client.body.trim().split('\n');
        expect(numbers.map(Number)).toEqual(range(1, 50));
      }
      await closed;
      expect(hub.size()).toBe(0);
    },
  );

  it.each(['returned', 'iterated'])(
    'delivers the whole history to subscribers that still read it, however slowly: %s',
    async (route) => {
      const { hub, come } = await start(platform, { history: { limit: 300 } });
      const large = 'x'.repeat(50_000);
      const [first = ''] = await publishAll(
        hub,
        range(1, 300).map((n) => `${n} ${large}`),
      );
      const client = await come(`/${route}`, { ...SSE, Connection: 'close', 'Last-Event-ID': first });
      client.socket.pause();
      await turns(50);

      await hub.close();
      expect(hub.size()).toBe(1);
      client.socket.resume();
      await client.closed();

      expect(client.complete).toBe(true);
      expect(dataOf(client.body).map((data) => Number.parseInt(data ?? '', 10))).toEqual(range(2, 300));
      expect(hub.size()).toBe(0);
    },
  );

  it('delivers to slow clients the events in their queues', async () => {
    const { hub, come } = await start(platform, { queue: { items: 1_000, bytes: 64 * 1024 * 1024 } });
    const client = await come('/returned', { ...SSE, Connection: 'close' });
    client.socket.pause();
    const large = 'x'.repeat(50_000);
    for (const n of range(1, 300)) {
      await hub.publish(`${n} ${large}`);
      await turns(1);
    }

    await hub.close();
    expect(hub.size()).toBe(1);
    client.socket.resume();
    await client.closed();

    expect(client.complete).toBe(true);
    expect(dataOf(client.body).map((data) => Number.parseInt(data ?? '', 10))).toEqual(range(1, 300));
  });

  it('ends loops after the events that were published before, and sends a reset to those that had not started', async () => {
    const { hub } = await start(platform);
    const seen = new Recorder<unknown>();
    const waiting = all(hub.subscribe(), seen);
    const notBegun = hub.subscribe();
    await turns(1);

    await publishAll(hub, [1, 2, 3]);
    const closed = hub.close();

    expect(await waiting).toEqual([1, 2, 3]);
    await closed;
    // Events that are not being read are not kept after the hub is closed.
    expect(await all(notBegun)).toEqual([{ reason: 'evicted', oldest: null }]);
    expect(hub.size()).toBe(0);
  });

  it('ends the stream of a subscription that is returned later, after a reset for the events that it has missed', async () => {
    const { hub, get } = await start(platform);
    const client = await get('/held', { ...SSE, Connection: 'close' });
    while (subscriptions.length === 0) {
      await turns(1);
    }

    await publishAll(hub, [1, 2]);
    await hub.close();
    held.resolve();
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(endedWell(client)).toBe(true);
    expect(dataOf(client.body)).toEqual(['{"reason":"evicted","oldest":null}']);
  });

  it('has no effect when it is called again, and makes publish() and subscribe() fail', async () => {
    const { hub, get, text } = await start(platform);

    const closing = hub.close();
    const failed = Promise.allSettled([hub.publish(1), hub.publish(2, { topic: 'a' })]);
    expect(() => hub.subscribe()).toThrow(expect.objectContaining({ code: 'hub-closed' }));
    await Promise.all([closing, hub.close()]);

    for (const result of await failed) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'hub-closed' } });
    }
    await expect(hub.publish(3)).rejects.toMatchObject({
      code: 'hub-closed',
      message: expect.stringContaining('"feed"'),
    });
    const client = await get('/late/a', { ...SSE, Connection: 'close' });
    await client.closed();
    expect(client.head).toMatch(/^HTTP\/1\.1 500 /);
    expect(await text('/late/a')).not.toMatch(/hub/);
    expect([hub.size(), hub.topics]).toEqual([0, []]);
  });

  it('waits for events that are being published', async () => {
    const { hub, come } = await start(platform);
    const client = await come('/returned', { ...SSE, Connection: 'close' });

    const published = publishAll(hub, [1, 2]);
    await hub.close();

    expect(await published).toHaveLength(2);
    await client.closed();
    expect(dataOf(client.body)).toEqual(['1', '2']);
  });
});

describe.each(PLATFORMS)('%s: app.close()', (platform) => {
  it('distinguishes other streams from those of a hub that have not ended yet', async () => {
    @Controller()
    class Other {
      @Sse('other', { openDelay: 0 })
      other() {
        return new Promise<never>(() => undefined);
      }
    }
    const app = await launch(platform, {
      controllers: [Feed, Other],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { shutdown: { grace: 500 } },
    });
    const other = await app.get('/other');
    await other.until('\r\n\r\n');
    const hub = await app.get('/returned', SSE);
    await hub.until('\r\n\r\n');
    const waits = import.meta.jest.spyOn(app.registry, 'emptied');

    await app.close();

    expect(hub.complete).toBe(true);
    // The first wait is the grace period. An earlier wait for all streams would have been useless.
    expect(waits.mock.calls.map(([ms]) => ms)[0]).toBe(500);
  });
});

describe.each(PLATFORMS)('%s: a subscription', (platform) => {
  it.each(['returned', 'iterated'])('completes only its own stream when it is closed: %s', async (route) => {
    const { hub, come } = await start(platform);
    const client = await come(`/${route}`, { ...SSE, Connection: 'close' });
    const other = await come('/returned');
    await hub.publish(1);
    await client.until('data: 1\n\n');

    subscriptions[0]?.close();
    subscriptions[0]?.close();
    await client.closed();
    await hub.publish(2);
    await other.until('data: 2\n\n');

    expect(client.complete).toBe(true);
    expect(dataOf(client.body)).toEqual(['1']);
    expect(hub.size()).toBe(1);
  });

  it('that is closed before it is returned completes its stream', async () => {
    const { hub, get } = await start(platform);
    const client = await get('/held', { ...SSE, Connection: 'close' });
    while (subscriptions.length === 0) {
      await turns(1);
    }

    subscriptions[0]?.close();
    held.resolve();
    await client.closed();

    expect(endedWell(client)).toBe(true);
    expect(dataOf(client.body)).toEqual([]);
    expect(hub.size()).toBe(0);
  });

  it('ends its iteration when it is closed, also if the iteration waits', async () => {
    const { hub } = await start(platform);
    const subscription = hub.subscribe();
    const waiting = all(subscription);
    await joined(hub, 1);

    subscription.close();

    expect(await waiting).toEqual([]);
    expect(hub.size()).toBe(0);
  });

  it('ends with its signal, and releases it', async () => {
    const { hub } = await start(platform);
    const controller = new AbortController();
    const { signal } = controller;
    const seen = new Recorder<unknown>();
    const ended = all(hub.subscribe({ signal }), seen);
    await hub.publish(1);
    await seen.count(1);

    controller.abort();

    expect(await ended).toEqual([1]);
    expect(hub.size()).toBe(0);
    expect(await all(hub.subscribe({ signal }))).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('whose for await loop ends releases its signal, and is removed', async () => {
    const { hub } = await start(platform);
    const { signal } = new AbortController();
    const loop = (async () => {
      for await (const { data } of hub.subscribe({ signal })) {
        return data;
      }
      return 'ended';
    })();
    await joined(hub, 1);
    await hub.publish(1);

    expect(await loop).toBe(1);
    expect(hub.size()).toBe(0);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('can be read only once', async () => {
    const { hub } = await start(platform);
    const subscription = hub.subscribe();
    const reading = all(subscription);

    expect(() => subscription[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'invalid-source' }));
    subscription.close();
    await reading;
    expect(() => subscription[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'invalid-source' }));
  });

  it('that is never read holds no event, and is not reported by hub.presence', async () => {
    const { hub } = await start(platform, { queue: { items: 1 }, overflow: 'disconnect' });
    const { signal } = new AbortController();
    const seen: unknown[] = [];
    hub.presence.subscribe((event) => seen.push(event));
    const abandoned = range(1, 100).map((n) => hub.subscribe({ topic: `${n}`, signal }));

    await publishAll(hub, range(1, 10), { topic: '1' });
    await turns(5);

    expect([hub.size(), hub.topics, seen]).toEqual([0, [], []]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    const { source: internals } = hub as unknown as {
      source: { fanOut: { audiences: Map<unknown, unknown>; byTopic: Map<unknown, unknown> } };
    };
    expect([internals.fanOut.audiences.size, internals.fanOut.byTopic.size]).toEqual([0, 0]);
    // It receives events from its creation on.
    const [first] = abandoned as [HubSubscription];
    const received = new Recorder<unknown>();
    const late = all(first, received);
    await received.count(10);
    first.close();
    expect(await late).toEqual(range(1, 10));
  });
});
