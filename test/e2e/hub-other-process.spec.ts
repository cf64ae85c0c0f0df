import { TAIL_TIMEOUTS } from '../../lib/hub/locator.js';
import { READ_RETRIES } from '../../lib/hub/log-reader.js';
import type { BrokerRecord, Hub } from '../../lib/index.js';
import { SharedStore } from '../contract/shared-store.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { eventsOf, joined, publishAll, SSE } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { RemoteBroker } from '../support/remote-broker.js';
import { turns } from '../support/running.js';

const start = useHubApps();
const retries = { ...READ_RETRIES };
const timeouts = { ...TAIL_TIMEOUTS };

afterEach(() => {
  Object.assign(READ_RETRIES, retries);
  Object.assign(TAIL_TIMEOUTS, timeouts);
});

/** The events of a client, as their data; a reset as its reason. */
function told(body: string): (string | undefined)[] {
  return eventsOf(body).map(({ event, data }) =>
    event === 'reset' ? `reset: ${(JSON.parse(data ?? '') as { reason: string }).reason}` : data,
  );
}

/** The first events of a subscription. */
async function take(hub: Hub, count: number, options: Parameters<Hub['subscribe']>[0]): Promise<unknown[]> {
  const events: unknown[] = [];
  for await (const { type, data } of hub.subscribe(options)) {
    events.push(type === 'reset' ? data : Number(data));
    if (events.length === count) {
      break;
    }
  }
  return events;
}

/** Two processes with one store. Tails of the second deliver late. */
async function startTwo(platform: Platform, Broker = RemoteBroker) {
  const store = new SharedStore();
  const first = await start(platform, [Feed], { hub: { broker: new RemoteBroker(store) } });
  const broker = new Broker(store);
  const second = await start(platform, [Feed], { hub: { broker } });
  const live = await second.get('/returned', SSE);
  await joined(second.hub, 1);
  await first.hub.publish(0);
  await live.until('data: 0\n\n');
  broker.telling = 'late';
  const resume = (id = '') => second.get('/returned', { ...SSE, 'Last-Event-ID': id });
  return { store, first, second, broker, live, resume };
}

/** Two processes with one store, which is away for the second one: it delivers nothing, and questions fail after a short time. */
async function startAway(platform: Platform, reading: RemoteBroker['reading'], Broker = RemoteBroker) {
  TAIL_TIMEOUTS.askMs = 1;
  Object.assign(READ_RETRIES, { totalMs: 20, firstPauseMs: 2, longestPauseMs: 5 });
  const both = await startTwo(platform, Broker);
  both.broker.reading = reading;
  return { ...both, warnings: () => both.second.logs.of('warn').filter((line) => line.includes('"feed"')) };
}

/** A broker whose store is away as soon as its answer to a question was used: when it is asked for the events. */
class AnswersOnce extends RemoteBroker {
  next: RemoteBroker['reading'] = 'answered';

  override read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    if (this.next !== 'answered') {
      this.reading = this.next;
    }
    return super.read(log, after, count);
  }
}

/** Waits until some more questions have failed, with all their repetitions. */
async function failedQuestions(broker: RemoteBroker): Promise<void> {
  for (const enough = broker.tails + 30; broker.tails < enough; ) {
    await turns(1);
  }
}

/** Waits until some more reads have failed, with all their repetitions. */
async function failedReads(broker: RemoteBroker): Promise<void> {
  for (const enough = broker.reads + 30; broker.reads < enough; ) {
    await turns(1);
  }
}

describe.each(PLATFORMS)('%s: clients with an id that their process has not received yet', (platform) => {
  it('wait for the tail, and the broker is not asked', async () => {
    TAIL_TIMEOUTS.askMs = 60_000;
    const { first, second, broker, resume } = await startTwo(platform);
    const ids = await publishAll(first.hub, [1, 2, 3]);
    const clients = await Promise.all([ids[0], ids[1]].map((id) => resume(id)));
    await joined(second.hub, 3);

    broker.catchUp();
    await Promise.all(clients.map((client) => client.until('data: 3\n\n')));

    expect(clients.map(({ body }) => told(body))).toEqual([['2', '3'], ['3']]);
    expect([broker.tails, broker.reads]).toEqual([1, 0]);
  });

  it('share one question to the broker if the tail is later than that, however many they are', async () => {
    const { first, second, broker, live } = await startTwo(platform);
    const ids = await publishAll(first.hub, [1, 2, 3]);
    const received = Array.from({ length: 10_000 }, (_, n) => take(second.hub, 1, { after: ids[n % 2] }));
    while (broker.tails === 1) {
      await turns(1);
    }
    await turns(5);

    broker.catchUp();
    const all = await Promise.all(received);

    expect(all.every(([data], n) => data === (n % 2) + 2)).toBe(true);
    expect([broker.tails, broker.reads]).toEqual([2, 0]);
    await live.until('data: 3\n\n');
    expect(told(live.body)).toEqual(['0', '1', '2', '3']);
  }, 120_000);

  it('receive the events also if the tail has stalled: the hub then reads them', async () => {
    Object.assign(TAIL_TIMEOUTS, { askMs: 1, stalledMs: 1 });
    const { first, broker, live, resume } = await startTwo(platform);
    const [id] = await publishAll(first.hub, [1, 2, 3]);

    const client = await resume(id);
    await Promise.all([live, client].map((each) => each.until('data: 3\n\n')));

    expect([told(client.body), told(live.body)]).toEqual([
      ['2', '3'],
      ['0', '1', '2', '3'],
    ]);
    expect([broker.tails, broker.reads]).toEqual([2, 1]);
  });

  it('receive a reset if the log is lost while they wait, and only one', async () => {
    const { store, first, broker, live, resume, second } = await startTwo(platform);
    const [id] = await publishAll(first.hub, [1, 2, 3]);
    const client = await resume(id);
    await joined(second.hub, 2);

    store.lose('feed');
    await first.hub.publish('a');
    broker.catchUp();
    await first.hub.publish('b');
    await Promise.all([live, client].map((each) => each.until('data: b\n\n')));

    // It was at the position of its id when the epoch ended.
    expect(told(client.body).filter((each) => each?.startsWith('reset'))).toEqual(['reset: epoch']);
    expect(told(client.body).slice(-2)).toEqual(['a', 'b']);
    expect(told(live.body)).toEqual(['0', '1', '2', '3', 'reset: epoch', 'a', 'b']);
  });

  it('end without an event if the hub closes while they wait, since they can resume in another process', async () => {
    const { first, second, resume } = await startTwo(platform);
    const [id] = await publishAll(first.hub, [1, 2]);
    const client = await resume(id);
    await joined(second.hub, 2);

    await second.hub.close();
    await client.until('0\r\n\r\n');

    expect(client.body).toBe('');
  });
});

describe.each(PLATFORMS)('%s: clients with an id of an epoch that their process does not know', (platform) => {
  it('receive the events after it without a reset if the log has begun this epoch, and live clients one reset', async () => {
    const { store, first, second, broker, live, resume } = await startTwo(platform);
    store.lose('feed');
    const ids = await publishAll(first.hub, ['a', 'b', 'c']);

    const clients = await Promise.all([ids[0], ids[1]].map((id) => resume(id)));
    await Promise.all([live, ...clients].map((client) => client.until('data: c\n\n')));
    broker.catchUp();
    await first.hub.publish('d');
    await Promise.all([live, ...clients].map((client) => client.until('data: d\n\n')));

    expect(clients.map(({ body }) => told(body))).toEqual([
      ['b', 'c', 'd'],
      ['c', 'd'],
    ]);
    expect(told(live.body)).toEqual(['0', 'reset: epoch', 'a', 'b', 'c', 'd']);
    expect([second.hub.size(), broker.tails]).toEqual([3, 2]);
  });

  it('receive one reset if the log has left this epoch, and share one question to the broker, now and later', async () => {
    const store = new SharedStore();
    const before = await start(platform, [Feed], { hub: { broker: new RemoteBroker(store) } });
    const old = await before.hub.publish('old');
    store.lose('feed');
    const broker = new RemoteBroker(store);
    const { get, hub } = await start(platform, [Feed], { hub: { broker } });
    const oldest = await hub.publish(1);

    const all = await Promise.all(Array.from({ length: 1_000 }, () => take(hub, 2, { after: old })));
    const late = await get('/returned', { ...SSE, 'Last-Event-ID': old });
    await late.until('data: 1\n\n');

    expect(new Set(all.map((each) => JSON.stringify(each)))).toEqual(
      new Set([JSON.stringify([{ reason: 'epoch', oldest }, 1])]),
    );
    expect(told(late.body)).toEqual(['reset: epoch', '1']);
    expect([broker.tails, broker.reads]).toEqual([2, 0]);
  });

  it('receive a reset if the broker cannot be asked although its tail delivers events, and live clients do not', async () => {
    Object.assign(READ_RETRIES, { totalMs: 30, firstPauseMs: 2 });
    const { first, second, broker, live, resume } = await startTwo(platform);
    broker.telling = 'at once';
    broker.reading = 'refused';
    const id = await first.hub.publish(1);

    const client = await resume(id.replace(/\.\w+\./, '.unknown.'));
    await joined(second.hub, 2);
    await first.hub.publish(2);
    await Promise.all([live, client].map((each) => each.until('data: 2\n\n')));

    expect(told(client.body)).toEqual(['reset: epoch', '0', '1', '2']);
    expect(told(live.body)).toEqual(['0', '1', '2']);
    expect(broker.tails).toBeGreaterThan(2);
  });

  it('wait while the store is away, and receive one reset if it has lost this epoch, with the events of the next one only', async () => {
    const { store, first, second, broker, resume } = await startAway(platform, 'refused');
    const before = await first.hub.publish(1);
    const after = await first.hub.publish(2);
    broker.catchUp();
    broker.telling = 'late';
    store.lose('feed');
    const [oldest] = await publishAll(first.hub, ['a', 'b']);
    const clients = [await resume(oldest), await resume(after.replace(/\.\w+\./, '.unknown.'))];
    await joined(second.hub, 3);
    await failedQuestions(broker);

    broker.reading = 'answered';
    clients.push(await resume(before));
    await Promise.all(clients.map((client) => client.until('data: b\n\n')));

    expect(clients.slice(0, 2).map(({ body }) => told(body))).toEqual([['b'], ['reset: epoch', 'a', 'b']]);
    expect(told(clients[2]?.body ?? '').slice(-3)).toEqual(['reset: epoch', 'a', 'b']);
  });
});

describe.each(PLATFORMS)(
  '%s: clients that are ahead of their process, while the store is away for long,',
  (platform) => {
    describe.each(['refused', 'unanswered'] as const)('with questions that are %s,', (reading) => {
      it('wait, and receive the events after their ids without a reset when their tail delivers them', async () => {
        const { first, second, broker, live, resume, warnings } = await startAway(platform, reading);
        const ids = await publishAll(first.hub, [1, 2, 3]);
        const clients = await Promise.all(ids.map((id) => resume(id)));
        await failedQuestions(broker);
        // Another one comes while a question is about to fail, as at any time.
        const loops = Array.from({ length: 10 }, async () => {
          await failedQuestions(broker);
          return take(second.hub, 1, { after: ids[1] });
        });
        await failedQuestions(broker);
        expect(clients.map(({ body }) => body)).toEqual(['', '', '']);
        expect(warnings()).toHaveLength(1);

        broker.catchUp();
        await first.hub.publish(4);
        await Promise.all([live, ...clients].map((client) => client.until('data: 4\n\n')));

        expect(clients.map(({ body }) => told(body))).toEqual([['2', '3', '4'], ['3', '4'], ['4']]);
        expect(told(live.body)).toEqual(['0', '1', '2', '3', '4']);
        broker.reading = 'answered';
        expect(await Promise.all(loops)).toEqual(Array(10).fill([3]));
      });

      it('wait, and receive the events after their ids without a reset when their process reads them', async () => {
        TAIL_TIMEOUTS.stalledMs = 1;
        const { first, broker, live, resume } = await startAway(platform, reading);
        const ids = await publishAll(first.hub, [1, 2, 3]);
        const clients = await Promise.all(ids.slice(0, 2).map((id) => resume(id)));
        await failedQuestions(broker);

        broker.reading = 'answered';
        await Promise.all([live, ...clients].map((client) => client.until('data: 3\n\n')));

        expect(clients.map(({ body }) => told(body))).toEqual([['2', '3'], ['3']]);
        expect(told(live.body)).toEqual(['0', '1', '2', '3']);
      });

      it('wait, also if the log was known to have the event before, and live clients receive no reset either', async () => {
        TAIL_TIMEOUTS.stalledMs = 1;
        const { first, second, broker, live, resume } = await startAway(platform, 'answered', AnswersOnce);
        (broker as AnswersOnce).next = reading;
        const ids = await publishAll(first.hub, [1, 2, 3]);
        const client = await resume(ids[0]);
        await failedReads(broker);
        expect([client.body, told(live.body), second.hub.size()]).toEqual(['', ['0'], 2]);

        Object.assign(broker, { next: 'answered', reading: 'answered' });
        await Promise.all([live, client].map((each) => each.until('data: 3\n\n')));

        expect([told(client.body), told(live.body)]).toEqual([
          ['2', '3'],
          ['0', '1', '2', '3'],
        ]);
      });

      it('do not receive the event that this process has published before they came without an id', async () => {
        const { second, broker, live } = await startAway(platform, reading);
        await second.hub.publish(1);
        const client = await second.get('/returned', SSE);
        const newest = take(second.hub, 3, { last: 2 });
        await joined(second.hub, 3);
        await failedQuestions(broker);

        broker.catchUp();
        broker.reading = 'answered';
        const id = await second.hub.publish(2);
        await Promise.all([live, client].map((each) => each.until('data: 2\n\n')));

        expect(eventsOf(client.body)).toEqual([{ id, data: '2' }]);
        expect(await newest).toEqual([0, 1, 2]);
      });

      it('with a topic and the id of a position, wait too', async () => {
        const { first, second, broker } = await startAway(platform, reading);
        await first.hub.publish(1, { topic: 'a' });
        const position = await first.hub.publish(2, { topic: 'b' });
        await first.hub.publish(3, { topic: 'a' });
        const events = take(second.hub, 1, { after: position, topic: 'a' });
        await joined(second.hub, 2);
        await failedQuestions(broker);

        broker.catchUp();
        broker.reading = 'answered';

        expect(await events).toEqual([3]);
      });

      it('end without an event if the hub closes, since they can resume in another process', async () => {
        const { first, second, broker, resume } = await startAway(platform, reading);
        const client = await resume(await first.hub.publish(1));
        await joined(second.hub, 2);
        await failedQuestions(broker);

        await second.hub.close();
        await client.until('0\r\n\r\n');

        expect(client.body).toBe('');
      });
    });
  },
);

describe.each(PLATFORMS)('%s: a client that subscribes after publish() has resolved', (platform) => {
  it('starts after the published event, also if the tail has not delivered it yet', async () => {
    const { second, broker, live } = await startTwo(platform);
    await second.hub.publish(1);
    const client = await second.get('/returned', SSE);
    const newest = take(second.hub, 3, { last: 2 });
    await joined(second.hub, 3);

    broker.catchUp();
    const id = await second.hub.publish(2);
    await Promise.all([live, client].map((each) => each.until('data: 2\n\n')));

    expect(eventsOf(client.body)).toEqual([{ id, data: '2' }]);
    expect(await newest).toEqual([0, 1, 2]);
    expect(told(live.body)).toEqual(['0', '1', '2']);
  });

  it('starts after it also if the log has begun a new epoch, of which this process learns later', async () => {
    const { store, second, broker } = await startTwo(platform);
    store.lose('feed');
    await second.hub.publish('a');

    const client = await second.get('/returned', SSE);
    await client.until('event: position');
    broker.catchUp();
    await second.hub.publish('b');
    await client.until('data: b\n\n');

    expect(told(client.body)).toEqual(['b']);
  });

  it('receives a reset, and all events after it, if the published event is lost before this process has received it', async () => {
    const { store, first, second, broker } = await startTwo(platform);
    await second.hub.publish(1);
    const client = await second.get('/returned', SSE);
    const newest = take(second.hub, 3, { last: 2 });
    await joined(second.hub, 3);

    store.lose('feed');
    await first.hub.publish('2');
    await first.hub.publish('3');
    broker.catchUp();
    const id = await first.hub.publish('4');
    await client.until('data: 4\n\n');

    expect(told(client.body)).toEqual(['reset: epoch', '2', '3', '4']);
    expect(client.body).toContain(id);
    expect(await newest).toEqual([expect.objectContaining({ reason: 'epoch' }), 2, 3]);
  });
});
