import assert from 'node:assert/strict';
import type { BrokerContractSetup } from './contract-setup.js';
import { appendAll, assertPlain, range, readAll } from './entries.js';
import { Listener, publishAll } from './listener.js';
import type { Case, Stage } from './stage.js';

type Restart = NonNullable<BrokerContractSetup['restart']>;
type Lose = NonNullable<BrokerContractSetup['lose']>;

async function restartsAnew(stage: Stage, restart: Restart): Promise<void> {
  const { broker, log } = await stage.openLog();
  await appendAll(broker, log, 1, 3);
  const { epoch } = (await stage.tape(broker, log)).start;

  const restarted = await stage.restarted(restart);
  await restarted.open(log, { limit: 100, ttl: 3_600_000 });
  const tape = await stage.tape(restarted, log);
  await appendAll(restarted, log, 1, 3);

  assert.notEqual(tape.start.epoch, epoch, 'A log that has lost its records begins another epoch');
  assert.equal(tape.start.offset, 0);
  assertPlain(await tape.count(3), 1, 3);
  assert.ok(tape.records.every((record) => record.epoch === tape.start.epoch));
  assertPlain(await readAll(restarted, log), 1, 3);
}

async function hubTellsRestart(stage: Stage, restart: Restart): Promise<void> {
  const name = stage.newLog();
  const [, id = ''] = await publishAll(await stage.hub(await stage.broker(), { name }), 1, 3);

  const hub = await stage.hub(await stage.restarted(restart), { name });
  const early = new Listener(stage, hub.subscribe({ after: id }));
  await early.count(1);
  const [oldest] = await publishAll(hub, 4, 8);
  await early.count(6);
  const late = new Listener(stage, hub.subscribe({ after: id }));
  await late.count(6);

  assert.deepEqual(early.data, [{ reason: 'epoch', oldest: null }, ...range(4, 8)]);
  assert.deepEqual(late.data, [{ reason: 'epoch', oldest }, ...range(4, 8)]);
}

async function losesUnderTails(stage: Stage, lose: Lose): Promise<void> {
  const { broker, log } = await stage.openLog();
  const tape = await stage.tape(broker, log);
  await appendAll(broker, log, 1, 3);
  await tape.count(3);

  await lose(log);
  await appendAll(broker, log, 1, 2);
  await tape.count(5);

  assertPlain(tape.records.slice(0, 3), 1, 3);
  assertPlain(tape.records.slice(3), 1, 2);
  const epochs = new Set(tape.records.map(({ epoch }) => epoch));
  assert.equal(epochs.size, 2, 'A log that has lost its records begins another epoch');
  const read = await readAll(broker, log);
  assertPlain(read, 1, 2);
  assert.deepEqual(read, tape.records.slice(3));
}

async function hubTellsLoss(stage: Stage, lose: Lose): Promise<void> {
  const name = stage.newLog();
  const hub = await stage.hub(await stage.broker(), { name });
  const live = new Listener(stage, hub.subscribe());
  const before = await publishAll(hub, 1, 3);
  await live.count(3);

  await lose(name);
  const after = await publishAll(hub, 4, 5);
  await live.count(6);
  const back = new Listener(stage, hub.subscribe({ after: before[2] }));
  await back.count(3);

  const reset = { reason: 'epoch', oldest: after[0] };
  assert.deepEqual(live.data, [1, 2, 3, reset, 4, 5]);
  assert.deepEqual(back.data, [reset, 4, 5]);
}

/** What happens when the store loses what it has, as far as the setup can have it do so. */
export function epochCases({ restart, lose }: BrokerContractSetup): readonly Case[] {
  return [
    ...(restart
      ? ([
          ['a restart that costs the store its records begins another epoch', (stage) => restartsAnew(stage, restart)],
          ['a hub tells who comes back after such a restart so', (stage) => hubTellsRestart(stage, restart)],
        ] satisfies Case[])
      : []),
    ...(lose
      ? ([
          ['a log that is lost while it is open begins another epoch', (stage) => losesUnderTails(stage, lose)],
          ['a hub tells its subscribers that its log was lost', (stage) => hubTellsLoss(stage, lose)],
        ] satisfies Case[])
      : []),
  ];
}
