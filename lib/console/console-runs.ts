import { createHash } from 'node:crypto';
import type { RunInfo } from '../run/run.options.js';
import type { Runs } from '../run/runs.js';
import { short } from './stream-description.js';

/** How many runs are shown. */
const SHOWN = 50;
/** How many characters of an id are shown, which may be personal. */
const ID_SHOWN = 12;

/** A run in the form that the page shows. */
interface ConsoleRun extends Pick<RunInfo, 'status' | 'items' | 'bytes' | 'viewers'> {
  /** Identifies the run for the button. It does not contain the id of the run, with which a client could join it. */
  readonly key: string;
  /** The name of the runs, or the route. */
  readonly name: string;
  /** The beginning of the id. Empty for the run of a route. */
  readonly id: string;
  readonly owner: string;
  /** Why it was stopped. */
  readonly reason: string;
  readonly node: string;
  /** In milliseconds. */
  readonly duration: number;
  /** When it ended, in milliseconds since 1970. `null` while it is running. */
  readonly endedAt: number | null;
}

/** The runs of all processes. The broker is asked for them when they are shown, and a later snapshot has them. Until then, it has those of this process. */
export class ConsoleRuns {
  private readonly known = new Map<Runs, readonly RunInfo[]>();
  private readonly asked = new Set<Runs>();

  constructor(private readonly all: Iterable<Runs>) {}

  /** Returns the message for viewers: the runs in progress first, then those that are over, each newest first, and how many more there are. */
  shown(now: number): { readonly runs: readonly ConsoleRun[]; readonly moreRuns: number } {
    const found = [...this.all].flatMap((runs) => this.of(runs).map((info) => ({ runs, info })));
    const isOver = ({ info }: (typeof found)[number]): number => Number(info.status !== 'running');
    found.sort((a, b) => isOver(a) - isOver(b) || startOrEnd(b.info) - startOrEnd(a.info));
    return {
      runs: found.slice(0, SHOWN).map(({ runs, info }) => rowOf(runs, info, now)),
      moreRuns: Math.max(0, found.length - SHOWN),
    };
  }

  /** Starts to stop a run. Returns whether there is one in progress with this key. */
  stop(key: string): boolean {
    for (const runs of this.all) {
      const info = this.of(runs).find(({ id, status }) => status === 'running' && keyOf(runs, id) === key);
      if (info) {
        // If the broker cannot be reached, the run stays in the table.
        runs.stop(info.id).catch(() => undefined);
        return true;
      }
    }
    return false;
  }

  private of(runs: Runs): readonly RunInfo[] {
    if (!this.asked.has(runs)) {
      this.asked.add(runs);
      void this.ask(runs);
    }
    const here = runs.here;
    const own = new Set(here.map(({ id }) => id));
    return [...here, ...(this.known.get(runs) ?? []).filter(({ id, node }) => node !== runs.processId && !own.has(id))];
  }

  private async ask(runs: Runs): Promise<void> {
    try {
      this.known.set(runs, await runs.list());
    } catch {
      // The broker cannot be reached, which the table of hubs says.
      this.known.delete(runs);
    } finally {
      this.asked.delete(runs);
    }
  }
}

function startOrEnd({ startedAt, endedAt }: RunInfo): number {
  return endedAt ?? startedAt;
}

function keyOf(runs: Runs, id: string): string {
  return createHash('sha256').update(`${runs.name}/${id}`).digest('base64url').slice(0, 22);
}

function rowOf(runs: Runs, info: RunInfo, now: number): ConsoleRun {
  const { status, items, bytes, viewers, owner = '', reason = '', node, startedAt, endedAt } = info;
  const { name, id } = runs.describe(info.id);
  return {
    key: keyOf(runs, info.id),
    name,
    id: id.length > ID_SHOWN ? `${id.slice(0, ID_SHOWN)}…` : id,
    owner: short(owner),
    status,
    reason,
    node,
    items,
    bytes,
    viewers,
    duration: Math.max(0, (endedAt ?? now) - startedAt),
    endedAt: endedAt ?? null,
  };
}
