import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { Broker } from '../../broker/broker.js';
import { type Case, type ContractContext, type Freezing, pause, turns } from './contract-context.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { range } from './entries.js';
import { RunViewer, ScriptedProducer } from './run-actors.js';
import { type RunProcess, runProcesses } from './run-process.js';

/** Short enough to wait until it has run out. Where it runs out too early on a slow machine, the outcome is the same. */
const SHORT_LEASE_MS = 900;

/** A run of the first process, with a viewer in each process who has received its first chunk. */
interface Scene {
  readonly a: RunProcess;
  readonly b: RunProcess;
  readonly producer: ScriptedProducer;
  readonly here: RunViewer;
  readonly there: RunViewer;
  /** The broker, for faults of the store. */
  readonly store: Awaited<ReturnType<typeof runProcesses>>['store'];
  /** The name of the log of the run. */
  readonly log: string;
}

async function scene(context: ContractContext, options: Parameters<typeof runProcesses>[1] = {}): Promise<Scene> {
  const { a, b, store } = await runProcesses(context, options);
  const producer = new ScriptedProducer().push(1);
  const here = new RunViewer(context, await a.runs.start('run', producer.produce));
  const there = new RunViewer(context, await b.runs.join('run'));
  await Promise.all([here.count(1), there.count(1)]);
  await context.until('The producer knows its viewers', async () => producer.calls[0]?.viewers === 2);
  const log = `~runs/${a.name}/${createHash('sha256').update('run').digest('hex')}`;
  return { a, b, store, producer, here, there, log };
}

async function losesAProcess(context: ContractContext): Promise<void> {
  const { a, b, producer, there } = await scene(context);
  producer.push(2);
  await there.count(2);

  await a.die();

  assert.equal((await b.runs.get('run'))?.status, 'lost');
  await there.receives([1, 2], 'run-lost');
  await new RunViewer(context, await b.runs.join('run')).receives([1, 2], 'run-lost');
  const next = new ScriptedProducer().push('new 1');
  const viewer = new RunViewer(context, await b.runs.start('run', next.produce));
  await viewer.count(1);
  // The process was not dead. It finds out that the run is not its own any more.
  producer.push('zombie');
  await a.link.heal();
  await context.until('The zombie is aborted', async () => producer.aborts.length > 0);
  assert.deepEqual(producer.aborts, ['error']);
  next.push('new 2').end();
  await viewer.receives(['new 1', 'new 2']);
  await new RunViewer(context, await a.runs.join('run')).receives(['new 1', 'new 2']);
}

async function noticesALease(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { lease: SHORT_LEASE_MS });
  const producer = new ScriptedProducer().push(1);
  await a.runs.start('run', producer.produce);
  const viewer = new RunViewer(context, await b.runs.join('run'));
  await viewer.count(1);

  a.link.cut();

  // Nobody asks for the run, and it produces nothing.
  await viewer.receives([1], 'run-lost');
  assert.equal((await b.runs.get('run'))?.status, 'lost');
}

async function survivesAShortCut(context: ContractContext): Promise<void> {
  for (const pick of ['a', 'b'] as const) {
    const cut = await scene(context);
    const { link } = cut[pick];
    const chunks = range(2, 400);
    link.cut();
    cut.producer.push(...chunks);
    await pause(150);
    await link.heal();
    await cut.there.count(400);
    link.cut();
    cut.producer.end();
    await pause(100);
    await link.heal();

    await cut.here.receives([1, ...chunks]);
    await cut.there.receives([1, ...chunks]);
    assert.equal((await cut.b.runs.get('run'))?.status, 'completed');
  }
}

async function appendsOnceDespiteALostAnswer(context: ContractContext): Promise<void> {
  const { a, b, producer, here, there } = await scene(context);
  a.link.loseAnswer();
  producer.push(2, 3);
  await Promise.all([here.count(3), there.count(3)]);
  a.link.loseAnswer();
  producer.push(4).end();

  await here.receives([1, 2, 3, 4]);
  await there.receives([1, 2, 3, 4]);
  a.link.loseAnswer();
  const next = new ScriptedProducer().push(5).end();
  const started = new RunViewer(context, await a.runs.start('next', next.produce));
  await started.receives([5]);
  await new RunViewer(context, await b.runs.join('next')).receives([5]);
}

async function givesUpAfterALongCut(context: ContractContext): Promise<void> {
  const { a, b, producer, here, there } = await scene(context, { lease: SHORT_LEASE_MS });

  a.link.cut();
  producer.push('never appended');

  await here.receives([1], 'run-lost');
  assert.deepEqual(producer.aborts, ['error']);
  await a.link.heal();
  await there.receives([1], 'run-lost');
  await context.until('The log says how it has ended', async () => (await b.runs.get('run'))?.status === 'lost');
  await new RunViewer(context, await b.runs.join('run')).receives([1], 'run-lost');
}

async function noticesALostLog(context: ContractContext): Promise<void> {
  for (const idle of [false, true]) {
    const { a, b, store, producer, here, there, log } = await scene(context, { lease: SHORT_LEASE_MS });

    // As a server that was restarted without its data.
    await store.drop(a.lease);
    await store.drop(log);
    if (!idle) {
      producer.push(2);
    }

    await there.receives([1], 'run-lost');
    const next = await context.within(
      b.runs.start('run', () => ['again']),
      'start() works',
    );
    await new RunViewer(context, next).receives(['again']);
    producer.push(3);
    assert.equal(await here.end(), 'run-lost');
    await context.until('The producer is aborted', async () => producer.aborts.length > 0);
    await new RunViewer(context, await a.runs.join('run')).receives(['again']);
  }
}

async function forgetsViewersOfTheDead(context: ContractContext): Promise<void> {
  const { b, producer, here } = await scene(context, { onDisconnect: 'cancel', lease: SHORT_LEASE_MS });

  await b.die();
  await here.leave();

  await context.until('The run is aborted', async () => producer.aborts.length > 0);
  assert.deepEqual(producer.aborts, ['client-closed']);
}

async function countsViewersAgain(context: ContractContext): Promise<void> {
  const { b, producer, there } = await scene(context, { lease: SHORT_LEASE_MS });

  await b.die();
  await context.until('The viewers of the process do not count', async () => producer.calls[0]?.viewers === 1);
  await b.link.heal();
  await context.until('They count again', async () => producer.calls[0]?.viewers === 2);

  b.link.cut();
  await there.leave();
  await pause(700);
  await b.link.heal();
  await context.until('A viewer who has left does not count', async () => producer.calls[0]?.viewers === 1);
}

async function survivesRealCuts(context: ContractContext, cut: NonNullable<BrokerContractSetup['cut']>): Promise<void> {
  const { a, b, producer, here, there } = await scene(context);
  for (const n of range(1, 6)) {
    producer.push(...range(n * 50 - 48, n * 50 + 1));
    await turns(n % 3);
    await cut((n % 2 === 0 ? a : b).link.broker as Broker);
    await there.count(n * 50 + 1);
  }
  producer.end();

  await here.receives(range(1, 301));
  await there.receives(range(1, 301));
}

async function survivesAStoreThatHangs(context: ContractContext, freezing: Freezing): Promise<void> {
  const { b, producer, here, there } = await scene(context);

  await context.whileFrozen(freezing, async () => {
    producer.push(2, 3);
    await pause(500);
  });

  await Promise.all([here.count(3), there.count(3)]);
  producer.end();
  await here.receives([1, 2, 3]);
  await there.receives([1, 2, 3]);
  await context.until('The end is known', async () => {
    return (await b.runs.get('run').catch(() => undefined))?.status === 'completed';
  });
}

async function noticesLostRecords(
  context: ContractContext,
  rewind: NonNullable<BrokerContractSetup['rewind']>,
): Promise<void> {
  const { b, producer, here, there, log } = await scene(context, { lease: 3_000 });
  producer.push(2, 3, 4);
  await Promise.all([here.count(4), there.count(4)]);

  await rewind(log, 2);
  producer.push(5);

  assert.equal(await here.end(), 'run-lost');
  assert.equal(await there.end(), 'run-lost');
  assert.deepEqual(here.chunks.slice(0, 4), [1, 2, 3, 4]);
  await context.until('The log says how it has ended', async () => {
    return (await b.runs.get('run').catch(() => undefined))?.status === 'lost';
  });
}

/** The cases in which processes, connections or records are lost. Some need a function of the setup. */
export function runStoreCases({ cut, rewind, freeze, thaw }: BrokerContractSetup): readonly Case[] {
  const freezing = freeze && thaw && { freeze, thaw };
  return [
    [
      'viewers of a run whose process has crashed receive its chunks and then an error, and it can be started again',
      losesAProcess,
    ],
    ['viewers of a run whose process has crashed learn it when its lease has run out', noticesALease],
    ['a chunk and an end whose answer was lost are appended once', appendsOnceDespiteALostAnswer],
    ['a run and its viewers survive a short time without the store', survivesAShortCut],
    ['a run whose process cannot reach the store for longer than its lease is lost for all', givesUpAfterALongCut],
    ['a run whose log the store has lost is lost for all, and can be started again', noticesALostLog],
    ['the viewers of a process that has crashed do not count', forgetsViewersOfTheDead],
    ['the viewers of a process that was taken for dead count again', countsViewersAgain],
    ...(cut
      ? [
          [
            'a run survives that connections are cut while it produces',
            (context: ContractContext) => survivesRealCuts(context, cut),
          ] as const,
        ]
      : []),
    ...(freezing
      ? [
          [
            'a run survives a store that does not answer for a while',
            (context: ContractContext) => survivesAStoreThatHangs(context, freezing),
          ] as const,
        ]
      : []),
    ...(rewind
      ? [
          [
            'a run whose newest chunks the store has lost is lost for all',
            (context: ContractContext) => noticesLostRecords(context, rewind),
          ] as const,
        ]
      : []),
  ];
}
