import assert from 'node:assert/strict';
import type { Broker } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import { pause } from './contract-context.js';
import { appendAll, assertPlain, entry, range, readAll } from './entries.js';

/** How many records a tail may be behind without missing one, however few the log keeps. */
const TAIL_BUFFER = 256;

async function evictsByCount(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog({ limit: 5 });
  const recorder = await context.recordTail(broker, log);

  await appendAll(broker, log, 1, 5);
  assertPlain(await readAll(broker, log), 1, 5);
  for (let last = 5; last < 5 + 3 * TAIL_BUFFER; ) {
    await Promise.all(range(last + 1, last + TAIL_BUFFER).map((n) => broker.append(log, entry(n))));
    last += TAIL_BUFFER;
    // A tail that is not further behind than this misses nothing, although the records are evicted.
    assertPlain(await recorder.count(last), 1, last);
  }

  const last = recorder.records.length;
  await context.until('Only the newest 5 records are kept', async () => (await readAll(broker, log)).length === 5);
  for (const after of [0, 1, last - 10, last - 5]) {
    assertPlain(await readAll(broker, log, after), last - 4, last);
  }
  assertPlain(await readAll(broker, log, last - 3, 1), last - 2, last);
  assert.deepEqual(await broker.read(log, last, 10), []);
}

async function skipsEvicted(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog({ limit: 5 });
  const recorder = await context.recordTail(broker, log);

  await Promise.all(range(1, 1_000).map((n) => broker.append(log, entry(n))));
  await recorder.reaches(1_000);
  await appendAll(broker, log, 1_001, 1_002);
  await recorder.reaches(1_002);

  recorder.assertOrdered();
  assert.deepEqual(
    recorder.records.map(({ data }) => data),
    recorder.records.map(({ offset }) => entry(offset).data),
  );
  await context.until('Only the newest 5 records are kept', async () => (await readAll(broker, log)).length === 5);
  assertPlain(await readAll(broker, log), 998, 1_002);
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

  for (const n of range(1, 300)) {
    const { offset } = await broker.append(log, entry(n));
    assert.deepEqual(
      await broker.read(log, offset - 1, 10),
      [],
      'read() must return no record of a log with a limit of 0',
    );
  }

  assertPlain(await recorder.count(300), 1, 300);
  assert.deepEqual(await broker.read(log, 0, 1_000), []);
  const late = await context.recordTail(broker, log);
  assert.equal(late.start.offset, 300);
  const { epoch, offset } = await broker.append(log, entry(301));
  assert.deepEqual({ epoch, offset }, { epoch: recorder.start.epoch, offset: 301 });
  assertPlain(await late.count(1), 301, 301);
}

async function followsNewestOpen(context: ContractContext): Promise<void> {
  const ttl = 3_600_000;
  const { broker: first, log } = await context.openLog({ limit: 20 });
  const second = await context.another(first);
  await appendAll(first, log, 1, 10);

  await second.open(log, { limit: 3, ttl });
  await appendAll(first, log, 11, 12);
  await context.until('The newest open() has lowered the limit', async () => (await readAll(second, log)).length === 3);
  assertPlain(await readAll(second, log), 10, 12);

  const third = await context.another(first);
  await third.open(log, { limit: 30, ttl });
  for (const n of range(13, 32)) {
    await ([first, second, third][n % 3] as Broker).append(log, entry(n));
  }
  const records = await readAll(third, log);
  assertPlain(records, 33 - records.length, 32);
  assert.ok(
    records.length >= 20,
    `Processes that opened the log earlier must not evict by their limit: ${records.length} are left`,
  );
}

export const RETENTION_CASES: readonly Case[] = [
  [
    'a log evicts its oldest records beyond its limit, and read() continues with the oldest that is left',
    evictsByCount,
  ],
  ['a tail that is far behind may skip records that were evicted, and continues in order', skipsEvicted],
  ['a log evicts records that are older than its ttl, and its offsets continue', evictsByAge],
  ['a log with a limit of 0 keeps no record, and its tails deliver every record', keepsNothing],
  ['a log that is opened again, also by another process, has the retention of the newest open()', followsNewestOpen],
];
