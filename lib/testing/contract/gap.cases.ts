import assert from 'node:assert/strict';
import type { Broker, BrokerListener, BrokerRecord } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import { range } from './entries.js';
import { Listener, publishAll } from './hub-listener.js';

/** A broker whose tails are unreliable: `pass` decides which records reach the listener, and when. */
function withTails(broker: Broker, pass: (records: readonly BrokerRecord[], deliver: BrokerListener) => void): Broker {
  return {
    open: (log, retention) => broker.open(log, retention),
    append: (log, entry) => broker.append(log, entry),
    tail: (log, listener) => broker.tail(log, (records) => pass(records, listener)),
    read: (log, after, count) => broker.read(log, after, count),
    close: () => broker.close(),
  };
}

async function readsWhatTailsMissed(context: ContractContext): Promise<void> {
  const lossy = withTails(await context.broker(), (records, deliver) =>
    deliver(records.filter(({ offset }) => offset < 5 || offset % 4 === 0)),
  );
  const hub = await context.hub(lossy, { name: context.newLog() });
  const live = new Listener(context, hub.subscribe());
  const received = live.count(40);

  const [, second] = await publishAll(hub, 1, 40);
  await received;

  assert.deepEqual(live.data, range(1, 40));
  const back = new Listener(context, hub.subscribe({ after: second }));
  await back.count(38);
  assert.deepEqual(back.data, range(3, 40));
}

async function readsALongGap(context: ContractContext): Promise<void> {
  let broken = false;
  const lossy = withTails(await context.broker(), (records, deliver) => broken || deliver(records));
  const hub = await context.hub(lossy, { name: context.newLog(), history: { limit: 5_000 }, queue: { items: 5_000 } });
  const live = new Listener(context, hub.subscribe());
  const first = live.count(1);
  await publishAll(hub, 1, 1);
  await first;

  broken = true;
  await publishAll(hub, 2, 1_999);
  await context.settle();
  broken = false;
  const rest = live.count(2_003);
  await publishAll(hub, 2_000, 2_003);
  await rest;

  assert.deepEqual(live.data, range(1, 2_003));
}

async function resetsAfterUnreadableGap(context: ContractContext): Promise<void> {
  let broken = false;
  const lossy = withTails(await context.broker(), (records, deliver) => broken || deliver(records));
  const hub = await context.hub(lossy, { name: context.newLog(), history: { limit: 5 } });
  const live = new Listener(context, hub.subscribe());
  const first = live.count(1);
  await publishAll(hub, 1, 1);
  await first;

  broken = true;
  await publishAll(hub, 2, 50);
  await context.settle();
  broken = false;
  const rest = live.count(7);
  await publishAll(hub, 51, 51);
  await rest;

  // The subscriber receives all that the log still has, and the reset names the first of these events.
  const oldest = live.events[2]?.id;
  assert.deepEqual(live.data, [1, { reason: 'evicted', oldest }, 47, 48, 49, 50, 51]);
  assert.equal(context.warnings.length, 1);
}

async function toleratesLateTails(context: ContractContext): Promise<void> {
  const late: (() => void)[] = [];
  const slow = withTails(await context.broker(), (records, deliver) => late.push(() => deliver(records)));
  const hub = await context.hub(slow, { name: context.newLog() });
  const live = new Listener(context, hub.subscribe());
  const received = live.count(10);

  const ids = await publishAll(hub, 1, 8);
  const ahead = new Listener(context, hub.subscribe({ after: ids[4] }));
  const rest = ahead.count(5);
  await context.until('The tail received records', async () => late.length > 0);
  await publishAll(hub, 9, 10);
  await context.settle();
  late.splice(0).forEach((deliver) => void deliver());
  const done = context.until('The tail receives the rest', async () => {
    late.splice(0).forEach((deliver) => void deliver());
    return live.events.length === 10;
  });
  await Promise.all([received, rest, done]);

  assert.deepEqual(live.data, range(1, 10));
  assert.deepEqual(ahead.data, range(6, 10));
}

async function toleratesSwappedRecords(context: ContractContext): Promise<void> {
  let third: (() => void) | undefined;
  const swapping = withTails(await context.broker(), (records, deliver) => {
    for (const record of records) {
      if (record.offset === 3) {
        third = () => deliver([record]);
      } else {
        deliver([record]);
      }
    }
  });
  const hub = await context.hub(swapping, { name: context.newLog() });
  const live = new Listener(context, hub.subscribe());
  const received = live.count(6);

  await publishAll(hub, 1, 6);
  await received;
  third?.();
  const last = live.count(8);
  await publishAll(hub, 7, 8);
  await last;

  assert.deepEqual(
    live.data,
    range(1, 8),
    'A record that arrives late and was read in the meantime must not be delivered again',
  );
}

export const GAP_CASES: readonly Case[] = [
  ['a hub reads the records that its tail missed', readsWhatTailsMissed],
  ['a hub reads a long gap page by page', readsALongGap],
  ['a hub sends a reset for records that its tail missed and that can no longer be read', resetsAfterUnreadableGap],
  [
    'a hub whose tail is late loses nothing, and accepts the id of a record that it has not received yet',
    toleratesLateTails,
  ],
  ['a hub delivers no event twice when its tail receives a record out of order', toleratesSwappedRecords],
];
