import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import { appendAll, assertPlain, entry, range } from './entries.js';

async function tellsOnceInOrder(context: ContractContext): Promise<void> {
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

async function tellsAllTails(context: ContractContext): Promise<void> {
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

async function tellsTheSameListenerTwice(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const told: number[] = [];
  const listener = (records: readonly { readonly offset: number }[]): void =>
    void told.push(...records.map(({ offset }) => offset));
  const first = await broker.tail(log, listener);
  await broker.tail(log, listener);
  const witness = await context.recordTail(broker, log);

  await appendAll(broker, log, 1, 1);
  await context.until('A listener that was given twice is told twice', async () => told.length === 2);
  await first.stop();
  await appendAll(broker, log, 2, 2);

  await context.until('Its other tail goes on when the first is stopped', async () => told.length >= 3);
  await witness.count(2);
  await context.settle();
  assert.deepEqual(told, [1, 1, 2]);
}

async function stops(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const stopped = await context.recordTail(broker, log);
  const witness = await context.recordTail(broker, log);
  await appendAll(broker, log, 1, 2);
  await stopped.count(2);

  const inFlight = broker.append(log, entry(3));
  const before = stopped.records.length;
  const stopping = stopped.start.stop();
  const atStop = stopped.records.length;
  await stopping;
  await inFlight;
  await appendAll(broker, log, 4, 6);

  await witness.count(6);
  await context.settle();
  assertPlain(witness.records, 1, 6);
  assert.ok(before === atStop && stopped.records.length === atStop, 'Nothing is told as soon as stop() is called');
}

async function listensAgain(context: ContractContext): Promise<void> {
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
  ['tail() tells everything after its position, in order and once', tellsOnceInOrder],
  ['tail() misses nothing after its position when it begins while others append', beginsWhileAppending],
  ['tail() tells each of several listeners, of each client', tellsAllTails],
  ['tail() takes one listener twice', tellsTheSameListenerTwice],
  ['tail() tells nothing more as soon as it is stopped, and others all', stops],
  ['tail() begins again at the end of the log after it was stopped', listensAgain],
];
