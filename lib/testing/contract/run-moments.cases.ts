import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { namingOf } from '../../run/run-naming.js';
import { GONE } from '../../run/run-record.js';
import type { RunView } from '../../run/run-view.js';
import type { Runs } from '../../run/runs.js';
import { atMost } from '../../util/at-most.js';
import { StreamError } from '../../util/errors.js';
import type { Case, ContractContext } from './contract-context.js';
import { readAll } from './entries.js';
import { RunViewer, ScriptedProducer } from './run-actors.js';
import { LONG_MS, type RunsBroker, runClients } from './run-logs.js';
import { RunProcess, runProcesses } from './run-process.js';

const OWNER = 'one';
const ANOTHER = 'two';
const SECRET = 'secret';

/** Something that another process does to a run. May return a check for when the call is over. */
type Change = (runs: Runs, id: string) => Promise<undefined | (() => Promise<void>)>;
/** A call for a run. `known` is the id of one of its chunks, and `unknown` that of a chunk of an earlier run with the same id. */
type Call = (
  runs: Runs,
  id: string,
  chunks: Record<'known' | 'unknown', string | undefined>,
) => Promise<RunView | void>;

const CALLS: readonly Call[] = [
  (runs, id) => runs.join(id, { owner: OWNER }),
  (runs, id) => runs.join(id, { owner: OWNER, from: 'now' }),
  (runs, id, { known }) => runs.join(id, { owner: OWNER, after: known }),
  (runs, id, { unknown }) => runs.join(id, { owner: OWNER, after: unknown }),
  (runs, id) => runs.stop(id, { owner: OWNER }),
  async (runs, id) => {
    const info = await runs.get(id, { owner: OWNER });
    // Each of its runs has one chunk at most.
    assert.ok(
      !info || (info.owner === OWNER && info.items < 2),
      `get() shows the run of another owner: ${JSON.stringify(info)}`,
    );
  },
  (runs, id) => runs.delete(id, { owner: OWNER }),
  (runs, id) => runs.start(id, new ScriptedProducer().push('own').end().produce, { owner: OWNER }),
];

/** How long a call waits for a change, in milliseconds. The change may itself wait for what the process does whose call it is. */
const WAIT_MS = 500;

/** Does something at one moment of a call: before the call reaches the broker, or before it has the answer. */
class Moment {
  private act: (() => Promise<unknown>) | undefined;
  private done: Promise<unknown> | undefined;
  private left = 0;

  /** To be awaited before each call of the broker, and before its answer. */
  readonly pass = async (): Promise<void> => {
    if (this.act && this.left-- === 0) {
      await atMost(WAIT_MS, this.begin());
    }
  };

  /** @param index the number of moments that pass before */
  set(index: number, act: () => Promise<unknown>): void {
    this.left = index;
    this.act = act;
  }

  /** Waits until it is done, and does it if the moment has not come. Returns whether it has come. */
  async end(): Promise<boolean> {
    const hasCome = this.act === undefined;
    await (hasCome ? this.done : this.begin());
    return hasCome;
  }

  private async begin(): Promise<void> {
    this.done = this.act?.();
    this.act = undefined;
    await this.done;
  }
}

/** Runs whose viewers leave, which stops them by default. */
const OPTIONS = { onDisconnect: 'cancel' } as const;

/** The processes of a case. */
interface Actors {
  /** Has the run. */
  readonly a: RunProcess;
  /** Makes the calls. */
  readonly b: RunProcess;
  /** Changes the run: `a`, unless that is taken for dead. */
  readonly other: RunProcess;
  /** A moment of the calls. */
  readonly moment: Moment;
}

/** @param lost whether the process of the run is taken for dead */
async function actorsOf(context: ContractContext, lost: boolean): Promise<Actors> {
  const { one, two } = await runClients(context);
  const options = { ...OPTIONS, name: `contract-${randomUUID()}` };
  const moment = new Moment();
  const start = async (broker: RunsBroker, delay?: () => Promise<void>): Promise<RunProcess> => {
    const process = await RunProcess.start(broker, options, delay);
    context.closeAtEnd(process);
    return process;
  };
  const a = await start(one);
  return { a, b: await start(two, moment.pass), other: lost ? await start(one) : a, moment };
}

/**
 * Lets another process change a run at each moment of a call for it.
 * @param lost whether the process of the run is taken for dead
 */
async function changesAtEveryMoment(context: ContractContext, lost: boolean, change: Change): Promise<void> {
  const { a, b, other, moment } = await actorsOf(context, lost);
  const begin = async (id: string, producer: ScriptedProducer): Promise<RunViewer> =>
    new RunViewer(context, await a.runs.start(id, producer.push('first').produce, { owner: OWNER })).count(1);

  for (const [number, call] of CALLS.entries()) {
    for (let index = 0, more = true; more; index++) {
      const id = `run ${number} ${index}`;
      const before = await begin(id, new ScriptedProducer().end());
      await before.end();
      const now = await begin(id, new ScriptedProducer());
      // A viewer who comes back finds its log open.
      await b.runs.get(id);
      if (lost) {
        await a.loseLease();
      }
      let check: (() => Promise<void>) | undefined;
      moment.set(index, async () => {
        check = await change(other.runs, id);
      });
      const view = await call(b.runs, id, { known: now.lastId, unknown: before.lastId }).catch((error: unknown) => {
        assert.ok(error instanceof StreamError && error.code === 'run-unknown', String(error));
      });
      more = await moment.end();
      // It is read late: the run may have been replaced since the call.
      const viewer = view && new RunViewer(context, view);
      await viewer?.end();
      assert.ok(!viewer?.chunks.includes(SECRET), 'A viewer receives nothing of the run of another owner');
      await check?.();
      await other.runs.delete(id);
      if (lost) {
        await a.regainLease();
      }
    }
  }
}

/** Starts the run of another owner, whose viewer begins to read later. Returns a check that nobody has stopped it. */
async function startSecret(context: ContractContext, runs: Runs, id: string): Promise<() => Promise<void>> {
  const producer = new ScriptedProducer().push(SECRET, SECRET);
  const view = await runs.start(id, producer.produce, { owner: ANOTHER });
  await context.until('The chunks of a run are in its log', async () => (await runs.get(id))?.items === 2);
  return async () => {
    producer.push('last').end();
    await new RunViewer(context, view).receives([SECRET, SECRET, 'last']);
  };
}

const endsIfRemoved = (lost: boolean) => (context: ContractContext) =>
  changesAtEveryMoment(context, lost, async (runs, id) => {
    await runs.delete(id);
    return undefined;
  });

const keepsOwnersApart = (lost: boolean) => (context: ContractContext) =>
  changesAtEveryMoment(context, lost, async (runs, id) => {
    await runs.delete(id);
    return startSecret(context, runs, id);
  });

async function endsIfRemovedEarly(context: ContractContext): Promise<void> {
  const { one, two } = await runClients(context);
  const moment = new Moment();
  const b = await RunProcess.start(two, { ...OPTIONS, name: `contract-${randomUUID()}` }, moment.pass);
  context.closeAtEnd(b);
  for (let index = 0, more = true; more; index++) {
    const id = `run ${index}`;
    const log = namingOf(b.name).logOf(id);
    const producer = new ScriptedProducer();
    moment.set(index, async () => {
      const after = (await one.read(log, 0, 10)).at(-1);
      await (after ? one.create(log, [GONE], LONG_MS, { after }) : producer.end());
    });
    // It produces nothing, so that it does not find that out itself.
    const view = await b.runs.start(id, producer.produce);
    more = await moment.end();
    await new RunViewer(context, view).end();
  }
}

/** Leaves a view in which nothing was read. */
async function leaveUnread(view: RunView): Promise<void> {
  await view[Symbol.asyncIterator]().return?.();
}

/** What a viewer may do with a view of a run in whose place another one has begun. */
const LATE: readonly ((context: ContractContext, view: RunView) => Promise<unknown>)[] = [
  (_, view) => leaveUnread(view),
  (context, view) => new RunViewer(context, view).end(),
];

async function lateViewsDoNotCount(context: ContractContext): Promise<void> {
  const { a, b, store } = await runProcesses(context, OPTIONS);
  for (const [number, look] of LATE.entries()) {
    const id = `run ${number}`;
    const views = [
      await a.runs.start(id, new ScriptedProducer().push('first').end().produce, { owner: OWNER }),
      await b.runs.join(id, { owner: OWNER }),
    ];
    await a.runs.delete(id);
    const check = await startSecret(context, a.runs, id);
    for (const view of views) {
      await look(context, view);
    }
    assert.equal((await a.runs.get(id))?.viewers, 0);
    await check();
    const records = await readAll(store, namingOf(a.name).logOf(id));
    assert.deepEqual(
      records.filter(({ topic }) => topic === '~viewers'),
      [],
      'Viewers of an earlier run are not counted for this one',
    );
  }
}

export const RUN_MOMENT_CASES: readonly Case[] = [
  ['a call for a run that is removed meanwhile, at whatever moment, hangs for nobody', endsIfRemoved(false)],
  ['a call for a lost run that is removed meanwhile, at whatever moment, hangs for nobody', endsIfRemoved(true)],
  ['a run that is removed before its process knows that it has begun ends for its viewers', endsIfRemovedEarly],
  [
    'a call for a run in whose place that of another owner begins neither shows nor stops that one',
    keepsOwnersApart(false),
  ],
  [
    'a call for a lost run in whose place that of another owner begins neither shows nor stops that one',
    keepsOwnersApart(true),
  ],
  ['a view of a run in whose place another one has begun does not count as a viewer of that one', lateViewsDoNotCount],
];
