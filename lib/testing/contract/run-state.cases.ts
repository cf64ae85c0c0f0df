import assert from 'node:assert/strict';
import { type Case, type ContractContext, turns } from './contract-context.js';
import { range } from './entries.js';
import { codeOf, RunViewer, ScriptedProducer } from './run-actors.js';
import { RunProcess, runProcesses } from './run-process.js';

async function limitsOwners(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { limits: { perOwner: 3 } });
  const producer = new ScriptedProducer();
  const start = (n: number): Promise<string> =>
    codeOf((n % 2 === 0 ? a : b).runs.start(`run ${n}`, producer.produce, { owner: 'me' }));

  const codes = await Promise.all(range(1, 10).map(start));

  assert.equal(codes.filter((code) => code === 'resolved').length, 3, `3 of 10 runs may start at once, not ${codes}`);
  assert.equal(codes.filter((code) => code === 'run-limit').length, 7);
  assert.equal(await codeOf(a.runs.start('other', producer.produce, { owner: 'you' })), 'resolved');
  const [first = 0] = range(1, 10).filter((n) => codes[n - 1] === 'resolved');
  assert.equal(await start(first), 'resolved', 'Who joins needs no place');
  await a.runs.stop(`run ${first}`);
  await context.until('Its place is free when a run is over', async () => (await start(11)) === 'resolved');
  assert.equal(await start(12), 'run-limit');
}

async function countsARunOnce(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { limits: { perOwner: 2 } });
  const producer = new ScriptedProducer();
  for (const id of ['one', 'two']) {
    const starts = [a, b, a, b].map(({ runs }) => runs.start(id, producer.produce, { owner: 'me' }));
    await context.within(Promise.all(starts), 'All calls of start() for one run get a view of it');
  }
  assert.equal(producer.calls.length, 2);
  assert.equal(await codeOf(a.runs.start('three', producer.produce, { owner: 'me' })), 'run-limit');
  assert.equal(await codeOf(b.runs.start('three', producer.produce, { owner: 'me' })), 'run-limit');
}

async function freesThePlacesOfTheDead(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { limits: { perOwner: 1 } });
  const producer = new ScriptedProducer();
  await a.runs.start('one', producer.produce, { owner: 'me' });
  assert.equal(await codeOf(b.runs.start('two', producer.produce, { owner: 'me' })), 'run-limit');

  await a.die();

  assert.equal(await codeOf(b.runs.start('two', producer.produce, { owner: 'me' })), 'resolved');
}

async function limitsRunning(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { limits: { running: 2 } });
  const producer = new ScriptedProducer();

  const codes = await Promise.all(range(1, 5).map((n) => codeOf(a.runs.start(`run ${n}`, producer.produce))));

  assert.equal(codes.filter((code) => code === 'resolved').length, 2, `2 of 5 runs may start at once, not ${codes}`);
  assert.equal(await codeOf(b.runs.start('elsewhere', producer.produce)), 'resolved');
  const first = `run ${codes.indexOf('resolved') + 1}`;
  assert.equal(await codeOf(a.runs.start(first, producer.produce)), 'resolved', 'Who joins needs no place');
  await b.runs.stop(first);
  assert.equal(await codeOf(a.runs.start('next', producer.produce)), 'resolved');
}

async function keepsOwnersApart(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const producer = new ScriptedProducer().push(1);
  await a.runs.start('run', producer.produce, { owner: 'me' });
  for (const { runs } of [a, b]) {
    const owner = 'you';
    assert.equal((await runs.join('run', { owner })).found, false);
    assert.equal(await codeOf(runs.join('run', { owner, orElse: 404 })), 'run-unknown');
    assert.equal(await runs.get('run', { owner }), undefined);
    assert.equal(await codeOf(runs.start('run', () => [], { owner, onConflict: 'replace' })), 'run-unknown');
    await runs.stop('run', { owner });
    await runs.delete('run', { owner });
    // Whoever has an empty view is no viewer of the run.
    (await runs.join('run', { owner })).close();
  }
  assert.deepEqual(producer.aborts, []);
  assert.equal((await b.runs.get('run', { owner: 'me' }))?.status, 'running');
  const viewer = new RunViewer(context, await b.runs.join('run', { owner: 'me' }));
  await viewer.count(1);
  await a.runs.stop('run', { owner: 'me' });
  await viewer.receives([1], 'run-stopped');
}

async function describesRuns(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { lease: 1_500 });
  const producer = new ScriptedProducer().push('four');
  const viewers = [await a.runs.start('run', producer.produce, { owner: 'me' }), await b.runs.join('run')].map(
    (view) => new RunViewer(context, view),
  );
  await Promise.all(viewers.map((viewer) => viewer.count(1)));
  for (const { runs } of [a, b]) {
    await context.until('get() and list() know the figures', async () => {
      const [listed] = await runs.list({ owner: 'me', status: 'running' });
      const info = await runs.get('run');
      return [listed, info].every((each) => each?.items === 1 && each.bytes === 4 && each.viewers === 2);
    });
    assert.deepEqual(await runs.list({ owner: 'you' }), []);
    assert.deepEqual(await runs.list({ status: 'failed' }), []);
  }
  producer.end();
  await Promise.all(viewers.map((viewer) => viewer.receives(['four'])));
  for (const { runs } of [a, b]) {
    const info = await runs.get('run');
    assert.ok(info && (info.endedAt ?? 0) >= info.startedAt);
    assert.deepEqual(
      [info.id, info.status, info.owner, info.items, info.bytes],
      ['run', 'completed', 'me', 1, 4],
      'A run that is over keeps its figures',
    );
    await context.until('list() knows the end', async () => (await runs.list({ status: 'completed' })).length === 1);
  }
}

async function deletesRuns(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const producer = new ScriptedProducer().push(1);
  const viewer = new RunViewer(context, await a.runs.start('run', producer.produce));
  await viewer.count(1);

  await context.within(b.runs.delete('run'), 'delete() resolves');

  assert.deepEqual(producer.aborts, ['stopped']);
  assert.ok(['run-stopped', 'run-lost'].includes((await viewer.end()) ?? ''));
  for (const { runs } of [a, b]) {
    await context.until('The run does not exist', async () => (await runs.get('run')) === undefined);
    assert.equal((await runs.join('run')).found, false);
  }
  await b.runs.delete('run');
  await new RunViewer(context, await b.runs.start('run', () => [2])).receives([2]);
  await a.runs.delete('run');
  assert.equal((await b.runs.join('run')).found, false);
}

async function compactsForLateViewers(context: ContractContext): Promise<void> {
  const join = ([one, two]: readonly unknown[]): unknown[] =>
    typeof one === 'string' && typeof two === 'string' ? [one + two] : [one, two];
  const { a, b } = await runProcesses(context, { compact: join });
  const producer = new ScriptedProducer().push('a', 'b', 'c', 1, 'd');
  const early = new RunViewer(context, await a.runs.start('run', producer.produce));
  await context.until('All is in the log', async () => (await a.runs.get('run'))?.items === 5);
  const late = new RunViewer(context, await b.runs.join('run'));
  await late.count(3);
  assert.deepEqual(late.chunks, ['abc', 1, 'd']);
  const [joined] = late.events;
  const rest = new RunViewer(context, await b.runs.join('run', { after: joined?.id }));
  await rest.count(2);
  producer.push('e').end();
  await late.receives(['abc', 1, 'd', 'e']);
  await rest.receives([1, 'd', 'e']);
  assert.equal(await early.end(), 'completed');
  assert.equal(early.lastId, late.lastId);
}

async function closesWithRuns(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const producer = new ScriptedProducer(true).push(1);
  const detached = new ScriptedProducer();
  const viewers = [await a.runs.start('run', producer.produce), await b.runs.join('run')].map(
    (view) => new RunViewer(context, view),
  );
  await a.runs.start('detached', detached.produce);
  await Promise.all(viewers.map((viewer) => viewer.count(1)));

  await a.runs.drain(0);
  assert.equal(await codeOf(a.runs.start('late', () => [])), 'run-stopped');
  await context.within(a.close(), 'close() resolves');

  assert.deepEqual([...producer.aborts, ...detached.aborts], ['shutdown', 'shutdown']);
  await Promise.all(viewers.map((viewer) => viewer.receives([1], 'run-stopped')));
  for (const id of ['run', 'detached']) {
    assert.equal((await b.runs.get(id))?.reason, 'shutdown');
  }
  await new RunViewer(context, await b.runs.start('detached', () => ['again'])).receives(['again']);
}

async function closesWithViewers(context: ContractContext): Promise<void> {
  const { a, b, store } = await runProcesses(context);
  const producer = new ScriptedProducer().push(1, 2);
  await a.runs.start('run', producer.produce);
  const viewer = new RunViewer(context, await b.runs.join('run'));
  await viewer.count(2);

  await b.runs.drain(0);
  await viewer.receives([1, 2], 'run-elsewhere');
  await context.within(b.close(), 'close() resolves');

  assert.deepEqual(producer.aborts, [], 'The run goes on');
  const c = await RunProcess.start(store, { name: a.name });
  context.closeAtEnd(c);
  const back = new RunViewer(context, await c.runs.join('run', { after: viewer.lastId }));
  await turns();
  producer.push(3).end();
  await back.receives([3]);
}

async function leavesNothing(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { keep: 300, lease: 1_500, limits: { perOwner: 1_000 } });
  const { size } = context.setup;
  const use = async (first: number, last: number): Promise<void> => {
    await Promise.all(
      range(first, last).map(async (n) => {
        const id = `run ${n}`;
        const view = await a.runs.start(id, () => [n], { owner: `owner ${n}` });
        await new RunViewer(context, await b.runs.join(id)).end();
        await new RunViewer(context, view).end();
        await b.runs.stop(id);
      }),
    );
  };
  await use(1, 1);
  await context.until('The first run is forgotten', async () => (await b.runs.get('run 1')) === undefined);
  const before = await size?.();

  for (const n of range(0, 9)) {
    await use(n * 50 + 2, n * 50 + 51);
  }

  for (const n of [2, 251, 501]) {
    await context.until('The runs are forgotten', async () => (await b.runs.get(`run ${n}`)) === undefined);
  }
  if (size) {
    // Each of the two processes has a lease and a list, as a log with one record. One that was late to renew them may have had none before.
    const own = 2 * 2 * 2;
    await context.until('The store has no more than before', async () => Number(await size()) <= Number(before) + own);
  }
}

/** The cases for limits, owners, what is known about runs, and processes that close. */
export const RUN_STATE_CASES: readonly Case[] = [
  ['of 10 runs of one owner that start at once in two processes, 3 start if 3 are allowed', limitsOwners],
  ['a run that is started several times at once counts once for its owner', countsARunOnce],
  ['the runs of a process that has crashed do not count for their owner', freesThePlacesOfTheDead],
  ['of 5 runs that start at once in one process, 2 start if 2 are allowed', limitsRunning],
  ['a run of another owner does not exist', keepsOwnersApart],
  ['get() and list() describe runs of all processes', describesRuns],
  ['delete() stops a run in any process, and removes it', deletesRuns],
  ['compact() joins chunks for those who come late, who resume after the joined ones', compactsForLateViewers],
  ['a process that closes stops its runs, whether they have viewers or not', closesWithRuns],
  ['a process that closes ends views of runs elsewhere, which resume in another process', closesWithViewers],
  ['nothing is left of 500 runs that are over', leavesNothing],
];
