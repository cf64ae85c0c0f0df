import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, entry, range, readAll } from './entries.js';
import { appendConcurrently, assertOutcomes, type Outcome, untilBack, withoutProbes } from './fault-outcomes.js';

type Cut = NonNullable<BrokerContractSetup['cut']>;

async function reportsWhatWasMissed(context: ContractContext, cut: Cut): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const recorder = await context.recordTail(reader, log);
  await appendAll(publisher, log, 1, 3);
  await recorder.count(3);

  for (const last of [13, 23, 33]) {
    await cut(reader);
    await Promise.all(range(last - 9, last).map((n) => publisher.append(log, entry(n))));
    // Nothing more is appended: the broker has to find out by itself what it has missed.
    await recorder.reaches(last);
  }

  await context.settle();
  recorder.assertOrdered();
  assert.ok(
    [...recorder.records, ...recorder.positions].every(({ epoch, offset }) => {
      return epoch === recorder.start.epoch && offset <= 33;
    }),
    'A lost connection begins no epoch, and no position may be after the end of the log',
  );
  await context.until('read() returns what the tail has missed', async () => {
    const known = new Set([...recorder.records, ...(await readAll(reader, log, 3))].map(({ offset }) => offset));
    return range(1, 33).every((offset) => known.has(offset));
  });
}

async function deliversAfterCut(context: ContractContext, cut: Cut): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [reader, publisher] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const recorder = await context.recordTail(reader, log);
  const stopped = await context.recordTail(reader, log);

  await cut(reader);
  await stopped.start.stop();
  await untilBack(context, reader, log);
  await untilBack(context, publisher, log);
  const { offset } = await publisher.append(log, entry(1));

  await recorder.reaches(offset);
  await context.settle();
  recorder.assertOrdered();
  assert.deepEqual(stopped.records, [], 'A tail that was stopped while the connection was lost must stay stopped');
  assert.ok((await readAll(reader, log)).some(({ data }) => data === entry(1).data));
}

async function appendsOnceDespiteCut(context: ContractContext, cut: Cut): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [(typeof clients)[0], (typeof clients)[0]];
  const outcomes: Outcome[] = [];

  for (const last of [100, 200, 300]) {
    const before = appendConcurrently(publisher, log, last - 99, last - 50);
    const cutting = cut(publisher);
    const during = appendConcurrently(publisher, log, last - 49, last);
    await cutting;
    outcomes.push(...(await context.within(Promise.all([before, during]), 'Each append() settles')).flat());
    await untilBack(context, publisher, log);
  }

  assertOutcomes(await readAll(reader, log), outcomes);
}

async function beginsTailAfterCut(context: ContractContext, cut: Cut): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 3);

  await cut(broker);
  const tails: Awaited<ReturnType<typeof context.recordTail>>[] = [];
  await context.until('tail() works again', () =>
    context.recordTail(broker, log).then(
      (recorder) => tails.push(recorder) > 0,
      () => false,
    ),
  );
  await untilBack(context, broker, log);
  await context.until('open() works again', () =>
    broker.open(log, { limit: 100, ttl: 3_600_000 }).then(
      () => true,
      () => false,
    ),
  );
  const { offset } = await broker.append(log, entry(4));

  const [recorder] = tails;
  await recorder?.reaches(offset);
  recorder?.assertOrdered();
  const records = withoutProbes(await readAll(broker, log));
  assert.deepEqual(
    records.map(({ data }) => data),
    range(1, 4).map((n) => entry(n).data),
  );
}

/** The cases in which a broker loses its connection. They need `cut`; those in which another process appends meanwhile also need `shared`. */
export function connectionCases({ cut, shared }: BrokerContractSetup): readonly Case[] {
  if (!cut) {
    return [];
  }
  const cases: [string, (context: ContractContext, cut: Cut) => Promise<void>][] = [
    ['a broker whose connection was cut connects again by itself, and continues its tails', deliversAfterCut],
    ['a broker whose connection was cut can begin tails and open logs again', beginsTailAfterCut],
    [
      'an append() during which the connection is cut appends the entry once if it resolves, and at most once if it rejects',
      appendsOnceDespiteCut,
    ],
  ];
  if (shared) {
    cases.unshift([
      'a tail whose connection was cut reports what it has missed, even if nothing is appended afterwards',
      reportsWhatWasMissed,
    ]);
  }
  return cases.map(([name, run]) => [name, (context) => run(context, cut)]);
}
