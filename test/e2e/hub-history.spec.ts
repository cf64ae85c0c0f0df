import { Controller, Query } from '@nestjs/common';
import { READ_RETRIES } from '../../lib/hub/log-reader.js';
import { Hub, InjectHub, LastEventId, Stream } from '../../lib/index.js';
import { SharedStore } from '../contract/shared-store.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { dataOf, eventsOf, joined, publishAll, range, recordsOf, SSE } from '../support/hub.js';
import { useHubApps } from '../support/hub-feed.js';
import { RemoteBroker } from '../support/remote-broker.js';
import { turns } from '../support/running.js';

const retries = { ...READ_RETRIES };

afterEach(() => {
  Object.assign(READ_RETRIES, retries);
});

const launch = useHubApps();

@Controller()
class Feed {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('all', { format: 'sse' })
  all(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('last', { format: 'sse' })
  last(@Query('n') n: string, @Query('topic') topic?: string) {
    return this.hub.subscribe({ last: Number(n), topic });
  }
}

const LIMIT = 5_000;

/** A process that starts when the log has 1 … `count`, every hundredth of which has the topic `hundreds`. */
async function startAfter(platform: Platform, count: number, { limit = LIMIT, Broker = RemoteBroker } = {}) {
  const store = new SharedStore();
  store.open('feed', { limit, ttl: 300_000 });
  // Not with append(), which looks at all records each time.
  const log = store.log('feed');
  const { epoch } = log;
  const time = Date.now();
  for (const offset of range(1, count)) {
    const topic = offset % 100 === 0 ? 'hundreds' : undefined;
    log.records.push({ data: String(offset), encoding: 'text', topic, epoch, offset, time });
  }
  log.last = count;
  const broker = new Broker(store);
  const app = await launch(platform, [Feed], { hub: { broker, history: { limit } } });
  const tag = (await app.hub.publish('tag')).split('.')[0];
  const id = (offset: number) => `${tag}.${epoch}.${offset.toString(36)}`;
  const since = (after: string) => app.get('/all', { ...SSE, 'Last-Event-ID': after });
  return { ...app, store, broker, epoch, id, since };
}

function told(body: string): (string | undefined)[] {
  return eventsOf(body).map(({ event, data }) =>
    event === 'reset' ? `reset: ${(JSON.parse(data ?? '') as { reason: string }).reason}` : data,
  );
}

const numbers = (from: number, to: number) => range(from, to).map(String);

describe.each(PLATFORMS)('%s: a hub whose log has events when it starts', (platform) => {
  it('reads none of them until a client needs them, and keeps those that it receives', async () => {
    const { hub, broker, get, id, since } = await startAfter(platform, 2_000);
    const client = await get('/all', SSE);
    await joined(hub, 1);
    await publishAll(hub, ['a', 'b']);
    await client.until('data: b\n\n');
    const back = await since(id(2_001));
    await back.until('data: b\n\n');

    expect([dataOf(client.body), dataOf(back.body)]).toEqual([
      ['a', 'b'],
      ['a', 'b'],
    ]);
    expect(recordsOf(client.body)[0]?.id).toBe(id(2_001));
    expect([broker.reads, hub.log]).toEqual([0, { received: 3, kept: 3 }]);
  });

  it('reads back to the id of a client that resumes, and not further', async () => {
    const { hub, broker, id, since } = await startAfter(platform, 2_000);

    const client = await since(id(1_990));
    await client.until('data: tag\n\n');
    await hub.publish('live');
    await client.until('data: live\n\n');

    expect(dataOf(client.body)).toEqual([...numbers(1_991, 2_000), 'tag', 'live']);
    expect(eventsOf(client.body).map((event) => event.id)).toEqual(range(1_991, 2_002).map(id));
    expect(hub.log).toEqual({ received: 2, kept: 514 });
    expect(broker.reads).toBeLessThanOrEqual(6);
  });

  it('reads each event once for thousands of clients that come back at once, also while events are published', async () => {
    // On a busy machine, 3 000 clients may need longer than the broker has to answer.
    READ_RETRIES.totalMs = 60_000;
    const { hub, broker, id } = await startAfter(platform, 2_000);
    const received = range(0, 2_999).map(async (n) => {
      const after = n % 1_000 === 0 ? 500 : 1_990 + (n % 10);
      const data: string[] = [];
      for await (const event of hub.subscribe({ after: id(after), queue: { items: 3_000 } })) {
        data.push(String(event.data));
        if (event.data === 'end') {
          break;
        }
      }
      return { after, data };
    });
    await publishAll(
      hub,
      range(1, 50).map((n) => `live ${n}`),
    );
    await hub.publish('end');

    for (const { after, data } of await Promise.all(received)) {
      expect(data).toEqual([...numbers(after + 1, 2_000), 'tag', ...range(1, 50).map((n) => `live ${n}`), 'end']);
    }
    // SharedStoreBroker returns at most 100 records for a read.
    expect(broker.reads).toBeLessThanOrEqual(24);
  }, 60_000);

  it('sends a reset for what is evicted, with the oldest event that the log has, and reads no more after that', async () => {
    const { hub, broker, id, since } = await startAfter(platform, 2_000, { limit: 700 });

    const gone = await since(id(1_300));
    await gone.until('data: tag\n\n');
    const { reads } = broker;
    const clients = [await since(id(1_200)), await since('unknown'), await since(id(1_301))];
    await Promise.all(clients.map((client) => client.until('data: tag\n\n')));

    const kept = [...numbers(1_302, 2_000), 'tag'];
    expect([gone, ...clients].map(({ body }) => told(body))).toEqual([
      ['reset: evicted', ...kept],
      ['reset: evicted', ...kept],
      ['reset: malformed', ...kept],
      kept,
    ]);
    expect(JSON.parse(eventsOf(gone.body)[0]?.data ?? '')).toEqual({ reason: 'evicted', oldest: id(1_302) });
    expect([broker.reads, hub.log.kept]).toEqual([reads, 700]);
  });

  it.each([
    ['n=3', ['1999', '2000', 'tag']],
    ['n=600', [...numbers(1_402, 2_000), 'tag']],
    ['n=Infinity', [...numbers(1, 2_000), 'tag']],
    ['n=7&topic=hundreds', range(14, 20).map((n) => String(n * 100))],
    ['n=99&topic=hundreds', range(1, 20).map((n) => String(n * 100))],
    ['n=5&topic=none', []],
  ])('reads as many events as a client wants: last %s', async (query, expected) => {
    const { hub, get } = await startAfter(platform, 2_000);
    const client = await get(`/last?${query}`, SSE);
    await client.until('event: position');

    const topic = /topic=(.*)/.exec(query)?.[1];
    await hub.publish('end', { topic });
    await client.until('data: end\n\n');

    expect(dataOf(client.body)).toEqual([...expected, 'end']);
  });

  it('starts at once with 100 000 events in its log', async () => {
    const { broker, hub, id, since } = await startAfter(platform, 100_000, { limit: 100_000 });
    expect([broker.reads, hub.log.kept <= 1]).toEqual([0, true]);

    const client = await since(id(99_999));
    await client.until('data: tag\n\n');

    expect([dataOf(client.body), broker.reads <= 6]).toEqual([['100000', 'tag'], true]);
  });
});

describe.each(PLATFORMS)('%s: a client that needs older events, while the broker', (platform) => {
  it('cannot be read for some seconds, receives them when it can, and live clients notice nothing', async () => {
    READ_RETRIES.firstPauseMs = 2;
    const { hub, broker, get, id, since, logs } = await startAfter(platform, 10);
    const live = await get('/all', SSE);
    await joined(hub, 1);
    broker.reading = 'refused';
    const client = await since(id(5));
    while (broker.reads < 4) {
      await turns(1);
    }
    await hub.publish('live');
    await live.until('data: live\n\n');
    expect(dataOf(client.body)).toEqual([]);

    broker.reading = 'answered';
    await client.until('data: live\n\n');

    expect(told(client.body)).toEqual([...numbers(6, 10), 'tag', 'live']);
    expect([told(live.body), logs.of('warn')]).toEqual([['live'], []]);
  });

  it.each(['refused', 'unanswered'] as const)(
    'is away for long, waits as long as there are no newer events, and receives them without a reset: reads are %s',
    async (reading) => {
      Object.assign(READ_RETRIES, { totalMs: 20, firstPauseMs: 2, longestPauseMs: 5 });
      const { hub, broker, get, id, since, logs } = await startAfter(platform, 10);
      broker.reading = reading;
      const clients = [await since(id(5)), await since('unknown'), await get('/last?n=3', SSE)];
      const left = await since(id(5));
      await joined(hub, 4);
      left.socket.destroy();
      for (const enough = broker.reads + 30; broker.reads < enough; ) {
        await turns(1);
      }
      expect(clients.map(({ body }) => dataOf(body))).toEqual([[], [], []]);
      expect([hub.size(), logs.of('warn').length]).toEqual([3, 1]);

      broker.reading = 'answered';
      await Promise.all(clients.map((client) => client.until('data: tag\n\n')));

      expect(clients.map(({ body }) => told(body))).toEqual([
        [...numbers(6, 10), 'tag'],
        ['reset: malformed', ...numbers(1, 10), 'tag'],
        [...numbers(9, 10), 'tag'],
      ]);
    },
  );

  it('stays away although events arrive, receives a reset with the oldest event that is known, and live clients notice nothing', async () => {
    Object.assign(READ_RETRIES, { totalMs: 30, firstPauseMs: 2 });
    const { hub, broker, get, id, since } = await startAfter(platform, 10);
    const live = await get('/all', SSE);
    await joined(hub, 1);
    broker.reading = 'refused';

    const client = await since(id(5));
    await joined(hub, 2);
    await hub.publish('live');
    await Promise.all([live, client].map((each) => each.until('data: live\n\n')));
    broker.reading = 'answered';
    const later = await since(id(5));
    await later.until('data: live\n\n');

    expect(told(client.body)).toEqual(['reset: evicted', 'tag', 'live']);
    expect(JSON.parse(eventsOf(client.body)[0]?.data ?? '')).toEqual({ reason: 'evicted', oldest: id(11) });
    expect([told(live.body), told(later.body)]).toEqual([['live'], [...numbers(6, 10), 'tag', 'live']]);
  });

  it('loses its log, receives one reset, with events and ids of the new log only', async () => {
    const { store, hub, broker, id, since } = await startAfter(platform, 10);
    const foreign = id(5);
    broker.telling = 'never';
    store.lose('feed');
    await publishAll(hub, ['a', 'b']);
    await turns(3);
    broker.telling = 'at once';

    const clients = [await since(foreign), await since('unknown')];
    await Promise.all(clients.map((client) => client.until('data: b\n\n')));
    await hub.publish('c');
    await Promise.all(clients.map((client) => client.until('data: c\n\n')));

    const { epoch } = broker.end('feed');
    expect(clients.map(({ body }) => told(body))).toEqual([
      ['reset: epoch', 'a', 'b', 'c'],
      ['reset: malformed', 'a', 'b', 'c'],
    ]);
    for (const { body } of clients) {
      expect(eventsOf(body).map((event) => event.id?.split('.')[1])).toEqual(Array(4).fill(epoch));
    }
  });
});
