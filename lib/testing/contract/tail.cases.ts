import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import { appendAll, assertPlain, entry, range } from './entries.js';

async function deliversOnceInOrder(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 3);
  const recorder = await context.recordTail(broker, log);
  assert.equal(recorder.start.offset, 3);

  await appendAll(broker, log, 4, 10);
  const positions = await Promise.all(range(11, 60).map((n) => broker.append(log, entry(n))));

  await recorder.count(57);
  await context.settle();
  assertPlain(recorder.records, 4, 60);
  assert.ok(recorder.records.every(({ epoch }) => epoch === recorder.start.epoch));
  assert.ok(positions.every(({ epoch }) => epoch === recorder.start.epoch));
}

async function beginsWhileAppending(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];

  const appends = range(1, 100).map((n) => publisher.append(log, entry(n)));
  const early = await context.recordTail(reader, log);
  appends.push(...range(101, 200).map((n) => publisher.append(log, entry(n))));
  const late = await context.recordTail(reader, log);
  await Promise.all(appends);
  await publisher.append(log, entry(201));

  for (const recorder of [early, late]) {
    const { offset } = recorder.start;
    await recorder.count(201 - offset);
    assertPlain(recorder.records, offset + 1, 201);
  }
}

async function deliversToAllTails(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(3);
  const recorders = await Promise.all([...clients, ...clients].map((client) => context.recordTail(client, log)));
  assert.ok(clients[0]);

  await appendAll(clients[0], log, 1, 20);

  await Promise.all(recorders.map((recorder) => recorder.count(20)));
  await context.settle();
  for (const recorder of recorders) {
    assertPlain(recorder.records, 1, 20);
  }
}

async function acceptsTheSameListenerTwice(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const received: number[] = [];
  const listener = (records: readonly { readonly offset: number }[]): void =>
    void received.push(...records.map(({ offset }) => offset));
  const first = await broker.tail(log, listener);
  await broker.tail(log, listener);
  const other = await context.recordTail(broker, log);

  await appendAll(broker, log, 1, 1);
  await context.until('A listener of two tails receives a record twice', async () => received.length === 2);
  await first.stop();
  await appendAll(broker, log, 2, 2);

  await context.until(
    'The other tail of the listener continues when the first one is stopped',
    async () => received.length >= 3,
  );
  await other.count(2);
  await context.settle();
  assert.deepEqual(received, [1, 1, 2]);
}

async function stops(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const stopped = await context.recordTail(broker, log);
  const other = await context.recordTail(broker, log);
  await appendAll(broker, log, 1, 2);
  await stopped.count(2);

  const inFlight = broker.append(log, entry(3));
  const before = stopped.records.length;
  const stopping = stopped.start.stop();
  const atStop = stopped.records.length;
  await stopping;
  await inFlight;
  await appendAll(broker, log, 4, 6);

  await other.count(6);
  await context.settle();
  assertPlain(other.records, 1, 6);
  assert.ok(
    before === atStop && stopped.records.length === atStop,
    'A tail must deliver nothing once stop() was called',
  );
}

async function beginsAgain(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const first = await context.recordTail(broker, log);
  await appendAll(broker, log, 1, 2);
  await first.count(2);
  await first.start.stop();
  await appendAll(broker, log, 3, 4);

  const second = await context.recordTail(broker, log);
  assert.equal(second.start.offset, 4);
  assert.equal(second.start.epoch, first.start.epoch);
  await appendAll(broker, log, 5, 6);

  assertPlain(await second.count(2), 5, 6);
  assertPlain(first.records, 1, 2);
}

export const TAIL_CASES: readonly Case[] = [
  ['tail() delivers every record after its position exactly once, in order', deliversOnceInOrder],
  ['tail() misses no record after its position when it begins while others append', beginsWhileAppending],
  ['tail() delivers every record to each of several listeners of each client', deliversToAllTails],
  ['tail() accepts the same listener twice, and delivers every record to it twice', acceptsTheSameListenerTwice],
  ['tail() delivers nothing to a listener once stop() was called, and everything to the others', stops],
  ['tail() begins at the end of the log again after an earlier tail was stopped', beginsAgain],
];
