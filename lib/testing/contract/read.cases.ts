import assert from 'node:assert/strict';
import { type Case, type ContractContext, pause } from './contract-context.js';
import { appendAll, assertPlain, entry, range, readAll } from './entries.js';

async function readsRanges(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [first, second] = clients as [(typeof clients)[0], (typeof clients)[0]];
  await appendAll(first, log, 1, 30);

  for (const reader of new Set([first, second])) {
    for (const count of [1, 2, 7, 30, 1_000]) {
      assertPlain(await readAll(reader, log, 0, count), 1, 30);
      assertPlain(await readAll(reader, log, 11, count), 12, 30);
    }
    assertPlain(await reader.read(log, 29, 5), 30, 30);
    assertPlain(await reader.read(log, 4, 1), 5, 5);
    const page = await reader.read(log, 0, 10);
    assertPlain(page, 1, page.length);
  }
}

async function readsNothingAfterTheEnd(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();

  assert.deepEqual(await broker.read(log, 0, 10), []);
  await appendAll(broker, log, 1, 3);
  assert.deepEqual(await broker.read(log, 3, 10), []);
  assert.deepEqual(await broker.read(log, 4, 10), []);
  assert.deepEqual(await broker.read(log, 1_000_000, 1), []);
}

async function readsWhatTailsDeliver(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const recorder = await context.recordTail(reader, log);
  await Promise.all(range(1, 50).map((n) => publisher.append(log, entry(n))));

  await recorder.count(50);

  assert.deepEqual(await readAll(reader, log), recorder.records);
}

async function readsWhatWasAppended(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];
  for (const n of range(1, 20)) {
    const { offset } = await publisher.append(log, entry(n));
    assertPlain(await reader.read(log, offset - 1, 1), n, n);
  }
}

async function evictsByCount(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog({ limit: 5 });
  const recorder = await context.recordTail(broker, log);

  await appendAll(broker, log, 1, 5);
  assertPlain(await readAll(broker, log), 1, 5);
  await Promise.all(range(6, 3_000).map((n) => broker.append(log, entry(n))));

  await context.until('Only the newest 5 records are kept', async () => (await readAll(broker, log)).length === 5);
  for (const after of [0, 1, 2_990, 2_995]) {
    assertPlain(await readAll(broker, log, after), 2_996, 3_000);
  }
  assertPlain(await readAll(broker, log, 2_997, 1), 2_998, 3_000);
  assert.deepEqual(await broker.read(log, 3_000, 10), []);
  assertPlain(await recorder.count(3_000), 1, 3_000);
}

async function evictsByAge(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog({ ttl: 400 });
  const recorder = await context.recordTail(broker, log);
  await appendAll(broker, log, 1, 3);

  await pause(400);
  await context.until(
    'read() returns no record older than the ttl',
    async () => (await broker.read(log, 0, 10)).length === 0,
  );
  const { offset } = await broker.append(log, entry(4));

  assert.equal(offset, 4, 'Offsets must continue after all records were evicted');
  assertPlain(await recorder.count(4), 1, 4);
  const read = await broker.read(log, 0, 10);
  assertPlain(read, 4, 3 + read.length);
  assert.equal((await context.recordTail(broker, log)).start.offset, 4);
}

async function keepsNothing(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog({ limit: 0 });
  const recorder = await context.recordTail(broker, log);

  await appendAll(broker, log, 1, 3);

  assertPlain(await recorder.count(3), 1, 3);
  await context.until(
    'A log with a limit of 0 keeps no record',
    async () => (await broker.read(log, 0, 10)).length === 0,
  );
  const { epoch, offset } = await broker.append(log, entry(4));
  assert.deepEqual({ epoch, offset }, { epoch: recorder.start.epoch, offset: 4 });
}

export const READ_CASES: readonly Case[] = [
  ['read() returns the records after an offset, oldest first, and at most as many as requested', readsRanges],
  ['read() returns an empty array after the end of the log', readsNothingAfterTheEnd],
  ['read() returns the same records that a tail delivers', readsWhatTailsDeliver],
  ['read() returns a record as soon as its append() has resolved', readsWhatWasAppended],
  [
    'a log evicts its oldest records beyond its limit, and read() continues with the oldest that is left',
    evictsByCount,
  ],
  ['a log evicts records that are older than its ttl, and its offsets continue', evictsByAge],
  ['a log with a limit of 0 keeps no record, and its tails deliver every record', keepsNothing],
];
