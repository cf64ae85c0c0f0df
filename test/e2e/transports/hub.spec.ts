import { Controller, Param } from '@nestjs/common';
import {
  ConnectedStream,
  Hub,
  type HubOptions,
  type HubOverflowPolicy,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../../lib/index.js';
import { DRIVERS, type Driver, type StreamClient } from '../../support/drivers/index.js';
import { Recorder } from '../../support/events.js';
import { hubOf, joined, publishAll, range } from '../../support/hub.js';
import { turns } from '../../support/running.js';
import { eventually, expectEnd, type FeedApp, noise, useFeeds } from '../../support/transports.js';

import.meta.jest.setTimeout(60_000);

const MIB = 1024 * 1024;
/** The data of one event. */
const LARGE = noise(65_000);
/** After so many dropped events, all that wait in the queue of a client were published after the first gap. */
const DROPPED = 20;
const QUEUE = { items: 10, bytes: 64 * MIB };

const closes = new Recorder();

@Controller('hub')
class Prices {
  constructor(@InjectHub('feed') readonly hub: Hub) {}

  @Stream('all', { format: 'ndjson' })
  all(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Stream('topic/:topic', { format: 'ndjson' })
  topic(@Param('topic') topic: string) {
    return this.hub.subscribe({ topic });
  }

  @Stream('slow/:overflow', { format: 'ndjson' })
  slow(@ConnectedStream() stream: StreamConnection, @Param('overflow') overflow: HubOverflowPolicy) {
    stream.hooks({ onClose: (_stream, { code }) => closes.add(code) });
    return this.hub.subscribe({ overflow, queue: QUEUE });
  }

  @Stream('iterated', { format: 'ndjson', openDelay: 0 })
  async *iterated() {
    yield* this.hub.subscribe();
  }
}

describe.each(DRIVERS)('$name: a hub', (driver) => {
  const launch = useFeeds();

  beforeEach(() => {
    closes.seen.length = 0;
  });

  async function start(options: Partial<HubOptions> = {}) {
    const app = await launch(driver as Driver, {
      controllers: [Prices],
      imports: [StreamingModule.registerHub({ name: 'feed', ...options })],
    });
    const hub = hubOf(app);
    return { ...app, hub, come: (path: string) => comeTo(app, hub, path) };
  }

  async function comeTo(app: FeedApp, hub: Hub, path: string): Promise<StreamClient> {
    const size = hub.size() + 1;
    const client = app.open(path);
    await client.answered();
    await joined(hub, size);
    return client;
  }

  it('delivers all events in order to each client, whenever it subscribed, returned or iterated', async () => {
    const { hub, come } = await start();
    const first = await come('/hub/all');
    await publishAll(hub, range(1, 100));
    const second = await come('/hub/iterated');
    for (const from of [101, 201, 301]) {
      await publishAll(hub, range(from, from + 99));
      await turns(1);
    }
    const third = await come('/hub/all');
    await publishAll(hub, range(401, 500));

    expect(await first.until(500)).toEqual(range(1, 500));
    expect(await second.until(400)).toEqual(range(101, 500));
    expect(await third.until(100)).toEqual(range(401, 500));
  });

  it('delivers a topic to its subscribers', async () => {
    const { hub, come } = await start();
    const [a, b, all] = [await come('/hub/topic/a'), await come('/hub/topic/b'), await come('/hub/all')];

    for (const n of range(1, 20)) {
      await hub.publish(n, { topic: n % 2 === 0 ? 'a' : 'b' });
    }

    expect(await a.until(10)).toEqual(range(1, 20).filter((n) => n % 2 === 0));
    expect(await b.until(10)).toEqual(range(1, 20).filter((n) => n % 2 === 1));
    expect(await all.until(20)).toEqual(range(1, 20));
  });

  it('lets a client resume after its last id, without a gap or a duplicate', async () => {
    const { hub, open } = await start();
    const ids = await publishAll(hub, range(1, 300));

    const clients = [1, 64, 150, 299].map((n) => ({
      n,
      client: open('/hub/all', { 'last-event-id': ids[n - 1] ?? '' }),
    }));
    await Promise.all(clients.map(({ n, client }) => client.until(300 - n)));
    await publishAll(hub, range(301, 400));

    for (const { n, client } of clients) {
      expect(await client.until(400 - n)).toEqual(range(n + 1, 400));
    }
  });

  it('removes a client that disconnects in that turn or the next, and continues for the others', async () => {
    const { hub, come } = await start();
    const [first, second] = [await come('/hub/all'), await come('/hub/all')];

    first.leave();
    await joined(hub, 1);
    await hub.publish(1);

    expect(await second.until(1)).toEqual([1]);
  });

  it('ends its streams when the application closes, after the events that were published before', async () => {
    const { hub, come, close } = await start();
    const client = await come('/hub/all');

    void publishAll(hub, range(1, 50));
    await close();

    await expectEnd(driver, client, 'shutdown');
    expect(client.records).toEqual(range(1, 50));
  });

  /**
   * Publishes 1, 2, 3, …, each when another client has received the one before, until a condition holds. Resolves to the last number. How many
   * are needed depends on the buffers of the kernel.
   */
  async function publishUntil(hub: Hub, other: StreamClient, done: () => boolean): Promise<number> {
    for (let n = 1; ; n++) {
      await hub.publish(`${n} ${LARGE}`, { key: `${n % 5}` });
      await other.until(n);
      if (done()) {
        return n;
      }
    }
  }

  /** What a client received: the numbers of events, and for each `lagged` the number of dropped events as a negative number. */
  function numbersIn(records: readonly unknown[]): number[] {
    return records.map((record) =>
      typeof record === 'string'
        ? Number.parseInt(record, 10)
        : -(record as { lagged: { dropped: number } }).lagged.dropped,
    );
  }

  it('cuts off a client that is too slow, with a warning', async () => {
    const { hub, come, logs } = await start();
    const other = await come('/hub/all');
    const client = await come('/hub/slow/disconnect');
    client.stall();

    await publishUntil(hub, other, () => hub.size() === 1);

    expect(await closes.count(1)).toEqual(['slow-consumer']);
    expect(hub.size()).toBe(1);
    expect(logs.of('warn').join()).toMatch(/Prices\.slow.*too slow/);
    client.resume();
    await expectEnd(driver, client, 'overload');
    const had = numbersIn(client.records);
    expect(had).toEqual(range(1, had.length));
  });

  it.each(['drop-oldest', 'drop-newest', 'latest'] as const)(
    'with %s reports to a slow client how many events were dropped, in the place of the gap',
    async (policy) => {
      const { hub, come, registry } = await start();
      const other = await come('/hub/all');
      const client = await come(`/hub/slow/${policy}`);
      client.stall();

      const last = await publishUntil(hub, other, () => registry.snapshot().totals.dropped >= DROPPED);
      client.resume();
      const placed = (records: readonly unknown[]): number =>
        numbersIn(records).reduce((sum, n) => sum + (n < 0 ? -n : 1), 0);
      await client.until((records) => placed(records) >= last);
      await hub.publish(`${last + 1} last`);
      await client.until((records) => String(records.at(-1)).startsWith(`${last + 1} `));

      const numbers = numbersIn(client.records);
      let at = 0;
      for (const n of numbers) {
        at = n < 0 ? at - n : at + 1;
        expect(n < 0 || n === at).toBe(true);
      }
      expect(at).toBe(last + 1);
      expect(numbers.some((n) => n < 0)).toBe(true);
      expect(closes.seen).toEqual([]);
    },
  );

  it('delivers bursts to a hundred clients, and removes all of them when they disconnect', async () => {
    const { hub, open, registry } = await start();
    const clients = range(1, 100).map(() => open('/hub/all'));
    await joined(hub, 100);

    for (const burst of range(0, 9)) {
      await publishAll(hub, range(burst * 10 + 1, burst * 10 + 10));
      await turns(1);
    }
    await Promise.all(clients.map((client) => client.until(100)));

    for (const { records } of clients) {
      expect(records).toEqual(range(1, 100));
    }
    for (const client of clients) {
      client.leave();
    }
    await eventually(() => registry.size === 0 && hub.size() === 0);
  });
});
