import assert from 'node:assert/strict';
import type { Broker, BrokerPosition } from '../../broker/broker.js';
import { type Case, type ContractContext, type Freezing, turns } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { assertPlain, entry, range, readAll } from './entries.js';
import { assertOutcomes, type Outcome } from './fault-outcomes.js';
import { assertGone, at, created, entries, LONG_MS, newRunLog, type RunsBroker, runClients } from './run-logs.js';

type Cut = NonNullable<BrokerContractSetup['cut']>;
type Lose = NonNullable<BrokerContractSetup['lose']>;
type Rewind = NonNullable<BrokerContractSetup['rewind']>;
type Restart = NonNullable<BrokerContractSetup['restart']>;

/** The codes with which methods may reject while there is no connection. */
const CODES = ['broker-unavailable', 'broker-busy', 'publish-unknown'];
/** A broker must reject entries as `broker-busy` before this number of them wait. Each has about 1 KiB. */
const MOST_PENDING = 20_000;
const PAD = 'x'.repeat(1_000);

function appendConcurrently(broker: RunsBroker, log: string, first: number, last: number): Promise<Outcome[]> {
  return Promise.all(
    range(first, last).map((n) =>
      broker.appendAll(log, entries(n, n)).then(
        (position): Outcome => ({ n, position: at(position, position ? position.offset : 0) }),
        (error: { readonly code?: unknown } | undefined): Outcome => ({ n, code: error?.code }),
      ),
    ),
  );
}

/** Calls a method of a broker until it resolves. */
async function untilBack<R>(context: ContractContext, what: string, call: () => Promise<R>): Promise<R | undefined> {
  let result: R | undefined;
  await context.until(`${what} works again`, async () => {
    try {
      result = await call();
      return true;
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      assert.ok(CODES.includes(`${code}`), `${what} rejected with the code ${code}, not one of ${CODES}`);
      return false;
    }
  });
  return result;
}

async function deliversWhatWasMissed(context: ContractContext, cut: Cut): Promise<void> {
  const { one, two, log } = await runClients(context);
  const missing = newRunLog();
  const { epoch } = await created(one, log, 3);
  const recorder = await context.recordTail(two, log);
  const early = await context.recordTail(two, missing);
  const stopped = await context.recordTail(two, log);

  for (const last of [13, 23, 33]) {
    await cut(two);
    await stopped.start.stop();
    await untilBack(context, 'appendAll()', () =>
      one.appendAll(log, entries(last - 9, last), { after: { epoch, offset: last - 10 } }),
    );
    // Nothing more is appended: the broker has to find out by itself what it has missed.
    await recorder.reaches(last);
  }
  await cut(two);
  await created(one, missing, 3);
  await context.until('A tail of a log that was created meanwhile is at its end', async () => early.at.offset === 3);

  await context.settle();
  recorder.assertOrdered();
  early.assertOrdered();
  assert.deepEqual(stopped.records, [], 'A tail that was stopped while the connection was lost must stay stopped');
  assertPlain(await readAll(two, log), 1, 33);
  assert.ok(
    [...recorder.records, ...recorder.positions].every((each) => each.epoch === epoch && each.offset <= 33),
    'A lost connection changes neither the epoch nor the end of a log',
  );
}

async function appendsOnceDespiteCut(context: ContractContext, cut: Cut): Promise<void> {
  const { one, two, log } = await runClients(context);
  at(await one.create(log, entries(0, 0), LONG_MS), 1);
  const outcomes: Outcome[] = [];

  for (const last of [100, 200, 300]) {
    const before = appendConcurrently(one, log, last - 99, last - 50);
    const cutting = cut(one);
    const during = appendConcurrently(one, log, last - 49, last);
    await cutting;
    outcomes.push(...(await context.within(Promise.all([before, during]), 'Each appendAll() settles')).flat());
    await untilBack(context, 'expire()', () => one.expire(log, LONG_MS));
  }

  const records = await readAll(two, log);
  assert.equal(records[0]?.data, entry(0).data);
  assertOutcomes(records, outcomes);
}

async function worksAfterCut(context: ContractContext, cut: Cut): Promise<void> {
  const { one, log } = await runClients(context);
  await created(one, log, 3);

  await cut(one);
  const recorder = await untilBack(context, 'tail()', () => context.recordTail(one, log));
  await cut(one);
  assert.deepEqual((await untilBack(context, 'read()', () => one.read(log, 2, 10)))?.length, 1);
  await cut(one);
  assert.equal(await untilBack(context, 'expire()', () => one.expire(log, LONG_MS)), true);
  await cut(one);
  const other = newRunLog();
  await untilBack(context, 'create()', () => one.create(other, entries(1, 1), LONG_MS));
  assertPlain(await readAll(one, other), 1, 1);
  await cut(one);
  await untilBack(context, 'drop()', () => one.drop(other));
  assert.deepEqual(await readAll(one, other), []);

  at(await one.appendAll(log, entries(4, 4)), 4);
  await recorder?.reaches(4);
}

async function settlesInTime(context: ContractContext, freezing: Freezing): Promise<void> {
  const { one, two, log } = await runClients(context);
  await created(one, log, 3);
  const recorder = await context.recordTail(two, log);
  const other = newRunLog();
  const settled = async (what: string, call: Promise<unknown>): Promise<void> => {
    const code = await context.within(
      call.then(
        () => CODES[0],
        (error: { readonly code?: unknown } | undefined) => error?.code,
      ),
      `${what} settles while the store does not answer`,
    );
    assert.ok(CODES.includes(`${code}`), `${what} rejected with the code ${code}, not one of ${CODES}`);
  };

  await context.whileFrozen(freezing, () =>
    Promise.all([
      settled('create()', one.create(other, entries(1, 2), LONG_MS)),
      settled('appendAll()', one.appendAll(log, entries(4, 5))),
      settled('expire()', one.expire(log, LONG_MS)),
      settled('drop()', one.drop(newRunLog())),
      settled('read()', two.read(log, 0, 10)),
      settled(
        'tail()',
        two.tail(other, () => undefined),
      ),
    ]),
  );

  await untilBack(context, 'expire()', () => one.expire(log, LONG_MS));
  await untilBack(context, 'read()', () => two.read(log, 0, 1));
  const records = await readAll(two, log);
  assertPlain(records, 1, records.length === 5 ? 5 : 3);
  assert.ok([0, 2].includes((await readAll(two, other)).length), 'A log is created with all its records, or not');
  at(await one.appendAll(log, entries(6, 6)), records.length + 1);
  await recorder.reaches(records.length + 1);
  recorder.assertOrdered();
}

async function limitsPending(context: ContractContext, freezing: Freezing): Promise<void> {
  const { one, log } = await runClients(context);
  await created(one, log, 3);
  let busy = 0;
  let appends: Promise<unknown>[] = [];

  await context.whileFrozen(freezing, async () => {
    // In one turn, so that no time limit of the broker ends before.
    appends = range(1, MOST_PENDING / 10).map((n) => {
      const calls = range(1, 10).map((each) => ({ data: `${n} ${each} ${PAD}`, encoding: 'text' as const }));
      return one.appendAll(log, calls).catch((error: { readonly code?: unknown } | undefined) => {
        busy += error?.code === 'broker-busy' ? 1 : 0;
      });
    });
    await turns();
    assert.ok(busy > 0, `${MOST_PENDING} entries wait while the store does not answer, and none is "broker-busy"`);
    await context.within(Promise.all(appends), 'Each appendAll() settles while the store does not answer');
  });

  await untilBack(context, 'expire()', () => one.expire(log, LONG_MS));
  const end = await one.appendAll(log, entries(4, 4));
  assert.ok(end);
  const [record] = await one.read(log, end.offset - 1, 1);
  assert.equal(record?.data, entry(4).data);
}

async function closesInTime(context: ContractContext, freezing: Freezing): Promise<void> {
  const broker = (await context.setup.create()) as RunsBroker;
  const log = newRunLog();
  await created(broker, log, 1);
  const recorder = await context.recordTail(broker, log);

  await context.whileFrozen(freezing, async () => {
    const pending = appendConcurrently(broker, log, 2, 4);
    await context.within(broker.close(), 'close() resolves while the store does not answer');
    await context.within(pending, 'Each appendAll() settles when the broker closes');
  });

  await context.settle();
  assert.deepEqual(recorder.records, [], 'A broker that is closed must deliver nothing more');
}

async function losesALog(context: ContractContext, lose: Lose): Promise<void> {
  const { one, two, log } = await runClients(context);
  const end = await created(one, log, 5);
  const recorder = await context.recordTail(two, log);

  await lose(log);

  assert.equal(await one.appendAll(log, entries(6, 6), { after: end }), false, 'The log is lost');
  await assertGone(two, log);
  const { epoch } = await created(one, log, 2);
  assert.notEqual(epoch, end.epoch);
  assertPlain(await recorder.count(2), 1, 2);
  assert.equal(await one.appendAll(log, entries(6, 6), { after: end }), false, 'It is another log');
}

async function losesTheNewest(context: ContractContext, rewind: Rewind): Promise<void> {
  const { one, two, log } = await runClients(context);
  const lost = await created(one, log, 8);
  const recorder = await context.recordTail(two, log);
  at(await one.appendAll(log, entries(9, 10), { after: lost }), 10);
  await recorder.count(2);

  await rewind(log, 3);

  const isEnd = ({ epoch, offset }: BrokerPosition): boolean => epoch === lost.epoch && offset === 7;
  await context.until('The listener learns where the log ends', async () => recorder.positions.some(isEnd));
  assert.equal(
    await untilBack(context, 'appendAll()', () =>
      one.appendAll(log, entries(11, 12), { after: { ...lost, offset: 10 } }),
    ),
    false,
    'The log has lost its newest records, and does not end there any more',
  );
  assertPlain(await readAll(one, log), 1, 7);
  at(await one.appendAll(log, entries(8, 9), { after: { ...lost, offset: 7 } }), 9);

  await recorder.count(4);
  assert.deepEqual(
    recorder.records.map(({ offset, data }) => [offset, data]),
    [9, 10, 8, 9].map((n) => [n, entry(n).data]),
    'A listener that has received lost records receives those that follow the end of the log',
  );
}

async function losesAllInARestart(context: ContractContext, restart: Restart): Promise<void> {
  const { one, log } = await runClients(context);
  const { epoch } = await created(one, log, 3);

  const restarted = (await context.restarted(restart)) as Broker as RunsBroker;

  await assertGone(restarted, log);
  assert.notEqual((await created(restarted, log, 1)).epoch, epoch);
}

/** The cases in which connections or records of runs are lost. Each needs a function of the setup. */
export function runFaultCases({ cut, shared, freeze, thaw, ...setup }: BrokerContractSetup): readonly Case[] {
  const { lose, rewind, restart } = setup;
  const cases: Case[] = [];
  const add = <F>(cause: F | undefined, name: string, run: (context: ContractContext, cause: F) => Promise<void>) => {
    if (cause) {
      cases.push([name, (context) => run(context, cause)]);
    }
  };
  const freezing = freeze && thaw && { freeze, thaw };
  add(
    shared ? cut : undefined,
    'a tail of a run delivers what was appended while its connection was lost, or says where the log ends',
    deliversWhatWasMissed,
  );
  add(cut, 'an appendAll() during which the connection is cut appends its entries at most once', appendsOnceDespiteCut);
  add(cut, 'each method for runs works again after the connection was cut', worksAfterCut);
  add(freezing, 'each method for runs settles in time while the store does not answer', settlesInTime);
  add(freezing, 'appendAll() rejects at once as broker-busy when too many entries wait for the store', limitsPending);
  add(freezing, 'close() resolves in time although appendAll() waits for the store', closesInTime);
  add(lose, 'a log of a run that the store has lost does not exist', losesALog);
  add(
    rewind,
    'a log of a run that has lost its newest records says so to its producer and to its listeners',
    losesTheNewest,
  );
  add(restart, 'a log of a run does not exist after a restart in which its records were lost', losesAllInARestart);
  return cases;
}
