import assert from 'node:assert/strict';
import type { HubEvent } from '../../event/hub-event.js';
import type { Hub } from '../../hub/hub.js';
import type { Case, ContractContext, Freezing } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { range } from './entries.js';
import { Listener, publishAll } from './hub-listener.js';

type Cut = NonNullable<BrokerContractSetup['cut']>;
type Rewind = NonNullable<BrokerContractSetup['rewind']>;

/** The data of events that are only published to find out whether the broker has connected again. */
const PROBE = 'probe';

/** Publishes events, which {@link numbersOf} ignores, until the broker takes one. */
function untilBack(context: ContractContext, hub: Hub): Promise<void> {
  return context.until('publish() works again', () =>
    hub.publish(PROBE).then(
      () => true,
      () => false,
    ),
  );
}

/** Reads until an event has this data. */
async function readUntil(listener: Listener, data: unknown): Promise<void> {
  while (listener.data.at(-1) !== data) {
    const { length } = listener.events;
    assert.equal((await listener.count(length + 1)).length, length + 1, 'The subscription ended');
  }
}

function numbersOf(events: readonly HubEvent[]): unknown[] {
  return events.filter(({ type, data }) => type !== 'reset' && data !== PROBE).map(({ data }) => data);
}

function resetsOf(events: readonly HubEvent[]): unknown[] {
  return events.filter(({ type }) => type === 'reset').map(({ data }) => (data as { readonly reason: unknown }).reason);
}

/** Opens two hubs with the same log, on different brokers if brokers share a store. */
async function twoHubs(context: ContractContext) {
  const name = context.newLog();
  const brokers = [await context.broker()];
  brokers.push(await context.another(brokers[0] as (typeof brokers)[0]));
  const hubs = [];
  for (const broker of brokers) {
    hubs.push(await context.hub(broker, { name }));
  }
  return { name, brokers, hubs } as { name: string; brokers: typeof brokers; hubs: [Hub, Hub] };
}

async function deliversDespiteCut(context: ContractContext, cut: Cut): Promise<void> {
  const { brokers, hubs } = await twoHubs(context);
  const [, reading] = brokers;
  const [publisher, reader] = hubs;
  const live = new Listener(context, reader.subscribe());
  const [first] = await publishAll(publisher, 1, 3);
  await live.count(3);

  for (const last of [13, 23, 33]) {
    await cut(reading as (typeof brokers)[0]);
    await publishAll(publisher, last - 9, last);
    // Nothing more is published until the subscriber has received these events.
    await live.count(last);
  }
  const back = new Listener(context, reader.subscribe({ after: first }));
  await back.count(32);

  assert.deepEqual(live.data, range(1, 33));
  assert.deepEqual(back.data, range(2, 33));
}

async function resetsOnceAfterRewind(context: ContractContext, rewind: Rewind): Promise<void> {
  const { name, hubs } = await twoHubs(context);
  const [publisher] = hubs;
  const listeners = hubs.map((hub) => new Listener(context, hub.subscribe()));
  const ids = await publishAll(publisher, 1, 5);
  await Promise.all(listeners.map((listener) => listener.count(5)));

  await rewind(name, 2);
  await untilBack(context, publisher);
  const after = await publishAll(publisher, 6, 12);

  for (const listener of listeners) {
    await readUntil(listener, 12);
    assert.deepEqual(numbersOf(listener.events), range(1, 12));
    assert.deepEqual(resetsOf(listener.events), ['epoch'], 'A subscriber must receive one reset for one loss');
  }
  for (const hub of hubs) {
    const lost = new Listener(context, hub.subscribe({ after: ids[4] }));
    const kept = new Listener(context, hub.subscribe({ after: after[1] }));
    await readUntil(lost, 12);
    await readUntil(kept, 12);
    assert.deepEqual(resetsOf(lost.events.slice(0, 1)), ['epoch']);
    assert.deepEqual(numbersOf(lost.events), range(6, 12));
    assert.deepEqual(kept.data, range(8, 12));
  }
}

async function resetsClientOfDeadProcess(context: ContractContext, rewind: Rewind): Promise<void> {
  const name = context.newLog();
  const broker = await context.broker();
  const dead = await context.hub(broker, { name });
  const ids = await publishAll(dead, 1, 5);
  await dead.close();

  await rewind(name, 2);
  const other = await context.another(broker);
  await context.until('open() works again', () =>
    other.open(name, { limit: 1_000, ttl: 3_600_000 }).then(
      () => true,
      () => false,
    ),
  );
  const hub = await context.hub(other, { name });
  await untilBack(context, hub);
  // The offsets of the records that were lost are used again.
  await publishAll(hub, 6, 12);

  for (const id of ids.slice(2)) {
    const back = new Listener(context, hub.subscribe({ after: id }));
    await readUntil(back, 12);
    assert.deepEqual(
      resetsOf(back.events.slice(0, 1)),
      ['epoch'],
      'A client that has received lost events needs a reset',
    );
    assert.deepEqual(resetsOf(back.events).length, 1);
    assert.deepEqual(numbersOf(back.events), range(6, 12));
  }
}

async function deliversDespiteFreeze(context: ContractContext, freezing: Freezing): Promise<void> {
  const { hubs } = await twoHubs(context);
  const [publisher] = hubs;
  const listeners = hubs.map((hub) => new Listener(context, hub.subscribe()));
  await publishAll(publisher, 1, 3);
  await Promise.all(listeners.map((listener) => listener.count(3)));

  const during = await context.whileFrozen(freezing, () =>
    context.within(
      Promise.allSettled(range(4, 13).map((n) => publisher.publish(n))),
      'Each publish() settles while the store does not answer',
    ),
  );
  await untilBack(context, publisher);
  await publishAll(publisher, 14, 20);

  const taken = range(1, 20).filter((n) => (during[n - 4]?.status ?? 'fulfilled') === 'fulfilled');
  const refused = during.flatMap((outcome, index) =>
    outcome.status === 'rejected' && outcome.reason.code !== 'publish-unknown' ? [index + 4] : [],
  );
  for (const listener of listeners) {
    await readUntil(listener, 20);
    const numbers = numbersOf(listener.events) as number[];
    assert.deepEqual(
      numbers,
      [...new Set(numbers)].toSorted((a, b) => a - b),
      'Each event must be delivered once, in order',
    );
    assert.ok(resetsOf(listener.events).length <= 1);
    assert.ok(!refused.some((n) => numbers.includes(n)), 'An event that the broker has refused must not be delivered');
    if (resetsOf(listener.events).length === 0) {
      assert.deepEqual(
        taken.filter((n) => !numbers.includes(n)),
        [],
        'A subscriber without a reset must receive each event that was published',
      );
    }
  }
}

/** The cases in which a hub loses its connection, or its store forgets records or does not answer. */
export function hubFaultCases({ cut, shared, rewind, freeze, thaw }: BrokerContractSetup): readonly Case[] {
  const cases: Case[] = [];
  if (cut && shared) {
    cases.push([
      'a hub whose broker was cut from its store delivers every event, even if nothing is published afterwards',
      (context) => deliversDespiteCut(context, cut),
    ]);
  }
  if (rewind) {
    cases.push(
      [
        'a hub whose log was rewound sends one reset to each subscriber, and to clients that resume after a lost event',
        (context) => resetsOnceAfterRewind(context, rewind),
      ],
      [
        'a hub resets a client of another process that has ended, if the last events of that client were lost',
        (context) => resetsClientOfDeadProcess(context, rewind),
      ],
    );
  }
  if (freeze && thaw) {
    cases.push([
      'a hub whose store did not answer for a time delivers every event that was published',
      (context) => deliversDespiteFreeze(context, { freeze, thaw }),
    ]);
  }
  return cases;
}
