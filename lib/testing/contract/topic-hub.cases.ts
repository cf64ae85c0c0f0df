import assert from 'node:assert/strict';
import type { HubReset } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { HubOptions } from '../../hub/hub.options.js';
import type { Case, ContractContext } from './contract-context.js';
import { range } from './entries.js';
import { Listener } from './hub-listener.js';
import { importFastCheck } from './interleaving.cases.js';
import { checkTopicInterleavings } from './topic-interleaving.js';
import { requireTopics } from './topic-logs.js';

/** Returns hubs of two processes with a history of 5 events for each topic. */
async function topicHubs(context: ContractContext, more: Partial<HubOptions> = {}): Promise<readonly [Hub, Hub]> {
  const broker = requireTopics(await context.broker());
  const other = await context.another(broker);
  const options: HubOptions = { name: context.newLog(), history: { per: 'topic', limit: 5 }, ...more };
  const hub = await context.hub(broker, options);
  return [hub, other === broker ? hub : await context.hub(other, options)];
}

/** Publishes the numbers from `first` to `last` to a topic, one after the other. Resolves to the ids of the events. */
async function publishTo(hub: Hub, topic: string, first: number, last: number): Promise<string[]> {
  const ids: string[] = [];
  for (const n of range(first, last)) {
    ids.push(await hub.publish(n, { topic }));
  }
  return ids;
}

async function resumesEachTopic(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context);
  const [id] = await publishTo(hub, 'quiet', 1, 2);
  await publishTo(hub, 'busy', 3, 50);

  for (const each of [other, hub]) {
    const listener = new Listener(context, each.subscribe({ topic: 'quiet', after: id }));
    await listener.count(1);
    assert.deepEqual(listener.data, [2], 'A busy topic must not evict the events of another');
  }
}

async function resumesSeveralTopics(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context);
  const [id] = await publishTo(hub, 'a', 1, 1);
  await publishTo(hub, 'b', 2, 2);
  await publishTo(other, 'c', 3, 3);
  await publishTo(hub, 'a', 4, 4);

  const listener = new Listener(context, other.subscribe({ topic: ['c', 'a', 'b'], after: id }));
  await listener.count(3);
  await publishTo(hub, 'b', 5, 5);
  await publishTo(other, 'a', 6, 6);
  await listener.count(5);

  assert.deepEqual(listener.data, range(2, 6), 'Events of several topics must be delivered in the order of the log');
}

async function tellsLossOfTopics(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context);
  const [id] = await publishTo(hub, 'busy', 1, 1);
  await publishTo(hub, 'quiet', 2, 2);
  const ids = await publishTo(hub, 'busy', 3, 20);

  for (const each of [other, hub]) {
    const listener = new Listener(context, each.subscribe({ topic: ['busy', 'quiet'], after: id }));
    await listener.count(7);
    const reset: HubReset = { reason: 'evicted', oldest: ids[13] ?? null, topics: ['busy'] };
    assert.deepEqual(
      listener.data,
      [reset, 2, ...range(16, 20)],
      'A loss must be told with the topics that it concerns',
    );
  }
}

async function startsWithLast(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context);
  await publishTo(hub, 'a', 1, 3);
  await publishTo(hub, 'b', 4, 9);
  await publishTo(hub, 'a', 10, 10);

  const two = new Listener(context, other.subscribe({ topic: ['a', 'b'], last: 2 }));
  await two.count(4);
  const all = new Listener(context, other.subscribe({ topic: 'a', last: Infinity }));
  await all.count(4);
  await publishTo(hub, 'a', 11, 11);
  await Promise.all([two.count(5), all.count(5)]);

  assert.deepEqual(two.data, [3, 8, 9, 10, 11], '`last` counts the events of each topic');
  assert.deepEqual(all.data, [1, 2, 3, 10, 11]);
}

async function resumesFromPosition(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context);
  await publishTo(hub, 'quiet', 1, 1);
  const ids = await publishTo(other, 'busy', 2, 30);

  // As a client that got the position of the newest event with a heartbeat.
  const listener = new Listener(context, hub.subscribe({ topic: 'quiet', after: ids.at(-1) }));
  await publishTo(other, 'busy', 31, 40);
  // Reading begins the subscription.
  const first = listener.count(1);
  await publishTo(other, 'quiet', 41, 41);
  await first;

  assert.deepEqual(listener.data, [41]);
}

async function refusesForeignIds(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context);
  const [id = ''] = await publishTo(hub, 'a', 1, 2);
  const [tag, epoch] = id.split('.');
  const cases = { malformed: 'x', hub: `AAAA.${epoch}.1`, epoch: `${tag}.never0.1` };

  for (const [reason, after] of Object.entries({ ...cases, ahead: `${tag}.${epoch}.zzzz` })) {
    const listener = new Listener(context, other.subscribe({ topic: 'a', after }));
    await listener.count(3);
    const reset = { reason: reason === 'ahead' ? 'epoch' : reason, oldest: id };
    assert.deepEqual(listener.data, [reset, 1, 2]);
  }
}

async function subscribesToAll(context: ContractContext): Promise<void> {
  const [hub, other] = await topicHubs(context, { all: true });
  const [id] = await publishTo(hub, 'a', 1, 1);
  await publishTo(hub, 'b', 2, 3);
  await hub.publish(4);

  const all = new Listener(context, other.subscribe({ after: id }));
  await all.count(3);
  await publishTo(other, 'c', 5, 5);
  await all.count(4);
  const one = new Listener(context, other.subscribe({ topic: 'b', last: 9 }));
  await one.count(2);

  assert.deepEqual(all.data, range(2, 5));
  assert.deepEqual(one.data, range(2, 3));
}

async function accountsForEverything(context: ContractContext): Promise<void> {
  const broker = requireTopics(await context.broker());
  await checkTopicInterleavings(await importFastCheck(), context, [broker, await context.another(broker)]);
}

export const TOPIC_HUB_CASES: readonly Case[] = [
  ['a hub with a history per topic resumes a quiet topic whatever happens to others', resumesEachTopic],
  ['a hub with a history per topic resumes several topics from one id, in order', resumesSeveralTopics],
  ['a hub with a history per topic tells which topics have lost events', tellsLossOfTopics],
  ['a hub with a history per topic starts with the newest events of each topic', startsWithLast],
  ['a hub with a history per topic resumes from the position of an event of another topic', resumesFromPosition],
  ['a hub with a history per topic sends a reset for ids that its log does not have', refusesForeignIds],
  ['a hub with a history per topic and `all` has subscribers of all events', subscribesToAll],
  [
    'a hub with a history per topic delivers every event in order and once, or reports it as lost, however publishing, eviction, reading, leaving and resuming interleave',
    accountsForEverything,
  ],
];
