import assert from 'node:assert/strict';
import type { Run } from '../../run/run.options.js';
import { type Case, type ContractContext, turns } from './contract-context.js';
import { range } from './entries.js';
import { RunViewer, ScriptedProducer } from './run-actors.js';
import { runProcesses } from './run-process.js';

const BOOM = new Error('boom');
/** What viewers receive about {@link BOOM}, in every process. */
const REMOTE = 'remote Error: boom';
const RACES = 20;

async function abortsWhenAllHaveLeft(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { onDisconnect: 'cancel' });
  const producer = new ScriptedProducer().push(1);
  const first = new RunViewer(context, await a.runs.start('run', producer.produce));
  const second = new RunViewer(context, await b.runs.join('run'));
  const third = new RunViewer(context, await b.runs.join('run'));
  await Promise.all([first.count(1), second.count(1), third.count(1)]);
  await context.until('The producer knows its viewers', async () => producer.calls[0]?.viewers === 3);

  await first.leave();
  await second.leave();
  producer.push(2);
  await third.count(2);
  assert.deepEqual(producer.aborts, []);
  await third.leave();

  await context.until('The run is stopped', async () => (await b.runs.get('run'))?.status === 'stopped');
  assert.deepEqual(producer.aborts, ['client-closed'], 'The signal is aborted exactly once');
  assert.equal((await a.runs.get('run'))?.reason, 'client-closed');
}

async function abortsSomeTimeAfter(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { onDisconnect: { detach: 1_500 } });
  const producer = new ScriptedProducer().push(1);
  const first = new RunViewer(context, await a.runs.start('run', producer.produce));
  await first.count(1);
  await first.leave();
  const back = new RunViewer(context, await b.runs.join('run', { after: first.lastId }));
  await context.until('The viewer who came back is counted', async () => producer.calls[0]?.viewers === 1);

  await new Promise((resolve) => setTimeout(resolve, 1_600));
  assert.deepEqual(producer.aborts, [], 'A viewer who comes back in time stops the clock');
  producer.push(2);
  await back.count(1);
  await back.leave();

  await context.until('The run is stopped', async () => producer.aborts.length > 0);
  await context.until('The end is in the log', async () => (await b.runs.get('run'))?.status === 'stopped');
  assert.deepEqual(producer.aborts, ['client-closed']);
}

async function goesOnDetached(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { onDisconnect: 'detach' });
  const chunks = range(1, 3_000).map((n) => `${n} ${'x'.repeat(100)}`);
  const producer = new ScriptedProducer().push(1);
  const viewer = new RunViewer(context, await a.runs.start('run', producer.produce));
  await viewer.count(1);
  await viewer.leave();

  producer.push(...chunks).end();
  await context.until('The run completes', async () => (await a.runs.get('run'))?.status === 'completed');

  await new RunViewer(context, await b.runs.join('run', { after: viewer.lastId })).receives(chunks);
  assert.deepEqual(producer.aborts, []);
}

async function stopsEverywhere(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  for (const stopping of [a, b]) {
    const id = stopping === a ? 'here' : 'elsewhere';
    const producer = new ScriptedProducer().push(1);
    const viewers = [await a.runs.start(id, producer.produce), await b.runs.join(id)].map(
      (view) => new RunViewer(context, view),
    );
    await Promise.all(viewers.map((viewer) => viewer.count(1)));

    await context.within(stopping.runs.stop(id), 'stop() resolves');

    assert.deepEqual(producer.aborts, ['stopped'], 'When stop() resolves, the signal is aborted');
    assert.equal((await b.runs.get(id))?.status, 'stopped');
    await Promise.all(viewers.map((viewer) => viewer.receives([1], 'run-stopped')));
    await new RunViewer(context, await a.runs.join(id)).receives([1], 'run-stopped');
    const { lastId } = viewers[0] ?? {};
    assert.equal((await b.runs.join(id, { after: lastId })).found, false, 'Who has all of it need not come back');
  }
  assert.deepEqual([...a.warnings, ...b.warnings], [], 'A stop is no fault');
}

async function stopsWhatDoesNotRun(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  await new RunViewer(context, await a.runs.start('over', () => [1])).receives([1]);
  await b.runs.stop('over');
  assert.equal((await b.runs.get('over'))?.status, 'completed');
  await b.runs.stop('early');
  await b.runs.stop('mine', { owner: 'me' });
  await b.runs.stop('yours', { owner: 'me' });
  await b.runs.stop('yours', { owner: 'me' });
  let calls = 0;
  const produce = (): unknown[] => {
    calls++;
    return [1];
  };
  const start = async (id: string, owner: string): Promise<RunViewer> => {
    return new RunViewer(context, await a.runs.start(id, produce, { owner }));
  };

  await (await start('early', 'you')).receives([], 'run-stopped');
  await (await start('mine', 'me')).receives([], 'run-stopped');
  assert.equal(calls, 0, 'A run that was stopped before is not produced');
  await (await start('yours', 'you')).receives([1]);
  await (await start('early', 'you')).receives([1]);
}

async function stopsDuringTheStart(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  for (const n of range(1, RACES)) {
    const id = `race ${n}`;
    const producer = new ScriptedProducer().push(1);
    const starting = a.runs.start(id, producer.produce);
    await turns(n % 3);
    const stopping = b.runs.stop(id);
    const viewer = new RunViewer(context, await starting);
    assert.equal(await viewer.end(), 'run-stopped', 'A stop is not lost, whenever it comes');
    await context.within(stopping, 'stop() resolves');
    assert.equal((await b.runs.get(id))?.status, 'stopped');
  }
}

async function endsOnceInARace(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  for (const n of range(1, RACES)) {
    const id = `race ${n}`;
    const producer = new ScriptedProducer().push(1);
    const viewers = [await a.runs.start(id, producer.produce), await b.runs.join(id)].map(
      (view) => new RunViewer(context, view),
    );
    await Promise.all(viewers.map((viewer) => viewer.count(1)));
    const stopping = [b.runs.stop(id), a.runs.get(id).then(() => a.runs.stop(id))];
    await turns(n % 3);
    producer.push(2).end();

    await context.within(Promise.all(stopping), 'stop() resolves');
    const { status } = (await b.runs.get(id)) ?? {};
    const [here, there] = await Promise.all(viewers.map((viewer) => viewer.end()));
    assert.equal(here, status === 'completed' ? 'completed' : 'run-stopped');
    assert.equal(there, here, 'All viewers receive the same end, which is that of the log');
    assert.deepEqual(viewers[1]?.chunks, viewers[0]?.chunks);
  }
}

async function stopsWhoIgnoresItsSignal(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { maxDuration: 60_000 });
  const producer = new ScriptedProducer(true).push(1);
  const viewer = new RunViewer(context, await a.runs.start('run', producer.produce));
  await viewer.count(1);
  const hangs = await a.runs.start('hangs', () => new Promise<Run[]>(() => undefined));

  await context.within(Promise.all([b.runs.stop('run'), b.runs.stop('hangs')]), 'stop() resolves');
  producer.push('late').end();
  await turns(3);

  await viewer.receives([1], 'run-stopped');
  await new RunViewer(context, await b.runs.join('run')).receives([1], 'run-stopped');
  await new RunViewer(context, hangs).receives([], 'run-stopped');
}

async function tellsErrors(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  for (const chunks of [[], [1, 2]]) {
    const id = `after ${chunks.length}`;
    const producer = new ScriptedProducer();
    const here = new RunViewer(context, await a.runs.start(id, producer.produce));
    const there = new RunViewer(context, await b.runs.join(id));
    await turns();
    producer.push(...chunks).fail(BOOM);

    await here.receives(chunks, REMOTE);
    await there.receives(chunks, REMOTE);
    for (const { runs } of [a, b]) {
      await new RunViewer(context, await runs.join(id)).receives(chunks, REMOTE);
    }
    assert.equal((await b.runs.get(id))?.status, 'failed');
  }
  assert.equal(a.warnings.length, 2, 'A run that fails is reported once, by its process');
  assert.deepEqual(b.warnings, []);
}

async function tellsErrorsWithoutViewers(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const throwing: [string, (run: Run) => Iterable<unknown> | Promise<never>][] = [
    ['thrown', () => Promise.reject(BOOM)],
    // A function is no source.
    ['unreadable', () => new ScriptedProducer().push(1).produce as never],
    ['unserializable', () => [1n]],
  ];
  for (const [id, produce] of throwing) {
    await a.runs.start(id, produce);
    await context.until(`The run fails: ${id}`, async () => (await b.runs.get(id))?.status === 'failed');
  }
  assert.equal(a.warnings.length, throwing.length);
  const late = new ScriptedProducer(true).push(1);
  await a.runs.start('late', late.produce);
  await a.runs.stop('late');
  late.fail(BOOM);

  await context.until('An error after the end is reported', async () => a.warnings.length === throwing.length + 1);
  assert.equal((await b.runs.get('late'))?.status, 'stopped');
}

async function limitsDurationAndSize(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { maxDuration: 200, keep: 60_000, limits: { bytes: 100, items: 5 } });
  const producer = new ScriptedProducer(true).push(1);
  const viewer = new RunViewer(context, await a.runs.start('long', producer.produce));
  assert.equal(await viewer.end(), 'run-stopped');
  assert.deepEqual(producer.aborts, ['deadline']);
  assert.equal((await b.runs.get('long'))?.reason, 'deadline');

  for (const chunks of [range(1, 6), ['x'.repeat(101)]]) {
    const other = new ScriptedProducer().push(...chunks);
    const large = new RunViewer(context, await a.runs.start(`${chunks.length}`, other.produce));
    assert.equal(await large.end(), 'too-large');
    assert.ok(large.chunks.length <= 5);
    assert.equal((await b.runs.get(`${chunks.length}`))?.status, 'failed');
    assert.deepEqual(other.aborts, ['error']);
  }
}

/** The cases for everything that ends a run. */
export const RUN_END_CASES: readonly Case[] = [
  ['a run is aborted once when the last viewer in all processes has left', abortsWhenAllHaveLeft],
  ['a run is aborted some time after its last viewer has left, unless one comes back', abortsSomeTimeAfter],
  ['a run without viewers goes on, however much it produces', goesOnDetached],
  ['a run is stopped from any process, and all viewers learn it', stopsEverywhere],
  ['stop() of a run that is over does nothing, and of one that is not started yet is remembered', stopsWhatDoesNotRun],
  ['stop() while a run is being started in another process stops it', stopsDuringTheStart],
  ['a run that is stopped while it ends has one end, the same for all', endsOnceInARace],
  ['a producer that ignores its signal, or hangs, is stopped', stopsWhoIgnoresItsSignal],
  ['all viewers receive the chunks of a run that fails, and the same error', tellsErrors],
  ['a run that fails without viewers, or after its end, is reported once', tellsErrorsWithoutViewers],
  ['a run over its maximum duration or size ends', limitsDurationAndSize],
];
