import assert from 'node:assert/strict';
import type { Broker } from '../../broker/broker.js';
import type { BrokerRoster } from '../../broker/roster.js';
import { type Case, type ContractContext, pause } from './contract-context.js';

/** Longer than any case runs, in milliseconds. */
const LONG = 60_000;
/** A time that a case waits for, in milliseconds. */
const SHORT = 300;

type Figures = Readonly<Record<string, number>>;

/** The roster of a log that is not open, and that of another client of the same store. */
interface RosterContext {
  readonly roster: BrokerRoster;
  readonly other: BrokerRoster;
  readonly log: string;
}

function put(roster: BrokerRoster, log: string, process: string, figures: Figures, ttl = LONG): Promise<boolean> {
  return roster.put(log, process, new Map(Object.entries(figures)), ttl);
}

/** Returns the figures by process, in a form that can be compared. */
async function list(roster: BrokerRoster, log: string, ...names: string[]): Promise<Record<string, Figures>> {
  const listed = [...(await roster.list(log, names))].map(([process, figures]) => [
    process,
    Object.fromEntries(figures),
  ]);
  return Object.fromEntries(listed) as Record<string, Figures>;
}

async function listsFiguresByName({ roster, other, log }: RosterContext): Promise<void> {
  await put(roster, log, 'a', { total: 3, blue: 2, red: 1 });
  await put(other, log, 'b', { total: 5 });

  const expected = { a: { total: 3, blue: 2 }, b: { total: 5 } };
  assert.deepEqual(await list(roster, log, 'total', 'blue'), expected);
  assert.deepEqual(await list(other, log, 'total', 'blue'), expected);
  assert.deepEqual(await list(other, log, 'green'), { a: {}, b: {} }, 'A process is listed also without a figure');
  assert.deepEqual(await list(other, log), { a: {}, b: {} });
}

async function replacesFigures({ roster, other, log }: RosterContext): Promise<void> {
  const names = ['total', 'blue', 'red'];
  await put(roster, log, 'a', { total: 3, blue: 2, red: 1 });

  await put(roster, log, 'a', { total: 7, red: 0 });
  assert.deepEqual(
    await list(other, log, ...names),
    { a: { total: 7, blue: 2 } },
    'Other figures stay, and 0 removes one',
  );

  await put(roster, log, 'a', {});
  assert.deepEqual(await list(other, log, ...names), { a: { total: 7, blue: 2 } }, 'Without figures, nothing changes');

  await put(roster, log, 'a', { total: 0, blue: 0 });
  assert.deepEqual(await list(other, log, ...names), { a: {} }, 'A process stays when it has no figure left');
}

async function saysWhetherProcessWasThere({ roster, other, log }: RosterContext): Promise<void> {
  assert.equal(await put(roster, log, 'a', {}), false);
  assert.equal(await put(roster, log, 'a', { total: 1 }), true);
  assert.equal(await put(other, log, 'a', { total: 2 }), true);
  assert.equal(await put(other, log, 'b', { total: 1 }), false);
  assert.equal(await put(other, log, 'b', {}, 0), true);
  assert.equal(await put(other, log, 'b', { total: 1 }), false, 'A process that was removed is not there');
  assert.equal(await put(roster, `${log}-other`, 'a', {}), false, 'Logs have separate rosters');
}

async function removesProcessAfterTime({ roster, other, log }: RosterContext, context: ContractContext): Promise<void> {
  await put(roster, log, 'stays', { total: 1, blue: 1 });
  await put(roster, log, 'goes', { total: 2, blue: 2 }, SHORT);
  assert.deepEqual(await list(other, log, 'total'), { stays: { total: 1 }, goes: { total: 2 } });

  await context.until('A process is removed after its time', async () => !('goes' in (await list(other, log))));
  assert.deepEqual(await list(other, log, 'total'), { stays: { total: 1 } });
  assert.equal(await put(roster, log, 'goes', { red: 1 }), false);
  assert.deepEqual(await list(other, log, 'blue', 'red'), { stays: { blue: 1 }, goes: { red: 1 } });
}

async function renewsTime({ roster, other, log }: RosterContext): Promise<void> {
  await put(roster, log, 'a', { total: 1 }, SHORT);
  await put(roster, log, 'a', {}, LONG);
  await pause(2 * SHORT);
  assert.deepEqual(
    await list(other, log, 'total'),
    { a: { total: 1 } },
    'Each call starts the time again, for all figures',
  );
}

async function removesProcessNow({ roster, other, log }: RosterContext): Promise<void> {
  await put(roster, log, 'a', { total: 1 });
  await put(roster, log, 'b', { total: 2 });
  await put(roster, `${log}-other`, 'a', { total: 3 });

  await put(roster, log, 'a', {}, 0);

  assert.deepEqual(await list(other, log, 'total'), { b: { total: 2 } });
  assert.deepEqual(await list(other, `${log}-other`, 'total'), { a: { total: 3 } });
}

async function keepsNamesApart({ roster, other, log }: RosterContext): Promise<void> {
  const names = ['topic', 'topic ', 'TOPIC', 'Ünï/😀 *.>:{}[] "\'', '__proto__', 'x'.repeat(1_100), '0'];
  const figures = new Map(names.map((name, index) => [name, index + 1]));

  await roster.put(log, 'a', figures, LONG);

  const listed = await other.list(log, names);
  assert.deepEqual(new Map(listed.get('a')), figures);
}

async function keepsManyFigures({ roster, other, log }: RosterContext): Promise<void> {
  const figures = new Map(Array.from({ length: 5_000 }, (_, index) => [`topic ${index}`, index + 1]));
  await Promise.all(Array.from({ length: 20 }, (_, index) => roster.put(log, `process_${index}`, figures, LONG)));

  const listed = await other.list(log, ['topic 0', 'topic 4999']);
  assert.equal(listed.size, 20);
  assert.ok([...listed.values()].every((each) => each.get('topic 0') === 1 && each.get('topic 4999') === 5_000));
}

/** Runs a case with the roster of a broker. A broker without one has nothing to test. */
function withRoster(
  run: (rosters: RosterContext, context: ContractContext) => Promise<void>,
): (context: ContractContext) => Promise<void> {
  return async (context) => {
    const broker = await context.broker();
    const another: Broker = await context.another(broker);
    const { roster } = broker;
    const { roster: other } = another;
    if (roster && other) {
      await run({ roster, other, log: context.newLog() }, context);
    }
  };
}

/** The cases for brokers with a roster. */
export const ROSTER_CASES: readonly Case[] = [
  ['a roster lists the figures of every process by name', withRoster(listsFiguresByName)],
  ['put() replaces figures one by one, and removes those that are 0', withRoster(replacesFigures)],
  ['put() resolves to whether the process was in the roster', withRoster(saysWhetherProcessWasThere)],
  ['a process is removed after its time', withRoster(removesProcessAfterTime)],
  ['put() renews the time of all figures of a process', withRoster(renewsTime)],
  ['put() with a time of 0 removes the process', withRoster(removesProcessNow)],
  ['a roster keeps all names of figures apart', withRoster(keepsNamesApart)],
  ['a roster keeps thousands of figures of many processes', withRoster(keepsManyFigures)],
];
