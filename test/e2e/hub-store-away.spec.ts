import { READ_RETRIES } from '../../lib/hub/log-reader.js';
import type { BrokerListener } from '../../lib/index.js';
import { SharedStore } from '../contract/shared-store.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { eventsOf, joined, publishAll, SSE } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { RemoteBroker } from '../support/remote-broker.js';
import { turns } from '../support/running.js';

const start = useHubApps();
const defaults = { ...READ_RETRIES };

beforeEach(() => {
  READ_RETRIES.firstPauseMs = 2;
});

afterEach(() => {
  Object.assign(READ_RETRIES, defaults);
});

/** The events of a client, as their data; a reset as its reason. */
function told(body: string): (string | undefined)[] {
  return eventsOf(body).map(({ event, data }) =>
    event === 'reset' ? `reset: ${(JSON.parse(data ?? '') as { reason: string }).reason}` : data,
  );
}

async function startWith(platform: Platform, broker = new RemoteBroker(new SharedStore())) {
  const app = await start(platform, [Feed], { hub: { broker } });
  const client = await app.get('/returned', SSE);
  await joined(app.hub, 1);
  return { ...app, broker, client };
}

/** A client that has received event 1, in a process that has missed 2 and 3. */
async function startWithGap(platform: Platform) {
  const app = await startWith(platform);
  const { broker, client, hub } = app;
  await hub.publish(1);
  await client.until('data: 1\n\n');
  broker.telling = 'never';
  await publishAll(hub, [2, 3]);
  await turns(3);
  broker.telling = 'at once';
  return app;
}

describe.each(PLATFORMS)('%s: a hub whose broker cannot read what the hub has missed', (platform) => {
  it('reads it when the store is back, and sends no reset', async () => {
    const { broker, client, hub, logs } = await startWithGap(platform);
    broker.reading = 'refused';
    await publishAll(hub, [4, 5]);
    while (broker.reads < 5) {
      await turns(1);
    }
    await publishAll(hub, [6]);
    expect(told(client.body)).toEqual(['1']);

    broker.reading = 'answered';
    await client.until('data: 6\n\n');

    expect(told(client.body)).toEqual(['1', '2', '3', '4', '5', '6']);
    expect(logs.of('warn')).toEqual([]);
  });

  it.each(['refused', 'unanswered'] as const)(
    'sends no reset while no event arrives, however long the store is away: reads are %s',
    async (reading) => {
      Object.assign(READ_RETRIES, { totalMs: 20, longestPauseMs: 5 });
      const { broker, client, hub, get, logs } = await startWithGap(platform);
      broker.reading = reading;
      broker.announce(broker.end('feed'));
      const stranger = await get('/returned', { ...SSE, 'Last-Event-ID': 'unknown' });
      while (broker.reads < 30) {
        await turns(1);
      }
      expect([told(client.body), stranger.body, logs.of('warn').length]).toEqual([['1'], '', 1]);

      broker.reading = 'answered';
      await client.until('data: 3\n\n');
      await hub.publish(4);
      await Promise.all([client, stranger].map((each) => each.until('data: 4\n\n')));

      expect(told(client.body)).toEqual(['1', '2', '3', '4']);
      expect(told(stranger.body)).toEqual(['reset: malformed', '1', '2', '3', '4']);
    },
  );

  it.each(['refused', 'unanswered'] as const)(
    'sends one reset when the store stays away although events arrive, and continues: reads are %s',
    async (reading) => {
      READ_RETRIES.totalMs = 60;
      const { broker, client, hub, logs } = await startWithGap(platform);
      broker.reading = reading;
      const [oldest] = await publishAll(hub, [4, 5]);
      await client.until('data: 5\n\n');
      await hub.publish(6);
      await client.until('data: 6\n\n');

      expect(told(client.body)).toEqual(['1', 'reset: evicted', '4', '5', '6']);
      expect(JSON.parse(eventsOf(client.body)[1]?.data ?? '')).toEqual({ reason: 'evicted', oldest });
      expect(logs.of('warn')).toHaveLength(2);
    },
  );

  it('stops repeating the read as soon as it closes, and sends no reset, since the events still exist', async () => {
    Object.assign(READ_RETRIES, { totalMs: 2_000_000, firstPauseMs: 1_000_000, longestPauseMs: 1_000_000 });
    const { broker, client, hub } = await startWithGap(platform);
    broker.reading = 'refused';
    await hub.publish(4);
    while (broker.reads === 0) {
      await turns(1);
    }

    await hub.close();
    await client.until('0\r\n\r\n');

    expect(broker.reads).toBe(1);
    expect(told(client.body)).toEqual(['1']);
  });
});

describe.each(PLATFORMS)('%s: a hub whose broker says where the log ends', (platform) => {
  it('reads the records up to there, although no further record comes', async () => {
    const { broker, client } = await startWithGap(platform);

    broker.announce(broker.end('feed'));
    await client.until('data: 3\n\n');

    expect(told(client.body)).toEqual(['1', '2', '3']);
  });

  it('does nothing if it has all records up to there', async () => {
    const { broker, client, hub } = await startWith(platform);
    await publishAll(hub, [1, 2]);
    await client.until('data: 2\n\n');
    const { epoch } = broker.end('feed');

    for (const offset of [0, 1, 2]) {
      broker.announce({ epoch, offset });
    }
    await hub.publish(3);
    await client.until('data: 3\n\n');

    expect([told(client.body), broker.reads]).toEqual([['1', '2', '3'], 0]);
  });

  it('sends one reset when the log has a new epoch, before the epoch has a record', async () => {
    const store = new SharedStore();
    const { broker, client, hub } = await startWith(platform, new RemoteBroker(store));
    await hub.publish(1);
    await client.until('data: 1\n\n');

    store.lose('feed');
    broker.announce(broker.end('feed'));
    await client.until(/event: reset[\s\S]*\n\n/);
    expect(JSON.parse(eventsOf(client.body)[1]?.data ?? '')).toEqual({ reason: 'epoch', oldest: null });
    await publishAll(hub, ['a', 'b']);
    await client.until('data: b\n\n');

    expect(told(client.body)).toEqual(['1', 'reset: epoch', 'a', 'b']);
  });

  it.each(['a position', 'a record'])(
    'sends one reset and all records of a new epoch, of which it has missed the first: %s',
    async (what) => {
      const store = new SharedStore();
      const { broker, client, hub } = await startWith(platform, new RemoteBroker(store));
      await hub.publish(1);
      await client.until('data: 1\n\n');
      broker.telling = 'never';
      store.lose('feed');
      const [oldest] = await publishAll(hub, ['a', 'b', 'c']);
      await turns(3);
      broker.telling = 'at once';

      if (what === 'a position') {
        broker.announce(broker.end('feed'));
        await client.until('data: c\n\n');
      }
      await hub.publish('d');
      await client.until('data: d\n\n');

      expect(told(client.body)).toEqual(['1', 'reset: epoch', 'a', 'b', 'c', 'd']);
      expect(JSON.parse(eventsOf(client.body)[1]?.data ?? '')).toEqual({ reason: 'epoch', oldest });
    },
  );

  it('ignores records of the earlier epoch that its tail delivers late', async () => {
    const store = new SharedStore();
    const { broker, client, hub } = await startWith(platform, new RemoteBroker(store));
    await hub.publish(1);
    await client.until('data: 1\n\n');
    broker.telling = 'late';
    await publishAll(hub, [2, 3]);
    await turns(3);
    store.lose('feed');
    await hub.publish('a');
    broker.announce(broker.end('feed'));
    await client.until('data: a\n\n');

    broker.catchUp();
    await hub.publish('b');
    await client.until('data: b\n\n');

    expect(told(client.body)).toEqual(['1', 'reset: epoch', 'a', 'b']);
  });
});
/** A broker whose store loses the log after a tail has begun, and before anything is read. */
class LosesAfterTail extends RemoteBroker {
  override async tail(log: string, listener: BrokerListener) {
    const tail = await super.tail(log, listener);
    if (this.tails === 1) {
      this.telling = 'never';
      this.server.lose(log);
      for (const data of ['a', 'b']) {
        this.server.append(log, { data, encoding: 'text' });
      }
      await turns(3);
      this.telling = 'at once';
    }
    return tail;
  }
}

describe.each(PLATFORMS)('%s: a log that is lost while a hub opens', (platform) => {
  it('is not mixed with the new one: all events and ids are of the new epoch', async () => {
    const store = new SharedStore();
    store.open('feed', { limit: 1_000, ttl: 300_000 });
    for (const data of ['1', '2', '3', '4', '5']) {
      store.append('feed', { data, encoding: 'text' });
    }
    const broker = new LosesAfterTail(store);
    const { get, hub } = await start(platform, [Feed], { hub: { broker } });
    const { epoch } = broker.end('feed');

    const client = await get('/returned', { ...SSE, 'Last-Event-ID': 'unknown' });
    await client.until('data: b\n\n');
    await hub.publish('c');
    await client.until('data: c\n\n');

    expect(told(client.body)).toEqual(['reset: malformed', 'a', 'b', 'c']);
    expect(eventsOf(client.body).map(({ id }) => id?.split('.')[1])).toEqual(Array(4).fill(epoch));
  });
});
