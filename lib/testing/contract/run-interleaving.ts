import { createHash } from 'node:crypto';
import { type ContractContext, turns } from './contract-context.js';
import { codeOf, RunViewer } from './run-actors.js';
import type { RunCommand, RunScript } from './run-commands.js';
import { RunLife, RunWitness } from './run-model.js';
import { RunProcess, type RunProcesses, runProcesses } from './run-process.js';

const IDS = ['one', 'two'] as const;

/** Runs one interleaving on two processes, and checks what all viewers have received. */
export class RunInterleaving {
  private readonly lives = new Map<string, RunLife[]>(IDS.map((id) => [id, []]));
  private readonly witnesses: RunWitness[] = [];
  private readonly pending: { readonly process: RunProcess; readonly call: Promise<unknown> }[] = [];
  private readonly dead = new Set<RunProcess>();
  /** How many calls for an id are in progress that remove its log. */
  private readonly removing = new Map<string, number>();

  private constructor(
    private readonly context: ContractContext,
    private readonly processes: RunProcess[],
    private readonly store: RunProcesses['store'],
  ) {}

  static async begin(context: ContractContext, { delays }: RunScript): Promise<RunInterleaving> {
    const random = randomOf(delays);
    const { a, b, store } = await runProcesses(context, {}, () => turns(Math.floor(random() * 4)));
    return new RunInterleaving(context, [a, b], store);
  }

  async perform(command: RunCommand): Promise<void> {
    switch (command.do) {
      case 'wait':
        return turns(command.turns);
      case 'produce':
        this.newest(command.id)?.produce(command.count);
        return;
      case 'end':
      case 'fail':
        this.newest(command.id)?.finish(command.do);
        return;
      case 'leave':
        this.leave(this.witnesses[command.viewer % (this.witnesses.length || 1)]);
        return;
      case 'lose':
        return this.disturbs(this.id(command.id), this.store.drop(this.logOf(this.id(command.id))));
      case 'cut':
      case 'heal':
      case 'die':
        return this.disturbProcess(this.process(command.process), command.do);
      default:
        this.call(command, this.process(command.process), this.id(command.id));
    }
  }

  /** Lets everything end, and checks all viewers. */
  async finish(): Promise<void> {
    for (const process of this.alive) {
      await process.link.heal();
    }
    const calls = this.pending.filter(({ process }) => !this.dead.has(process)).map(({ call }) => call);
    await this.context.within(Promise.all(calls), 'All calls settle');
    for (const life of [...this.lives.values()].flat()) {
      life.finish('end');
    }
    for (const id of IDS) {
      for (const { runs } of this.alive) {
        await this.context.until(`The run "${id}" is over, also for ${runs.name}`, async () => {
          return (await runs.get(id).catch(() => ({ status: 'running' })))?.status !== 'running';
        });
      }
    }
    for (const witness of this.witnesses.filter(({ process }) => !this.dead.has(process))) {
      await witness.viewer.end();
    }
    for (const id of IDS) {
      RunWitness.audit(
        this.witnesses.filter((each) => each.id === id),
        this.lives.get(id) ?? [],
      );
    }
  }

  async end(): Promise<void> {
    for (const process of this.processes) {
      await process.link.heal();
    }
    await Promise.all(this.processes.map((process) => process.close()));
  }

  private get alive(): RunProcess[] {
    return this.processes.filter((process) => !this.dead.has(process));
  }

  private call(
    command: Extract<RunCommand, { readonly do: 'start' | 'join' | 'stop' | 'delete' }>,
    process: RunProcess,
    id: string,
  ): void {
    const { runs } = process;
    switch (command.do) {
      case 'start':
        this.view(
          { process, id, from: 'start' },
          runs.start(id, (run) => this.newLife(id, process).produceFor(run)),
        );
        return;
      case 'join':
        this.join(command, process, id);
        return;
      case 'stop':
        this.pending.push({ process, call: codeOf(runs.stop(id)) });
        return;
      case 'delete':
        this.pending.push({ process, call: this.disturbs(id, codeOf(runs.delete(id))) });
    }
  }

  private leave(witness: RunWitness | undefined): void {
    if (witness) {
      this.pending.push({ process: witness.process, call: witness.viewer.leave() });
    }
  }

  private join({ from, pick }: Extract<RunCommand, { readonly do: 'join' }>, process: RunProcess, id: string): void {
    const known = this.witnesses
      .filter((each) => each.id === id)
      .flatMap(({ viewer }) => viewer.events.filter(({ type }) => type !== 'reset'));
    const event = from === 'after' ? known[pick % (known.length || 1)] : undefined;
    const start = from === 'now' ? 'now' : 'start';
    const view = process.runs.join(id, event ? { after: event.id } : { from: start });
    this.view({ process, id, from: event ? String(event.data) : start }, view);
  }

  private view(
    parts: Pick<RunWitness, 'process' | 'id' | 'from'>,
    call: ReturnType<RunProcess['runs']['start']>,
  ): void {
    const viewed = call.then((view) => {
      this.witnesses.push(new RunWitness(parts, view.found, new RunViewer(this.context, view)));
    });
    this.pending.push({ process: parts.process, call: viewed.catch(() => undefined) });
  }

  private async disturbProcess(process: RunProcess, what: 'cut' | 'heal' | 'die'): Promise<void> {
    if (this.dead.has(process)) {
      return;
    }
    if (what === 'heal') {
      return process.link.heal();
    }
    process.link.cut();
    // One of them has to stay.
    if (what === 'die' && this.dead.size === 0) {
      this.dead.add(process);
      for (const life of [...this.lives.values()].flat().filter((each) => each.process === process)) {
        life.disturbed = true;
      }
      await process.die();
    }
  }

  private newLife(id: string, process: RunProcess): RunLife {
    const lives = this.lives.get(id) ?? [];
    const life = new RunLife(`${id} ${lives.length + 1}`, process);
    life.disturbed = (this.removing.get(id) ?? 0) > 0;
    lives.push(life);
    return life;
  }

  private newest(id: number): RunLife | undefined {
    return this.lives.get(this.id(id))?.at(-1);
  }

  /** Waits for a call that removes the log of an id, perhaps that of a run which begins in the meantime. */
  private async disturbs(id: string, call: Promise<unknown>): Promise<void> {
    for (const life of this.lives.get(id) ?? []) {
      life.disturbed = true;
    }
    this.removing.set(id, (this.removing.get(id) ?? 0) + 1);
    try {
      await call;
    } finally {
      this.removing.set(id, (this.removing.get(id) ?? 0) - 1);
    }
  }

  private id(index: number): string {
    return IDS[index % IDS.length] ?? '';
  }

  private process(index: number): RunProcess {
    return this.processes[index % this.processes.length] as RunProcess;
  }

  private logOf(id: string): string {
    return `~runs/${this.processes[0]?.name}/${createHash('sha256').update(id).digest('hex')}`;
  }
}

/** Returns a function that returns random numbers from 0 to 1, the same for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}
