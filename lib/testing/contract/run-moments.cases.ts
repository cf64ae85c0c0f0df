import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { RunView } from '../../run/run-view.js';
import type { Runs } from '../../run/runs.js';
import { StreamError } from '../../util/errors.js';
import type { Case, ContractContext } from './contract-context.js';
import { RunViewer, ScriptedProducer } from './run-actors.js';
import { runClients } from './run-logs.js';
import { RunProcess } from './run-process.js';

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
  (runs, id) => runs.delete(id, { owner: OWNER }),
  (runs, id) => runs.start(id, new ScriptedProducer().push('own').end().produce, { owner: OWNER }),
];

/** Does something at one moment of a call: before the call reaches the broker, or before it has the answer. */
class Moment {
  private act: (() => Promise<unknown>) | undefined;
  private left = 0;

  /** To be awaited before each call of the broker, and before its answer. */
  readonly pass = async (): Promise<void> => {
    if (this.act && this.left-- === 0) {
      await this.now();
    }
  };

  /** @param index the number of moments that pass before */
  set(index: number, act: () => Promise<unknown>): void {
    this.left = index;
    this.act = act;
  }

  /** Does it unless it was done already. Returns whether it was. */
  async now(): Promise<boolean> {
    const { act } = this;
    this.act = undefined;
    await act?.();
    return act === undefined;
  }
}

/** Lets another process change a run at each moment of a call for it. */
async function changesAtEveryMoment(context: ContractContext, change: Change): Promise<void> {
  const { one, two } = await runClients(context);
  const name = `contract-${randomUUID()}`;
  const moment = new Moment();
  const a = await RunProcess.start(one, { name });
  context.closeAtEnd(a);
  const b = await RunProcess.start(two, { name }, moment.pass);
  context.closeAtEnd(b);
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
      let check: (() => Promise<void>) | undefined;
      moment.set(index, async () => {
        check = await change(a.runs, id);
      });
      const view = await call(b.runs, id, { known: now.lastId, unknown: before.lastId }).catch((error: unknown) => {
        assert.ok(error instanceof StreamError && error.code === 'run-unknown', String(error));
      });
      const viewer = view && new RunViewer(context, view);
      more = await moment.now();
      await viewer?.end();
      assert.ok(!viewer?.chunks.includes(SECRET), 'A viewer receives nothing of the run of another owner');
      await check?.();
      await a.runs.delete(id);
    }
  }
}

async function endsIfRemoved(context: ContractContext): Promise<void> {
  await changesAtEveryMoment(context, async (runs, id) => {
    await runs.delete(id);
    return undefined;
  });
}

async function keepsOwnersApart(context: ContractContext): Promise<void> {
  await changesAtEveryMoment(context, async (runs, id) => {
    await runs.delete(id);
    const producer = new ScriptedProducer().push(SECRET);
    const viewer = new RunViewer(context, await runs.start(id, producer.produce, { owner: ANOTHER }));
    return async () => {
      producer.push('last').end();
      await viewer.receives([SECRET, 'last']);
    };
  });
}

export const RUN_MOMENT_CASES: readonly Case[] = [
  ['a call for a run that is removed meanwhile, at whatever moment, hangs for nobody', endsIfRemoved],
  ['a call for a run in whose place that of another owner begins neither shows nor stops that one', keepsOwnersApart],
];
