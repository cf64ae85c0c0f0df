import assert from 'node:assert/strict';
import type { Broker } from '../../broker/broker.js';
import { type Case, type ContractContext, type Freezing, turns } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, entry, range, readAll } from './entries.js';
import { appendConcurrently, assertOutcomes, untilBack } from './fault-outcomes.js';

/** The codes with which append() may reject while the store does not answer. */
const CODES = ['broker-unavailable', 'broker-busy', 'publish-unknown'];
/** A broker must reject entries as `broker-busy` before this number of them wait. Each has about 1 KiB. */
const MOST_PENDING = 20_000;
const PAD = 'x'.repeat(1_000);

async function rejectsInTime(context: ContractContext, freezing: Freezing): Promise<void> {
  const { clients, log } = await context.clients(2);
  const [publisher, reader] = clients as [Broker, Broker];
  const recorder = await context.recordTail(reader, log);
  const before = await appendConcurrently(publisher, log, 1, 3);

  const during = await context.whileFrozen(freezing, () =>
    context.within(appendConcurrently(publisher, log, 4, 23), 'Each append() rejects while the store does not answer'),
  );
  await untilBack(context, publisher, log);
  await untilBack(context, reader, log);
  const after = await appendConcurrently(publisher, log, 24, 30);

  for (const { position, code } of during) {
    assert.ok(position || CODES.includes(code as string), `append() rejected with the code ${code}, not ${CODES}`);
  }
  const records = await readAll(reader, log);
  assertOutcomes(records, [...before, ...during, ...after]);
  assert.ok(after.every(({ position }) => position));
  await recorder.reaches(records.length);
  recorder.assertOrdered();
}

async function readsInTime(context: ContractContext, freezing: Freezing): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 3);
  const settled = async (promise: Promise<unknown>): Promise<void> => void (await Promise.allSettled([promise]));

  await context.whileFrozen(freezing, async () => {
    const ignore = (): void => undefined;
    await Promise.all([
      context.within(settled(broker.read(log, 0, 10)), 'read() settles while the store does not answer'),
      context.within(settled(broker.tail(log, ignore)), 'tail() settles while the store does not answer'),
    ]);
  });

  await untilBack(context, broker, log);
  assert.deepEqual(
    (await broker.read(log, 0, 3)).map(({ data }) => data),
    range(1, 3).map((n) => entry(n).data),
  );
}

async function closesInTime(context: ContractContext, freezing: Freezing): Promise<void> {
  const broker = await context.setup.create();
  const log = context.newLog();
  await broker.open(log, { limit: 100, ttl: 3_600_000 });
  const recorder = await context.recordTail(broker, log);

  await context.whileFrozen(freezing, async () => {
    const pending = appendConcurrently(broker, log, 1, 3);
    await context.within(broker.close(), 'close() resolves while the store does not answer');
    await context.within(pending, 'Each append() settles when the broker closes');
  });

  await context.settle();
  assert.deepEqual(recorder.records, [], 'A broker that is closed must deliver nothing more');
}

/** Appends large entries, and counts how they settle. */
class Flood {
  busy = 0;
  settled = 0;
  readonly appends: Promise<void>[] = [];

  constructor(
    private readonly broker: Broker,
    private readonly log: string,
  ) {}

  append(): void {
    const data = `${this.appends.length} ${PAD}`;
    const settle = (error?: { readonly code?: unknown }): void => {
      this.settled++;
      this.busy += error?.code === 'broker-busy' ? 1 : 0;
    };
    this.appends.push(this.broker.append(this.log, { data, encoding: 'text' }).then(() => settle(), settle));
  }

  get pending(): number {
    return this.appends.length - this.settled;
  }
}

async function limitsPending(context: ContractContext, freezing: Freezing): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 3);
  const flood = new Flood(broker, log);

  await context.whileFrozen(freezing, async () => {
    // In one turn, so that no time limit of the broker ends before.
    range(1, MOST_PENDING).forEach(() => void flood.append());
    await turns();
    assert.ok(
      flood.busy > 0,
      `${flood.pending} entries wait while the store does not answer, and none was rejected as "broker-busy"`,
    );
    await context.within(Promise.all(flood.appends), 'Each append() settles while the store does not answer');
  });

  await untilBack(context, broker, log);
  const { offset } = await broker.append(log, entry(4));
  const [record] = await broker.read(log, offset - 1, 1);
  assert.equal(record?.data, entry(4).data);
}

/** The cases in which the store does not answer. They need `freeze` and `thaw`. */
export function freezeCases({ freeze, thaw }: BrokerContractSetup): readonly Case[] {
  if (!freeze || !thaw) {
    return [];
  }
  const cases: [string, (context: ContractContext, freezing: Freezing) => Promise<void>][] = [
    [
      'append() rejects in time while the store does not answer, and says whether the entry may be in the log',
      rejectsInTime,
    ],
    ['append() rejects at once as broker-busy when too many entries wait for the store', limitsPending],
    ['read() and tail() settle in time while the store does not answer', readsInTime],
    ['close() resolves in time while the store does not answer', closesInTime],
  ];
  return cases.map(([name, run]) => [name, (context) => run(context, { freeze, thaw })]);
}
