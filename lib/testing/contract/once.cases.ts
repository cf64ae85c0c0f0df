import assert from 'node:assert/strict';
import type { Broker, BrokerEntry } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, entry, entryOf, range, readAll } from './entries.js';

type Lose = NonNullable<BrokerContractSetup['lose']>;

function onceEntry(n: number, once: string): BrokerEntry {
  return { ...entry(n), once };
}

async function appendsOnce(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, other] = clients as [Broker, Broker];
  const recorder = await context.recordTail(other, log);

  const first = await publisher.append(log, onceEntry(1, 'a'));
  const again = await publisher.append(log, onceEntry(1, 'a'));
  const elsewhere = await other.append(log, onceEntry(1, 'a'));
  const second = await other.append(log, onceEntry(2, 'b'));
  await publisher.append(log, entry(3));
  await publisher.append(log, entry(3));

  for (const { epoch, offset } of [again, elsewhere]) {
    assert.deepEqual({ epoch, offset }, { epoch: first.epoch, offset: first.offset });
  }
  assert.equal(second.offset, 2, 'An entry that is not appended again must use no offset');
  await recorder.count(4);
  await context.settle();
  for (const records of [recorder.records, await readAll(other, log)]) {
    assert.deepEqual(records.map(entryOf), [1, 2, 3, 3].map(entry).map(entryOf));
    assert.deepEqual(
      records.map(({ offset }) => offset),
      range(1, 4),
    );
    assert.ok(
      records.every((record) => !('once' in record) || record.once === undefined),
      '`once` must not become a part of the record',
    );
  }
}

async function appendsOnceConcurrently(context: ContractContext): Promise<void> {
  const { clients, log } = await context.clients(3);

  const positions = await Promise.all(
    range(0, 59).map((n) => (clients[n % 3] as Broker).append(log, onceEntry(n % 20, `key ${n % 20}`))),
  );

  const records = await readAll(clients[0] as Broker, log);
  assert.equal(records.length, 20, 'Several processes that append an entry once must append one record');
  positions.forEach(({ offset }, n) => {
    assert.equal(records[offset - 1]?.data, entry(n % 20).data, 'append() must resolve to the position of the record');
  });
}

async function keepsKeysOfLogsApart(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog();
  const other = context.newLog();
  await broker.open(other, { limit: 100, ttl: 3_600_000 });
  const keys = [' ', 'ü:{}*', '\0', 'x'.repeat(256)];

  await appendAll(broker, log, 1, 1);
  for (const [index, key] of keys.entries()) {
    await broker.append(log, onceEntry(index, key));
  }
  for (const [index, key] of keys.entries()) {
    const { offset } = await broker.append(other, onceEntry(index, key));
    assert.equal(offset, index + 1, 'Entries of two logs may have the same `once`');
  }
}

async function remembersEvicted(context: ContractContext): Promise<void> {
  const { broker, log } = await context.openLog({ limit: 1 });

  const { epoch, offset } = await broker.append(log, onceEntry(1, 'a'));
  await appendAll(broker, log, 2, 5);
  const again = await broker.append(log, onceEntry(1, 'a'));

  assert.deepEqual({ epoch: again.epoch, offset: again.offset }, { epoch, offset });
  assert.equal((await broker.append(log, entry(6))).offset, 6);
}

async function forgetsWithItsLog(context: ContractContext, lose: Lose): Promise<void> {
  const { broker, log } = await context.openLog();
  if (broker.onceWindow === undefined) {
    return;
  }
  const { epoch } = await broker.append(log, onceEntry(1, 'a'));

  await lose(log);
  const again = await broker.append(log, onceEntry(1, 'a'));

  assert.notEqual(again.epoch, epoch, 'An entry whose record was lost must be appended again');
  assert.deepEqual(
    (await readAll(broker, log)).map(({ data }) => data),
    [entry(1).data],
  );
}

/** Runs a case only for a broker that can append an entry once. */
function ifOnce(run: Case[1]): Case[1] {
  return async (context) => {
    const { onceWindow } = await context.broker();
    if (onceWindow !== undefined) {
      assert.ok(onceWindow > 0, 'onceWindow must be a number of milliseconds');
      await run(context);
    }
  };
}

/** The cases for `once`. A broker without `onceWindow` passes them without doing anything. */
export function onceCases({ lose }: BrokerContractSetup): readonly Case[] {
  return [
    ['append() appends an entry with `once` once, also if another process retries it', ifOnce(appendsOnce)],
    [
      'append() appends an entry with `once` once if several processes append it at the same time',
      ifOnce(appendsOnceConcurrently),
    ],
    ['append() tells the `once` of entries of different logs apart', ifOnce(keepsKeysOfLogsApart)],
    ['append() remembers `once` of an entry whose record was evicted', ifOnce(remembersEvicted)],
    ...(lose
      ? ([
          [
            'append() appends an entry with `once` again if its log was lost',
            (context) => forgetsWithItsLog(context, lose),
          ],
        ] satisfies Case[])
      : []),
  ];
}
