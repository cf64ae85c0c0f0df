import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type Case, type ContractContext, turns } from './contract-context.js';
import { range } from './entries.js';
import { codeOf, RunViewer, ScriptedProducer } from './run-actors.js';
import { runProcesses } from './run-process.js';

const PAIRS = 20;
const ENDS = 100;
const MANY = 10_000;
const LARGE_CHARACTERS = 5_000_000;
const ODD_IDS = [' ', '..', '../a', 'a/b', 'a\0b', '\r\n', '\u0007', '{a}', '*', '~', 'Ünï 😀', 'x'.repeat(1_024)];

async function electsOneProducer(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);

  for (const n of range(1, PAIRS)) {
    const id = `pair ${n}`;
    const producers = [new ScriptedProducer(), new ScriptedProducer()] as const;
    const starts = [a.runs.start(id, producers[0].produce), b.runs.start(id, producers[1].produce)];
    const viewers = (await Promise.all(starts)).map((view) => new RunViewer(context, view));
    for (const producer of producers) {
      producer.push('one', n).end();
    }

    await Promise.all(viewers.map((viewer) => viewer.receives(['one', n])));
    const [first, second] = producers.map(({ calls }) => calls.length);
    assert.equal((first ?? 0) + (second ?? 0), 1, 'Of two calls of start() at the same time, one starts the run');
  }
}

async function joinsBeforeTheFirstChunk(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const producer = new ScriptedProducer();
  await a.runs.start('run', producer.produce);
  const viewers = [
    new RunViewer(context, await b.runs.join('run')),
    new RunViewer(context, await a.runs.join('run')),
    new RunViewer(context, await b.runs.join('run', { from: 'now' })),
  ];
  await turns();

  producer.push('one', 'two').end();

  await Promise.all(viewers.map((viewer) => viewer.receives(['one', 'two'])));
}

async function joinsAtTheEnd(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);

  for (const n of range(1, ENDS)) {
    const id = `end ${n}`;
    const producer = new ScriptedProducer().push('one');
    const first = new RunViewer(context, await a.runs.start(id, producer.produce));
    await first.count(1);
    producer.push('two').end();
    await turns(n % 5);
    // Another number of steps within the turn.
    for (const _ of range(1, n % 7)) {
      await undefined;
    }
    const process = n % 2 === 0 ? a : b;
    const viewer = new RunViewer(context, await process.runs.join(id));

    await viewer.receives(['one', 'two']);
    await first.receives(['one', 'two']);
    assert.equal((await b.runs.get(id))?.status, 'completed');
  }
}

async function replaysWhatIsOver(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const producer = new ScriptedProducer().push('one', 'two').end();
  const first = new RunViewer(context, await a.runs.start('run', producer.produce));
  await first.receives(['one', 'two']);

  for (const { runs } of [a, b]) {
    await new RunViewer(context, await runs.join('run')).receives(['one', 'two']);
    const [id, last] = first.events.map((event) => event.id);
    await new RunViewer(context, await runs.join('run', { after: id })).receives(['two']);
    for (const options of [{ after: last }, { ended: 'none' }, { from: 'now' }] as const) {
      const view = await runs.join('run', options);
      assert.equal(view.found, false, `There is nothing to send with ${JSON.stringify(options)}`);
      await new RunViewer(context, view).receives([]);
    }
    assert.equal(await codeOf(runs.join('run', { ended: 'none', orElse: 404 })), 'run-unknown');
    await new RunViewer(context, await runs.join('unknown')).receives([]);
    assert.equal(await codeOf(runs.join('unknown', { orElse: 404 })), 'run-unknown');
  }
}

async function forgetsWhatIsOver(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { keep: 200 });
  const producer = new ScriptedProducer();
  await a.runs.start('run', producer.produce);
  // It is kept for longer than that while it runs.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const viewer = new RunViewer(context, await b.runs.join('run'));
  producer.push('one').end();
  await viewer.receives(['one']);

  for (const { runs } of [a, b]) {
    await context.until('A run that is over is forgotten', async () => !(await runs.join('run')).found);
    assert.equal(await runs.get('run'), undefined);
  }
  const again = new ScriptedProducer().push('again').end();
  const view = new RunViewer(context, await b.runs.start('run', again.produce));
  await view.receives(['again']);
}

async function resumesInTheMiddle(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const producer = new ScriptedProducer().push(1, 2, 3);
  const first = new RunViewer(context, await a.runs.start('run', producer.produce));
  await first.count(3);
  const after = first.events[1]?.id;
  await first.leave();

  const viewers: RunViewer[] = [];
  for (const { runs } of [a, b]) {
    viewers.push(new RunViewer(context, await runs.join('run', { after })));
    viewers.push(new RunViewer(context, await runs.join('run', { after: '' })));
    viewers.push(new RunViewer(context, await runs.join('run', { from: 'now' })));
    viewers.push(new RunViewer(context, await runs.join('run', { from: 'now', after })));
  }
  await Promise.all(viewers.map((viewer, index) => viewer.count([1, 3, 0, 1][index % 4] ?? 0)));
  producer.push(4).end();

  const expected = [[3, 4], [1, 2, 3, 4], [4], [3, 4]];
  await Promise.all(viewers.map((viewer, index) => viewer.receives(expected[index % 4] ?? [])));
  assert.equal(new Set(viewers.map(({ lastId }) => lastId)).size, 1, 'A chunk has the same id for all viewers');
}

async function resetsUnknownIds(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const ids = new Map<string, string>();
  for (const id of ['run', 'other']) {
    const producer = new ScriptedProducer().push(`${id} of before`).end();
    const viewer = new RunViewer(context, await a.runs.start(id, producer.produce));
    await viewer.end();
    ids.set(id, viewer.lastId ?? '');
  }
  const producer = new ScriptedProducer().push('new 1', 'new 2').end();
  await new RunViewer(context, await b.runs.start('run', producer.produce)).receives(['new 1', 'new 2']);

  for (const after of [ids.get('run') ?? '', ids.get('other') ?? '', 'nonsense', `${ids.get('run')}zz`]) {
    const viewer = new RunViewer(context, await a.runs.join('run', { after }));
    await viewer.receives(['new 1', 'new 2']);
    assert.equal(
      viewer.events[0]?.type,
      'reset',
      `The id ${after} is not of this run, and the viewer receives a reset`,
    );
  }
}

async function waitsForNoViewer(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const chunks = range(1, 2_000).map((n) => `${n} ${'x'.repeat(100)}`);
  const producer = new ScriptedProducer().push(...chunks).end();
  await a.runs.start('run', producer.produce);
  const stalled = (await b.runs.join('run'))[Symbol.asyncIterator]();
  const first = await stalled.next();
  const here = (await a.runs.join('run'))[Symbol.asyncIterator]();
  await here.next();

  const viewer = new RunViewer(context, await b.runs.join('run'));
  await viewer.receives(chunks);

  for (const iterator of [stalled, here]) {
    const rest: unknown[] = [];
    for (let step = await iterator.next(); !step.done; step = await iterator.next()) {
      rest.push(step.value.data);
    }
    assert.deepEqual(rest, chunks.slice(1), 'A viewer who was slow receives the rest');
  }
  assert.equal(first.value?.data, chunks[0]);
}

async function keepsEqualChunks(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const chunks = range(1, 500).map(() => 'the same');
  const producer = new ScriptedProducer().push(...chunks).end();
  const viewers = [
    new RunViewer(context, await a.runs.start('run', producer.produce)),
    new RunViewer(context, await b.runs.join('run')),
  ];

  for (const viewer of viewers) {
    await viewer.receives(chunks);
    assert.equal(new Set(viewer.events.map(({ id }) => id)).size, chunks.length, 'Each chunk has an id of its own');
  }
}

async function keepsManyAndLargeChunks(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { limits: { bytes: 4 * LARGE_CHARACTERS } });
  const chunks = range(1, MANY).map((n) => String(n).padStart(20, '.'));
  const producer = new ScriptedProducer().push(...chunks).end();
  const early = new RunViewer(context, await a.runs.start('many', producer.produce));
  await early.receives(chunks);
  await new RunViewer(context, await b.runs.join('many')).receives(chunks);
  assert.deepEqual((await b.runs.get('many'))?.items, MANY);

  const large = 'Ü'.repeat(LARGE_CHARACTERS / 2);
  const other = new ScriptedProducer().push('small', large, 'small').end();
  const views = [await a.runs.start('large', other.produce), await b.runs.join('large')];
  await Promise.all(views.map((view) => new RunViewer(context, view).receives(['small', large, 'small'])));
}

async function keepsIdsApart(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const views = await Promise.all(ODD_IDS.map((id) => a.runs.start(id, () => [`chunk of ${id}`])));
  await Promise.all(views.map((view) => new RunViewer(context, view).end()));

  for (const id of ODD_IDS) {
    await new RunViewer(context, await b.runs.join(id)).receives([`chunk of ${id}`]);
    assert.equal((await b.runs.get(id))?.id, id);
  }
  for (const id of ['', 'x'.repeat(1_025), 'Ü'.repeat(513), '\ud800']) {
    for (const call of [a.runs.start(id, () => []), a.runs.join(id), a.runs.stop(id), a.runs.get(id)]) {
      assert.equal(await codeOf(call), 'invalid-id');
    }
  }
}

async function endsViews(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { onDisconnect: 'cancel' });
  const producer = new ScriptedProducer().push(1, 2, 3);
  const neverRead = await a.runs.start('run', producer.produce);
  const seen: unknown[] = [];
  for await (const { data } of await b.runs.join('run')) {
    seen.push(data);
    if (data === 2) {
      break;
    }
  }
  assert.deepEqual(seen, [1, 2]);

  await context.until('The run is stopped when the loop is left', async () => producer.aborts.length > 0);
  assert.deepEqual(producer.aborts, ['client-closed']);
  neverRead.close();
  const closed = await b.runs.join('run');
  closed.close();
  assert.throws(() => closed[Symbol.asyncIterator](), { code: 'invalid-source' });
}

async function decidesAboutConflicts(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context);
  const first = new ScriptedProducer().push('first');
  const viewer = new RunViewer(context, await a.runs.start('run', first.produce));
  const second = new ScriptedProducer().push('second');

  assert.equal(await codeOf(b.runs.start('run', second.produce, { onConflict: 'reject' })), 'run-exists');
  const joined = new RunViewer(context, await b.runs.start('run', second.produce));
  await joined.count(1);
  assert.deepEqual(joined.chunks, ['first']);
  assert.equal(second.calls.length, 0);
  const replaced = new RunViewer(context, await b.runs.start('run', second.produce, { onConflict: 'replace' }));

  await viewer.receives(['first'], 'run-stopped');
  await joined.receives(['first'], 'run-stopped');
  assert.deepEqual(first.aborts, ['stopped']);
  second.end();
  await replaced.receives(['second']);
  const third = new ScriptedProducer().push('third').end();
  await new RunViewer(context, await a.runs.start('run', third.produce, { ended: 'replay' })).receives(['second']);
  assert.equal(third.calls.length, 0);
  await new RunViewer(context, await a.runs.start('run', third.produce)).receives(['third']);
}

async function startsAgainAtOnce(context: ContractContext): Promise<void> {
  const { a, b } = await runProcesses(context, { onDisconnect: 'cancel', keep: 300 });
  const id = randomUUID();
  for (const n of range(1, 10)) {
    const producer = new ScriptedProducer().push(n);
    const process = n % 3 === 0 ? b : a;
    const viewer = new RunViewer(context, await process.runs.start(id, producer.produce));
    producer.end();
    await viewer.receives([n]);
  }
  // The end of an earlier run concerns neither the log of this one, nor its place in its process.
  const last = new ScriptedProducer().push('last');
  const viewer = new RunViewer(context, await a.runs.start(id, last.produce));
  const other = new RunViewer(context, await b.runs.join(id));
  await Promise.all([viewer.count(1), other.count(1)]);
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.equal((await b.runs.get(id))?.status, 'running');
  assert.equal((await a.runs.list({ status: 'running' })).length, 1);
  await viewer.leave();
  await other.leave();

  await context.until('It is stopped when its viewers have left', async () => last.aborts.length > 0);
  assert.deepEqual(last.aborts, ['client-closed']);
  assert.deepEqual([...a.warnings, ...b.warnings], []);
}

/** The cases for viewers. */
export const RUN_VIEW_CASES: readonly Case[] = [
  [
    'of two calls of start() with one id in two processes, one starts the run, and the other views it',
    electsOneProducer,
  ],
  ['a viewer who joins before the first chunk receives all chunks', joinsBeforeTheFirstChunk],
  ['a viewer who joins at the moment of the end receives all chunks and the end', joinsAtTheEnd],
  ['a run that is over is replayed in every process', replaysWhatIsOver],
  ['a run that is over is forgotten after `keep`', forgetsWhatIsOver],
  ['a viewer who comes back in the middle continues after its id in every process', resumesInTheMiddle],
  ['a viewer with an id of another run receives a reset, and the run from its start', resetsUnknownIds],
  ['a viewer who does not read delays neither the run nor other viewers', waitsForNoViewer],
  ['equal chunks of one moment all arrive, each with an id of its own', keepsEqualChunks],
  ['a run of 10 000 chunks, and a chunk of 5 MB, arrive in every process', keepsManyAndLargeChunks],
  ['runs with any ids of up to 1 024 bytes are kept apart', keepsIdsApart],
  ['a view ends when its loop is left, and when it is closed', endsViews],
  ['start() joins, rejects, replaces or replays a run with the same id, as its options say', decidesAboutConflicts],
  ['a run is started again at once after its end, and keeps its own log and place', startsAgainAtOnce],
];
