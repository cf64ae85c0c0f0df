import assert from 'node:assert/strict';
import type { Broker, BrokerRecord } from '../../broker/broker.js';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, entry, range, readAll } from './entries.js';
import { untilBack, withoutProbes } from './fault-outcomes.js';
import type { TailRecorder } from './tail-recorder.js';

type Rewind = NonNullable<BrokerContractSetup['rewind']>;

/** Asserts that records belong to one epoch, and count up in it. */
function assertOneLife(records: readonly BrokerRecord[], not: string): void {
  const epochs = new Set(records.map(({ epoch }) => epoch));
  assert.ok(
    epochs.size <= 1 && !epochs.has(not),
    `A log that has lost its newest records must begin a new epoch, without the records of the earlier one: ${[...epochs]} after ${not}`,
  );
  const { offset = 1 } = records[0] ?? {};
  assert.deepEqual(
    records.map((record) => record.offset),
    range(offset, offset + records.length - 1),
  );
}

async function tellsTails(context: ContractContext, rewind: Rewind): Promise<void> {
  const { clients, log } = await context.clients(2);
  const recorders: TailRecorder[] = [];
  for (const client of new Set(clients)) {
    recorders.push(await context.recordTail(client, log));
  }
  const [publisher] = clients as [Broker];
  await appendAll(publisher, log, 1, 5);
  await Promise.all(recorders.map((recorder) => recorder.count(5)));
  const { epoch } = recorders[0]?.start ?? { epoch: '' };

  await rewind(log, 2);
  // Nothing is appended until each tail knows: the broker asks as soon as it has connected again.
  await Promise.all(recorders.map((recorder) => recorder.leavesEpoch(epoch)));
  await Promise.all(clients.map((client) => untilBack(context, client, log)));
  await appendAll(publisher, log, 6, 8);

  const records = await readAll(publisher, log);
  assertOneLife(records, epoch);
  assert.deepEqual(
    withoutProbes(records).map(({ data }) => data),
    range(6, 8).map((n) => entry(n).data),
  );
  for (const recorder of recorders) {
    await context.until('A tail reaches the end of the new epoch', async () => recorder.at.offset >= records.length);
    recorder.assertOrdered();
    assertOneLife(recorder.records.slice(5), epoch);
    assert.equal(recorder.at.epoch, records[0]?.epoch);
  }
}

async function tellsPublisher(context: ContractContext, rewind: Rewind): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 5);
  const { epoch } = await broker.append(log, entry(6));

  await rewind(log, 3);
  const positions: { readonly epoch: string; readonly offset: number }[] = [];
  await context.until('append() works again', () =>
    broker.append(log, entry(7)).then(
      (position) => positions.push(position) > 0,
      () => false,
    ),
  );

  assert.notEqual(
    positions[0]?.epoch,
    epoch,
    'A broker must look for a new epoch before it appends on a new connection',
  );
  assertOneLife(await readAll(broker, log), epoch);
}

async function tellsNewProcess(context: ContractContext, rewind: Rewind): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 5);
  const { epoch } = await broker.append(log, entry(6));

  await rewind(log, 2);
  const other = await context.another(broker);
  await context.until('open() works again', () =>
    other.open(log, { limit: 100, ttl: 3_600_000 }).then(
      () => true,
      () => false,
    ),
  );
  const recorder = await context.recordTail(other, log);

  assert.notEqual(recorder.start.epoch, epoch, 'A process that opens a log that was rewound must begin a new epoch');
  await untilBack(context, other, log);
  await recorder.count(1);
  assertOneLife(recorder.records, epoch);
  assertOneLife(await readAll(other, log), epoch);
}

async function forgetsOnce(context: ContractContext, rewind: Rewind): Promise<void> {
  const { broker, log } = await context.openLog();
  if (broker.onceWindow === undefined) {
    return;
  }
  await appendAll(broker, log, 1, 2);
  const once = { ...entry(3), once: 'the third' };
  const { epoch } = await broker.append(log, once);

  await rewind(log, 1);
  await untilBack(context, broker, log);
  const position = await broker.append(log, once);

  assert.notEqual(position.epoch, epoch);
  const [record] = withoutProbes(await readAll(broker, log));
  assert.equal(record?.data, once.data, 'An entry whose record was lost must be appended again');
}

/** The cases in which the store forgets the newest records of a log. They need `rewind`. */
export function rewindCases({ rewind }: BrokerContractSetup): readonly Case[] {
  if (!rewind) {
    return [];
  }
  const cases: [string, (context: ContractContext, rewind: Rewind) => Promise<void>][] = [
    ['a log that was rewound begins a new epoch, which its tails learn before anything is appended', tellsTails],
    ['a broker whose log was rewound appends nothing more in the epoch of the lost records', tellsPublisher],
    ['a log that was rewound begins a new epoch for a process that opens it afterwards', tellsNewProcess],
    ['append() appends an entry with `once` again if its record was lost when the log was rewound', forgetsOnce],
  ];
  return cases.map(([name, run]) => [name, (context) => run(context, rewind)]);
}
