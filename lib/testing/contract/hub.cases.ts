import assert from 'node:assert/strict';
import type { Hub } from '../../hub/hub.js';
import { type Case, type ContractContext, turns } from './contract-context.js';
import { appendAll, range } from './entries.js';
import { Listener, publishAll } from './hub-listener.js';

async function replaysWhilePublishing(context: ContractContext): Promise<void> {
  const hub = await context.hub(await context.broker(), { name: context.newLog() });
  const ids = await publishAll(hub, 1, 200);
  let published = 200;
  const publish = async (): Promise<void> => {
    while (published < 600) {
      await publishAll(hub, published + 1, published + 5);
      published += 5;
      await turns();
    }
  };
  const publishing = publish();

  const listeners = await Promise.all(
    range(0, 19).map(async (index) => {
      const after = ids[index * 10];
      await turns(index);
      const listener = new Listener(context, hub.subscribe({ after }));
      await listener.count(599 - index * 10);
      return listener;
    }),
  );
  await publishing;

  listeners.forEach((listener, index) => {
    assert.deepEqual(listener.data, range(index * 10 + 2, 600));
  });
}

async function resumesAcrossProcesses(context: ContractContext): Promise<void> {
  const name = context.newLog();
  const broker = await context.broker();
  const first = await context.hub(broker, { name });
  const ids = await publishAll(first, 1, 10);
  await first.close();

  const second = await context.hub(await context.another(broker), { name });
  const listener = new Listener(context, second.subscribe({ after: ids[3] }));
  await listener.count(6);
  await publishAll(second, 11, 12);
  await listener.count(8);

  assert.deepEqual(listener.data, range(5, 12));
  assert.deepEqual(
    listener.events.slice(0, 6).map(({ id }) => id),
    ids.slice(4),
  );
}

async function sharesAmongProcesses(context: ContractContext): Promise<void> {
  const name = context.newLog();
  const broker = await context.broker();
  const hubs = [await context.hub(broker, { name }), await context.hub(await context.another(broker), { name })];
  const listeners = hubs.map((hub) => new Listener(context, hub.subscribe()));

  const ids = await Promise.all(range(1, 60).map((n) => (hubs[n % 2] as Hub).publish(n)));

  await Promise.all(listeners.map((listener) => listener.count(60)));
  const [here, there] = listeners as [Listener, Listener];
  assert.deepEqual(here.data, there.data);
  assert.deepEqual(new Set(here.events.map(({ id }) => id)), new Set(ids));
  // An id from one process is valid in the other as soon as publish() has resolved.
  const late = await hubs[0]?.publish(61);
  const back = new Listener(context, (hubs[1] as Hub).subscribe({ after: late }));
  await hubs[0]?.publish(62);
  await back.count(1);
  assert.deepEqual(back.data, [62]);
}

async function stallsAlone(context: ContractContext): Promise<void> {
  const hub = await context.hub(await context.broker(), { name: context.newLog() });
  const queue = { items: 5 };
  const strict = new Listener(context, hub.subscribe({ queue }));
  const lossy = new Listener(context, hub.subscribe({ queue, overflow: 'drop-oldest' }));
  const others = range(1, 3).map(() => new Listener(context, hub.subscribe()));
  const all = [strict, lossy, ...others].map((listener) => listener.count(1));
  await publishAll(hub, 1, 1);
  await Promise.all(all);

  for (const n of range(2, 100)) {
    await hub.publish(n);
    await Promise.all(others.map((listener) => listener.count(n)));
  }

  for (const { data } of others) {
    assert.deepEqual(data, range(1, 100));
  }
  await assert.rejects(strict.count(2), { code: 'slow-consumer' });
  await lossy.count(7);
  assert.deepEqual(lossy.data, [1, { dropped: 94 }, ...range(96, 100)]);
  const back = new Listener(context, hub.subscribe({ after: strict.at }));
  await back.count(99);
  assert.deepEqual(back.data, range(2, 100));
}

async function throwsAlone(context: ContractContext): Promise<void> {
  const hub = await context.hub(await context.broker(), { name: context.newLog() });
  const filter = ({ data }: { readonly data: unknown }): boolean => {
    if (data === 3) {
      throw new Error('a filter that throws');
    }
    return true;
  };
  const throwing = new Listener(context, hub.subscribe({ filter }));
  const others = range(1, 3).map(() => new Listener(context, hub.subscribe()));
  const received = Promise.all(others.map((listener) => listener.count(5)));
  const before = throwing.count(2);
  await publishAll(hub, 1, 2);
  await before;

  const failed = assert.rejects(throwing.rest(), /a filter that throws/);
  await publishAll(hub, 3, 5);

  await failed;
  await received;
  assert.deepEqual(throwing.data, [1, 2]);
  for (const { data } of others) {
    assert.deepEqual(data, range(1, 5));
  }
  await context.until('The subscriber that failed is no longer counted', async () => hub.size() === 3);
}

async function closesWhileReplaying(context: ContractContext): Promise<void> {
  const hub = await context.hub(await context.broker(), { name: context.newLog() });
  const [first] = await publishAll(hub, 1, 300);
  const replaying = new Listener(context, hub.subscribe({ after: first }));
  await replaying.count(10);
  const notBegun = new Listener(context, hub.subscribe({ after: first }));
  const live = new Listener(context, hub.subscribe());
  const last = publishAll(hub, 301, 303);

  const closed = hub.close();
  const rest = [replaying, notBegun, live].map((listener) => listener.rest());
  await last;
  await context.within(closed, 'The hub closes');
  await Promise.all(rest);

  assert.deepEqual(replaying.data, range(2, 303));
  assert.deepEqual(notBegun.data, range(2, 303));
  assert.deepEqual(live.data, range(301, 303));
  assert.equal(hub.size(), 0);
}

async function beginsAfterOwnEvents(context: ContractContext): Promise<void> {
  const hub = await context.hub(await context.broker(), { name: context.newLog() });

  for (const last of [200, 400, 600]) {
    await publishAll(hub, last - 199, last - 1);
    const listener = new Listener(context, hub.subscribe());
    await hub.publish(last);
    await listener.count(1);
    assert.deepEqual(
      listener.data,
      [last],
      'A subscriber must not receive an event that was published before it subscribed',
    );
    await listener.leave();
  }
}

async function resetsAfterEviction(context: ContractContext): Promise<void> {
  const name = context.newLog();
  const broker = await context.broker();
  const hub = await context.hub(broker, { name, history: { limit: 5 } });
  const ids = await publishAll(hub, 1, 20);
  const kept = new Listener(context, hub.subscribe({ after: ids[14] }));
  const gone = new Listener(context, hub.subscribe({ after: ids[13] }));
  await kept.count(5);
  await gone.count(6);

  assert.deepEqual(kept.data, range(16, 20));
  assert.deepEqual(gone.data, [{ reason: 'evicted', oldest: ids[15] }, ...range(16, 20)]);
}

async function readsWhatOthersAppended(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(1);
  const [broker] = clients as [(typeof clients)[0]];
  await appendAll(broker, log, 1, 2_000);

  const hub = await context.hub(await context.another(broker), { name: log, history: { limit: 1_500 } });
  const listener = new Listener(context, hub.subscribe({ last: 1_500 }));
  await listener.count(1_500);

  assert.deepEqual(
    listener.data,
    range(501, 2_000).map((n) => ({ n })),
  );
}

export const HUB_CASES: readonly Case[] = [
  [
    'a hub replays the events after an id without a gap or a duplicate while more are published',
    replaysWhilePublishing,
  ],
  ['a hub continues the log of an earlier hub with the same name, and accepts its ids', resumesAcrossProcesses],
  [
    'hubs in several processes deliver the same events in the same order, and accept the ids of each other',
    sharesAmongProcesses,
  ],
  ['a hub can replay records that were in its log before it opened', readsWhatOthersAppended],
  ['a subscriber that stalls does not delay or lose events of the others', stallsAlone],
  ['a subscriber whose filter throws does not affect the others', throwsAlone],
  [
    'a hub that closes during a replay delivers everything that was published before to all subscribers',
    closesWhileReplaying,
  ],
  [
    'a subscriber that subscribes after publish() has resolved receives only later events, however late the tail is',
    beginsAfterOwnEvents,
  ],
  ['a hub sends a reset when events after an id were evicted', resetsAfterEviction],
];
