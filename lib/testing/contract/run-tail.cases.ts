import assert from 'node:assert/strict';
import type { BrokerRecord } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import { assertPlain, range, readAll } from './entries.js';
import { at, created, entries, LONG_MS, runClients, untilGone } from './run-logs.js';

async function beginsBeforeTheLog(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const recorders = [await context.recordTail(one, log), await context.recordTail(two, log)];
  for (const { start } of recorders) {
    assert.deepEqual([start.epoch, start.offset], ['', 0]);
  }

  const { epoch } = await created(one, log, 3);
  at(await one.appendAll(log, entries(4, 6)), 6);

  for (const recorder of recorders) {
    assertPlain(await recorder.count(6), 1, 6);
    assert.ok(recorder.records.every((record) => record.epoch === epoch));
  }
  await context.settle();
  recorders.map(({ records }) => assert.equal(records.length, 6));
}

async function deliversOnceInOrder(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const { epoch } = await created(one, log, 3);
  const recorders = await Promise.all([one, two, two].map((client) => context.recordTail(client, log)));
  for (const { start } of recorders) {
    assert.deepEqual([start.epoch, start.offset], [epoch, 3]);
  }

  at(await one.appendAll(log, entries(4, 10)), 10);
  await Promise.all(range(11, 60).map((n) => two.appendAll(log, entries(n, n))));

  for (const recorder of recorders) {
    await recorder.count(57);
  }
  await context.settle();
  for (const recorder of recorders) {
    assertPlain(recorder.records, 4, 60);
    assert.ok(recorder.records.every((record) => record.epoch === epoch));
  }
  assert.deepEqual(await readAll(two, log, 3), recorders[0]?.records);
}

async function beginsWhileAppending(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const appends: Promise<unknown>[] = [one.create(log, entries(1, 1), LONG_MS)];
  const append = (first: number, last: number): void => {
    appends.push(...range(first, last).map((n) => one.appendAll(log, entries(n, n))));
  };

  append(2, 100);
  const early = await context.recordTail(two, log);
  append(101, 200);
  const [first, second] = await Promise.all([context.recordTail(two, log), context.recordTail(one, log)]);
  await Promise.all(appends);
  at(await one.appendAll(log, entries(201, 201)), 201);

  for (const recorder of [early, first, second]) {
    const { offset } = recorder.start;
    await recorder.count(201 - offset);
    assertPlain(recorder.records, offset + 1, 201);
  }
}

async function continuesWithTheNextLife(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const recorder = await context.recordTail(two, log);
  const lives: string[] = [];
  const live = async (begin: () => Promise<{ readonly epoch: string }>): Promise<void> => {
    lives.push((await begin()).epoch);
    at(await one.appendAll(log, entries(3, 4)), 4);
    await recorder.count(lives.length * 4);
  };

  await live(() => created(one, log, 2));
  await live(() => created(one, log, 2, { epoch: lives[0] ?? '', offset: 4 }));
  await one.drop(log);
  await live(() => created(one, log, 2));
  await one.expire(log, 1);
  await untilGone(context, two, log);
  await live(() => created(one, log, 2));

  await context.settle();
  assert.equal(new Set(lives).size, lives.length, 'Each life of a log has a new epoch');
  assert.deepEqual(
    recorder.records.map(({ epoch, offset }) => [epoch, offset]),
    lives.flatMap((epoch) => range(1, 4).map((offset) => [epoch, offset])),
  );
}

async function stops(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const early = await context.recordTail(two, log);
  await early.start.stop();
  await created(one, log, 1);
  const [first, second, other] = await Promise.all([
    context.recordTail(two, log),
    context.recordTail(two, log),
    context.recordTail(one, log),
  ]);

  at(await one.appendAll(log, entries(2, 5)), 5);
  await Promise.all([first, second, other].map((each) => each.count(4)));
  await first.start.stop();
  await first.start.stop();
  at(await one.appendAll(log, entries(6, 9)), 9);
  await Promise.all([second, other].map((each) => each.count(8)));
  await second.start.stop();
  at(await one.appendAll(log, entries(10, 12)), 12);
  await other.count(11);
  const again = await context.recordTail(two, log);
  assert.equal(again.start.offset, 12);
  at(await one.appendAll(log, entries(13, 13)), 13);
  await Promise.all([again.count(1), other.count(12)]);

  await context.settle();
  assert.deepEqual(early.records, []);
  assertPlain(first.records, 2, 5);
  assertPlain(second.records, 2, 9);
  assertPlain(again.records, 13, 13);
  assertPlain(other.records, 2, 13);
}

async function acceptsTheSameListenerTwice(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const received: number[] = [];
  const listener = (records: readonly BrokerRecord[]): void =>
    void received.push(...records.map((each) => each.offset));
  const first = await two.tail(log, listener);
  await two.tail(log, listener);

  await created(one, log, 1);
  await context.until('A listener of two tails receives a record twice', async () => received.length === 2);
  await first.stop();
  at(await one.appendAll(log, entries(2, 2)), 2);
  await context.until('The other tail of the listener continues', async () => received.length >= 3);

  await context.settle();
  assert.deepEqual(received, [1, 1, 2]);
}

async function keepsLogsApart(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const logs = range(1, 50).map((n) => `${log}/${n}`);
  const recorders = await Promise.all(logs.map((each) => context.recordTail(two, each)));

  await Promise.all(logs.map((each) => created(one, each, 2)));
  await Promise.all(logs.map((each) => one.appendAll(each, entries(3, 5))));

  await Promise.all(recorders.map((recorder) => recorder.count(5)));
  await context.settle();
  for (const { records } of recorders) {
    assertPlain(records, 1, 5);
    assert.equal(new Set(records.map(({ epoch }) => epoch)).size, 1);
  }
}

/** The cases for the tails of runs. */
export const RUN_TAIL_CASES: readonly Case[] = [
  ['a tail that begins before its log exists delivers it from the first record on', beginsBeforeTheLog],
  ['a tail of a run delivers every record after its position once, in order, to each listener', deliversOnceInOrder],
  [
    'a tail of a run that begins while records are appended delivers all that follow its position',
    beginsWhileAppending,
  ],
  [
    'a tail of a run continues when its log is replaced, dropped or expired, and created again',
    continuesWithTheNextLife,
  ],
  ['a tail of a run delivers nothing once it is stopped, and the others continue', stops],
  ['a tail of a run accepts the same listener twice', acceptsTheSameListenerTwice],
  ['tails of many runs deliver the records of their own logs', keepsLogsApart],
];
