import assert from 'node:assert/strict';
import type { Case, ContractContext } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, assertPlain, range, readAll } from './entries.js';
import { Listener, publishAll } from './hub-listener.js';

type Restart = NonNullable<BrokerContractSetup['restart']>;
type Lose = NonNullable<BrokerContractSetup['lose']>;

async function beginsNewEpochAfterRestart(context: ContractContext, restart: Restart): Promise<void> {
  const { broker, log } = await context.openLog();
  await appendAll(broker, log, 1, 3);
  const { epoch } = (await context.recordTail(broker, log)).start;

  const restarted = await context.restarted(restart);
  await restarted.open(log, { limit: 100, ttl: 3_600_000 });
  const recorder = await context.recordTail(restarted, log);
  await appendAll(restarted, log, 1, 3);

  assert.notEqual(recorder.start.epoch, epoch, 'A log that has lost its records must begin a new epoch');
  assert.equal(recorder.start.offset, 0);
  assertPlain(await recorder.count(3), 1, 3);
  assert.ok(recorder.records.every((record) => record.epoch === recorder.start.epoch));
  assertPlain(await readAll(restarted, log), 1, 3);
}

async function hubResetsAfterRestart(context: ContractContext, restart: Restart): Promise<void> {
  const name = context.newLog();
  const [, id = ''] = await publishAll(await context.hub(await context.broker(), { name }), 1, 3);

  const hub = await context.hub(await context.restarted(restart), { name });
  const early = new Listener(context, hub.subscribe({ after: id }));
  await early.count(1);
  const [oldest] = await publishAll(hub, 4, 8);
  await early.count(6);
  const late = new Listener(context, hub.subscribe({ after: id }));
  await late.count(6);

  assert.deepEqual(early.data, [{ reason: 'epoch', oldest: null }, ...range(4, 8)]);
  assert.deepEqual(late.data, [{ reason: 'epoch', oldest }, ...range(4, 8)]);
}

async function beginsNewEpochUnderTails(context: ContractContext, lose: Lose): Promise<void> {
  const { broker, log } = await context.openLog();
  const recorder = await context.recordTail(broker, log);
  await appendAll(broker, log, 1, 3);
  await recorder.count(3);

  await lose(log);
  await appendAll(broker, log, 1, 2);
  await recorder.count(5);

  assertPlain(recorder.records.slice(0, 3), 1, 3);
  assertPlain(recorder.records.slice(3), 1, 2);
  const epochs = new Set(recorder.records.map(({ epoch }) => epoch));
  assert.equal(epochs.size, 2, 'A log that has lost its records must begin a new epoch');
  const read = await readAll(broker, log);
  assertPlain(read, 1, 2);
  assert.deepEqual(read, recorder.records.slice(3));
}

async function hubResetsAfterLoss(context: ContractContext, lose: Lose): Promise<void> {
  const name = context.newLog();
  const hub = await context.hub(await context.broker(), { name });
  const live = new Listener(context, hub.subscribe());
  const before = await publishAll(hub, 1, 3);
  await live.count(3);

  await lose(name);
  const after = await publishAll(hub, 4, 5);
  await live.count(6);
  const back = new Listener(context, hub.subscribe({ after: before[2] }));
  await back.count(3);

  const reset = { reason: 'epoch', oldest: after[0] };
  const { oldest } = live.data[3] as { readonly oldest?: unknown };
  // If the broker announces the epoch before its first record, there is no oldest event yet.
  assert.deepEqual(live.data, [1, 2, 3, oldest === null ? { ...reset, oldest } : reset, 4, 5]);
  assert.deepEqual(back.data, [reset, 4, 5]);
}

/** The cases in which the store loses its records. Without `restart` or `lose` in the setup, those that need it are left out. */
export function epochCases({ restart, lose }: BrokerContractSetup): readonly Case[] {
  return [
    ...(restart
      ? ([
          [
            'a log that lost its records in a restart begins a new epoch',
            (context) => beginsNewEpochAfterRestart(context, restart),
          ],
          [
            'a hub resets a subscriber that resumes after a restart in which the records were lost',
            (context) => hubResetsAfterRestart(context, restart),
          ],
        ] satisfies Case[])
      : []),
    ...(lose
      ? ([
          [
            'a log that loses its records while it is open begins a new epoch',
            (context) => beginsNewEpochUnderTails(context, lose),
          ],
          [
            'a hub resets its subscribers when its log loses the records',
            (context) => hubResetsAfterLoss(context, lose),
          ],
        ] satisfies Case[])
      : []),
  ];
}
