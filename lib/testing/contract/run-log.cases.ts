import assert from 'node:assert/strict';
import type { BrokerEntry, BrokerPosition } from '../../broker/broker.js';
import { ENTRIES } from './append.cases.js';
import { type Case, type ContractContext, pause } from './contract-context.js';
import { assertPlain, entry, entryOf, range, readAll } from './entries.js';
import {
  assertGone,
  at,
  created,
  entries,
  LONG_MS,
  newRunLog,
  type RunsBroker,
  runClients,
  SHORT_MS,
  untilGone,
} from './run-logs.js';

const LARGE_CHARACTERS = 5_000_000;
const MANY_LOGS = 1_000;
const LONG_KEY = 'x'.repeat(200);
const ODD_KEYS = [
  '',
  ' ',
  'a:b',
  'A:b',
  '{x}',
  '}{',
  '%7D',
  '*.>',
  '..',
  '"\'\\',
  'who',
  'run',
  'Ünï 😀 漢字',
  LONG_KEY,
  `${LONG_KEY.slice(1)}y`,
];

async function createsOnce(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);

  const outcomes = await Promise.all(
    range(1, 20).map((n) => (n % 2 === 0 ? one : two).create(log, entries(n, n + 1), LONG_MS)),
  );

  const winners = range(1, 20).filter((n) => outcomes[n - 1] !== false);
  assert.equal(winners.length, 1, `Of 20 calls of create() at the same time, ${winners.length} succeeded`);
  const [winner = 0] = winners;
  const { epoch } = at(outcomes[winner - 1] ?? false, 2);
  for (const client of [one, two]) {
    const records = await readAll(client, log);
    assert.deepEqual(
      records.map(({ offset, data }) => [offset, data]),
      [
        [1, entry(winner).data],
        [2, entry(winner + 1).data],
      ],
    );
    assert.ok(records.every((record) => record.epoch === epoch));
    assert.equal(await client.create(log, entries(1, 1), LONG_MS), false, 'The log exists');
  }
}

async function keepsEntries(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const recorder = await context.recordTail(two, log);
  const before = Date.now();

  at(await one.create(log, ENTRIES.slice(0, 3), LONG_MS), 3);
  at(await one.appendAll(log, ENTRIES.slice(3)), ENTRIES.length);

  const records = await readAll(two, log);
  assert.deepEqual(records.map(entryOf), ENTRIES.map(entryOf));
  assert.deepEqual((await recorder.count(ENTRIES.length)).map(entryOf), ENTRIES.map(entryOf));
  // The clock of the store may differ.
  assert.ok(records.every(({ time }) => Math.abs(time - before) < 60_000));
}

async function replacesOnlyAtTheEnd(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const nowhere = { epoch: '1', offset: 3 };
  assert.equal(await one.create(log, entries(1, 1), LONG_MS, { after: nowhere }), false, 'There is nothing to replace');
  assert.deepEqual(await readAll(one, log), []);
  const end = await created(one, log, 3);

  for (const after of [nowhere, { ...end, offset: 2 }, { ...end, offset: 4 }, { ...end, offset: 0 }]) {
    assert.equal(
      await two.create(log, entries(7, 9), LONG_MS, { after }),
      false,
      `The log does not end at ${after.offset}`,
    );
  }
  assertPlain(await readAll(two, log), 1, 3);

  const { epoch } = await created(two, log, 2, end);
  assert.notEqual(epoch, end.epoch, 'A log that replaces another one has a new epoch');
  for (const client of [one, two]) {
    const records = await readAll(client, log);
    assertPlain(records, 1, 2);
    assert.ok(records.every((record) => record.epoch === epoch));
    assert.deepEqual(await client.read(log, 2, 10), []);
  }
  assert.equal(await one.appendAll(log, entries(4, 4), { after: end }), false, 'The log was replaced');
  at(await one.appendAll(log, entries(3, 3), { after: { epoch, offset: 2 } }), 3);
}

async function replacesOnce(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const after = await created(one, log, 5);

  const outcomes = await Promise.all(
    range(1, 20).map((n) => (n % 2 === 0 ? one : two).create(log, entries(n, n), LONG_MS, { after })),
  );

  const winners = range(1, 20).filter((n) => outcomes[n - 1] !== false);
  assert.equal(winners.length, 1, `Of 20 calls that replace a log at the same time, ${winners.length} succeeded`);
  assert.deepEqual(
    (await readAll(one, log)).map(({ offset, data }) => [offset, data]),
    [[1, entry(winners[0] ?? 0).data]],
  );
}

async function appendsAllTogether(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  await created(one, log, 1);
  const three = (n: number): BrokerEntry[] => ['a', 'b', 'c'].map((data) => ({ data, encoding: 'text', key: `${n}` }));

  const positions = await Promise.all(range(0, 59).map((n) => (n % 2 === 0 ? one : two).appendAll(log, three(n))));

  const records = await readAll(two, log, 1);
  assert.deepEqual(
    records.map(({ offset }) => offset),
    range(2, 181),
  );
  for (const [n, position] of positions.entries()) {
    const { offset } = at(position, position ? position.offset : 0);
    assert.deepEqual(
      records.slice(offset - 4, offset - 1).map(({ data, key }) => [data, key]),
      three(n).map(({ data, key }) => [data, key]),
      'The entries of one call follow each other, up to the position to which it resolved',
    );
  }
  for (const caller of [0, 1]) {
    const own = records.map(({ key }) => Number(key)).filter((n) => n % 2 === caller);
    assert.deepEqual(
      own,
      own.toSorted((a, b) => a - b),
      'The calls of one caller keep their order',
    );
  }
}

async function appendsOnlyAtTheEnd(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const { epoch, offset } = await created(one, log, 3);

  for (const after of [
    { epoch, offset: 2 },
    { epoch, offset: 4 },
    { epoch, offset: 0 },
    { epoch: '1', offset },
    { epoch: '', offset: 0 },
  ]) {
    assert.equal(await two.appendAll(log, entries(4, 5), { after }), false, `The log ends at 3, not ${after.offset}`);
  }
  assertPlain(await readAll(one, log), 1, 3);

  at(await two.appendAll(log, entries(4, 5), { after: { epoch, offset } }), 5);
  const racing = await Promise.all(
    range(1, 20).map((n) => (n % 2 === 0 ? one : two).appendAll(log, entries(6, 7), { after: { epoch, offset: 5 } })),
  );
  assert.equal(racing.filter((each) => each !== false).length, 1, 'Of several calls with one condition, one succeeds');
  assertPlain(await readAll(one, log), 1, 7);
}

async function keepsOrderOfCalls(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const recorder = await context.recordTail(two, log);

  const creating = one.create(log, entries(1, 2), LONG_MS);
  const appending = range(2, 100).map((n) => one.appendAll(log, entries(n * 2 - 1, n * 2)));
  const { epoch } = at(await creating, 2);
  const chain = range(101, 105).map((n) =>
    one.appendAll(log, entries(n * 2 - 1, n * 2), { after: { epoch, offset: n * 2 - 2 } }),
  );

  for (const [index, position] of (await Promise.all([...appending, ...chain])).entries()) {
    at(position, index * 2 + 4);
  }
  assertPlain(await readAll(one, log), 1, 210);
  assertPlain(await recorder.count(210), 1, 210);
}

async function needsAnExistingLog(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  for (const client of [one, two]) {
    await assertGone(client, log);
    await client.drop(log);
  }
  await created(two, log, 2);
  assertPlain(await readAll(one, log), 1, 2);
}

async function expires(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const { epoch } = await created(one, log, 3);
  const stays = newRunLog();
  await created(one, stays, 2);

  assert.equal(await two.expire(log, SHORT_MS), true);
  await untilGone(context, one, log);

  for (const client of [one, two]) {
    await assertGone(client, log);
  }
  assertPlain(await readAll(two, stays), 1, 2);
  const again = await created(two, log, 1);
  assert.notEqual(again.epoch, epoch, 'A log that is created again has a new epoch');
  assertPlain(await readAll(one, log), 1, 1);
}

async function expiresWithAnAppend(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const end = await created(one, log, 3);
  const kept = await renewedInTime(context, one, async (name, after) => {
    return (await two.appendAll(name, entries(2, 2), { after, expire: LONG_MS })) !== false;
  });

  const other = { ...end, offset: 2 };
  assert.equal(await two.appendAll(log, entries(4, 4), { after: other, expire: 1 }), false);
  await pause(SHORT_MS);
  assertPlain(await readAll(one, log), 1, 3);
  assertPlain(await readAll(one, kept), 1, 2);

  at(await two.appendAll(log, entries(4, 4), { after: end, expire: 1 }), 4);
  await untilGone(context, one, log);
}

async function expiresUnlessRenewed(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const renewed = await renewedInTime(context, one, (name) => two.expire(name, LONG_MS));
  const replaced = await renewedInTime(context, one, async (name, after) => {
    return (await two.create(name, entries(1, 1), LONG_MS, { after })) !== false;
  });

  at(await one.create(log, entries(1, 1), SHORT_MS), 1);
  // Does not renew it. On a slow machine, it has expired.
  await two.appendAll(log, entries(2, 2));
  await untilGone(context, two, log);

  await assertGone(one, log);
  await pause(SHORT_MS);
  assertPlain(await readAll(one, renewed), 1, 1);
  assertPlain(await readAll(one, replaced), 1, 1);
  assert.equal(await one.expire(renewed, 1), true);
  await untilGone(context, two, renewed);
}

/** Creates a log that expires soon, and renews it. On a slow machine, the first ones expire before. @returns the name of the log */
async function renewedInTime(
  context: ContractContext,
  broker: RunsBroker,
  renew: (log: string, end: BrokerPosition) => Promise<boolean>,
): Promise<string> {
  let log = '';
  await context.until('A log is renewed before it expires', async () => {
    log = newRunLog();
    return renew(log, at(await broker.create(log, entries(1, 1), SHORT_MS), 1));
  });
  return log;
}

async function drops(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const other = newRunLog();
  const after = await created(one, log, 3);
  await created(one, other, 1);

  await two.drop(log);
  await two.drop(log);

  for (const client of [one, two]) {
    await assertGone(client, log);
    assert.equal(await client.create(log, entries(1, 1), LONG_MS, { after }), false, 'There is nothing to replace');
  }
  assertPlain(await readAll(one, other), 1, 1);
  assert.notEqual((await created(two, log, 2)).epoch, after.epoch, 'A log that is created again has a new epoch');
}

async function keepsAllRecords(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  at(await one.create(log, entries(1, 1_000), LONG_MS), 1_000);
  for (const thousand of range(1, 9)) {
    const last = thousand * 1_000 + 1_000;
    at(await one.appendAll(log, entries(last - 999, last)), last);
  }

  assertPlain(await readAll(two, log), 1, 10_000);
  assertPlain(await readAll(two, log, 9_950, 7), 9_951, 10_000);
  assertPlain(await two.read(log, 5_000, 1), 5_001, 5_001);
  assert.deepEqual(await two.read(log, 10_000, 10), []);
  assert.deepEqual(await two.read(log, 1_000_000, 10), []);
}

async function keepsLargeEntries(context: ContractContext): Promise<void> {
  const { one, two, log } = await runClients(context);
  const recorder = await context.recordTail(two, log);
  const large = 'Grüße '.repeat(Math.ceil(LARGE_CHARACTERS / 6));
  const texts = ['small', large, 'small again', large];
  const text = (data = ''): BrokerEntry => ({ data, encoding: 'text' });

  at(await one.create(log, [text(texts[0]), text(texts[1])], LONG_MS), 2);
  at(await one.appendAll(log, [text(texts[2])]), 3);
  at(await one.appendAll(log, [text(texts[3])]), 4);

  const received = await recorder.count(4);
  const read = await readAll(two, log);
  for (const records of [received, read]) {
    assert.deepEqual(
      records.map(({ data, offset }) => [data === texts[offset - 1], offset]),
      range(1, 4).map((offset) => [true, offset]),
    );
  }
}

async function keepsNamesApart(context: ContractContext): Promise<void> {
  const { one, two } = await runClients(context);
  const group = newRunLog('');
  const logs = ODD_KEYS.flatMap((key) => [`${group}${key}`, newRunLog(key), `${newRunLog(key)}/end`]);

  await Promise.all(logs.map((log, n) => one.create(log, entries(n, n), LONG_MS)));

  for (const [n, log] of logs.entries()) {
    const records = await readAll(two, log);
    assert.deepEqual(
      records.map(({ data }) => data),
      [entry(n).data],
      `The log ${JSON.stringify(log)} has other records`,
    );
  }
  await two.drop(logs[0] ?? '');
  assert.deepEqual(
    (await Promise.all(logs.map((log) => two.read(log, 0, 10)))).map(({ length }) => length),
    logs.map((_, n) => Number(n > 0)),
    'drop() removes one log',
  );
}

async function leavesNothing(context: ContractContext): Promise<void> {
  const { one, two } = await runClients(context);
  const { size } = context.setup;
  const group = newRunLog('');
  await useLogs(one, two, `${group}first`, 1);
  const before = await size?.();

  await useLogs(one, two, group, MANY_LOGS);
  for (const n of range(1, MANY_LOGS)) {
    await untilGone(context, two, `${group}${n}`);
  }

  if (size) {
    await context.until('The store has nothing more than before', async () => Number(await size()) <= Number(before));
  }
  await created(two, `${group}1`, 2);
  assertPlain(await readAll(one, `${group}1`), 1, 2);
}

/** Creates logs, tails them, and appends to them. Half of them are dropped, the others expire. */
async function useLogs(one: RunsBroker, two: RunsBroker, group: string, count: number): Promise<void> {
  for (const first of range(0, (count - 1) / 100).map((hundred) => hundred * 100 + 1)) {
    const logs = range(first, Math.min(first + 99, count)).map((n) => `${group}${n}`);
    await Promise.all(
      logs.map(async (log, index) => {
        const tail = await two.tail(log, () => undefined);
        await created(one, log, 2);
        await two.appendAll(log, entries(3, 4));
        await tail.stop();
        await (index % 2 === 0 ? one.drop(log) : two.expire(log, 1));
      }),
    );
  }
}

/** The cases for the records of runs. */
export const RUN_LOG_CASES: readonly Case[] = [
  ['create() succeeds once, of many calls at the same time on several clients', createsOnce],
  ['create() and appendAll() store every field of an entry unchanged', keepsEntries],
  ['create() with `after` replaces a log, in a new epoch, only if it ends there', replacesOnlyAtTheEnd],
  ['create() with `after` succeeds once, of many calls at the same time on several clients', replacesOnce],
  ['appendAll() appends the entries of a call one after the other, also with several callers', appendsAllTogether],
  ['appendAll() with `after` appends all entries if the log ends there, and none otherwise', appendsOnlyAtTheEnd],
  ['create() and appendAll() keep the order of calls that do not await each other', keepsOrderOfCalls],
  ['a log that was not created does not exist, whatever is called', needsAnExistingLog],
  ['expire() makes a log vanish after its time', expires],
  [
    'a log expires after the time of create(), unless expire() or another create() has renewed it',
    expiresUnlessRenewed,
  ],
  ['appendAll() with `expire` sets when a log expires, only if it appends', expiresWithAnAppend],
  ['drop() removes a log, which can be created again', drops],
  ['a log of a run keeps 10 000 records, and read() returns them in pages', keepsAllRecords],
  ['a log of a run keeps entries of 5 MB', keepsLargeEntries],
  ['logs of runs are kept apart by their names, with any characters', keepsNamesApart],
  ['nothing is left of 1 000 logs that were dropped or have expired', leavesNothing],
];
