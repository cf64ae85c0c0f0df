import assert from 'node:assert/strict';
import type { Run } from '../../run/run.options.js';
import { range } from './entries.js';
import { type RunViewer, ScriptedProducer } from './run-actors.js';
import type { RunProcess } from './run-process.js';

/** One run, from the call of its producer on. The same id may have several, one after the other. */
export class RunLife {
  /** The number of chunks that its producer was asked for. */
  total = 0;
  /** How its producer was asked to end. */
  ended: 'end' | 'fail' | undefined;
  /** Whether its process has crashed, or its log may have been removed. */
  disturbed = false;
  private readonly producer = new ScriptedProducer();

  constructor(
    readonly name: string,
    readonly process: RunProcess,
  ) {}

  produceFor(run: Run): AsyncIterable<unknown> {
    return this.producer.produce(run);
  }

  produce(count: number): void {
    if (!this.ended) {
      this.producer.push(...range(this.total + 1, this.total + count).map((n) => `${this.name} ${n}`));
      this.total += count;
    }
  }

  finish(how: 'end' | 'fail'): void {
    if (!this.ended) {
      this.ended = how;
      if (how === 'end') {
        this.producer.end();
      } else {
        this.producer.fail(new Error('boom'));
      }
    }
  }
}

/** A viewer, and what is known about where it began. */
export class RunWitness {
  readonly process: RunProcess;
  readonly id: string;
  /** `start`, `now`, or the chunk whose id it has joined with. */
  readonly from: string;

  constructor(
    { process, id, from }: Pick<RunWitness, 'process' | 'id' | 'from'>,
    private readonly found: boolean,
    readonly viewer: RunViewer,
  ) {
    this.process = process;
    this.id = id;
    this.from = from;
  }

  /** Checks all viewers of one id. */
  static audit(witnesses: readonly RunWitness[], lives: readonly RunLife[]): void {
    const ids = new Map<unknown, string>();
    const epochs = new Map<string, string>();
    const outcomes = new Map<RunLife, Set<string>>();
    for (const witness of witnesses) {
      witness.auditChunks(lives, ids, epochs);
      const life = witness.life(lives);
      const { outcome } = witness.viewer;
      if (life && outcome !== undefined && outcome !== 'left') {
        outcomes.set(life, (outcomes.get(life) ?? new Set()).add(outcome));
      }
    }
    for (const [life, ends] of outcomes) {
      // The next run with the same id has replaced the log, perhaps before a viewer has read the end.
      auditEnds(life, ends, life.disturbed || life !== lives.at(-1));
    }
  }

  /** The run that it has viewed. `undefined` if it has received no chunk. */
  private life(lives: readonly RunLife[]): RunLife | undefined {
    const [first] = this.viewer.chunks;
    return lives.find(({ name }) => nameOf(first) === name);
  }

  /** Its chunks must follow each other, and belong to one run. */
  private auditChunks(lives: readonly RunLife[], ids: Map<unknown, string>, epochs: Map<string, string>): void {
    const { events, chunks, outcome } = this.viewer;
    const life = this.life(lives);
    for (const { id, type, data } of events.filter((each) => each.type !== 'reset')) {
      assert.equal(ids.get(data) ?? id, id, `The chunk ${data} has one id, not two${type ?? ''}`);
      ids.set(data, id);
      const [, epoch = ''] = id.split('.');
      assert.equal(epochs.get(epoch) ?? nameOf(data), nameOf(data), `The epoch ${epoch} belongs to one producer`);
      epochs.set(epoch, nameOf(data));
    }
    if (!life) {
      assert.ok(chunks.length === 0 && this.mayBeEmpty(lives), `A viewer (${this.from}) has completed without a chunk`);
      return;
    }
    const first = numberOf(chunks[0]);
    assert.deepEqual(
      chunks,
      range(first, first + chunks.length - 1).map((n) => `${life.name} ${n}`),
      'The chunks of a viewer follow each other without a gap, and belong to one run',
    );
    if (events[0]?.type === 'reset' || this.from === 'start') {
      assert.equal(first, 1, 'A viewer begins with the first chunk');
    } else if (this.from !== 'now') {
      assert.equal(`${nameOf(this.from)} ${numberOf(this.from) + 1}`, chunks[0], 'A viewer continues after its chunk');
    }
    if (outcome === 'completed') {
      assert.equal(numberOf(chunks.at(-1)), life.total, 'A view that completes has the last chunk');
    }
  }

  private mayBeEmpty(lives: readonly RunLife[]): boolean {
    const isWhole = this.found && this.from === 'start' && this.viewer.outcome === 'completed';
    return !isWhole || lives.some(({ total, ended }) => total === 0 && ended === 'end');
  }
}

/** All viewers of a run must receive the same end, and the one that it has come to. Those who had not read all of it before its log was removed learn that instead. */
function auditEnds({ name, ended }: RunLife, ends: ReadonlySet<string>, mayBeLost: boolean): void {
  const removed = ended === 'end' ? ['run-lost', 'run-unknown'] : ['run-lost'];
  const all = [...ends].filter((end) => !(mayBeLost && removed.includes(end)));
  assert.ok(all.length <= 1, `The viewers of ${name} have received different ends: ${all.join(', ')}`);
  const [end] = all;
  const possible = ['run-stopped', ended === 'end' ? 'completed' : 'remote Error: boom'];
  assert.ok(end === undefined || possible.includes(end), `${name} has ended with ${end}, and not with ${possible}`);
}

function nameOf(chunk: unknown): string {
  return String(chunk).split(' ').slice(0, 2).join(' ');
}

function numberOf(chunk: unknown): number {
  return Number(String(chunk).split(' ')[2]);
}
