import assert from 'node:assert/strict';
import type { HubEvent } from '../../event/hub-event.js';
import type { Run } from '../../run/run.options.js';
import type { RunView } from '../../run/run-view.js';
import { StreamCloseError, StreamError } from '../../util/errors.js';
import { type Deferred, deferred } from '../../util/thenable.js';
import type { ContractContext } from './contract-context.js';
import { RemoteError } from './run-process.js';

/** A producer whose chunks a case decides. */
export class ScriptedProducer {
  /** The runs that it was called for, in order. */
  readonly calls: Run[] = [];
  /** The codes with which the signals of the runs were aborted. */
  readonly aborts: string[] = [];
  private readonly waiting: (() => Promise<unknown>)[] = [];
  private wake: Deferred<void> | undefined;
  private ended = false;

  /** @param ignoresSignal whether it goes on after its signal is aborted */
  constructor(private readonly ignoresSignal = false) {}

  /** To be passed to `start()`. */
  readonly produce = (run: Run): AsyncIterable<unknown> => {
    this.calls.push(run);
    run.signal.addEventListener('abort', () => {
      const { reason } = run.signal;
      this.aborts.push(reason instanceof StreamCloseError ? reason.code : String(reason));
      this.notify();
    });
    return this.generate(run);
  };

  /** Lets it produce chunks. */
  push(...chunks: readonly unknown[]): this {
    this.waiting.push(...chunks.map((chunk) => () => Promise.resolve(chunk)));
    this.notify();
    return this;
  }

  /** Lets it end. */
  end(): this {
    this.ended = true;
    this.notify();
    return this;
  }

  /** Lets it throw. */
  fail(error: Error): void {
    this.waiting.push(() => Promise.reject(error));
    this.notify();
  }

  private async *generate({ signal }: Run): AsyncGenerator<unknown> {
    while (this.ignoresSignal || !signal.aborted) {
      const next = this.waiting.shift();
      if (next) {
        yield await next();
      } else if (this.ended) {
        return;
      } else {
        this.wake = deferred();
        await this.wake.promise;
      }
    }
  }

  private notify(): void {
    this.wake?.resolve();
    this.wake = undefined;
  }
}

/** Reads a view as a client does: immediately, to its end. */
export class RunViewer {
  readonly events: HubEvent[] = [];
  /** How the view has ended: `completed` if without an error, `left` if the viewer has left, otherwise a code or a message. */
  outcome: string | undefined;
  private readonly over: Promise<void>;
  private readonly iterator: AsyncIterator<HubEvent, undefined>;
  private changed: Deferred<void> = deferred();
  private hasLeft = false;

  constructor(
    private readonly context: ContractContext,
    readonly view: RunView,
  ) {
    this.iterator = view[Symbol.asyncIterator]();
    this.over = this.read();
  }

  /** The chunks, without notices. */
  get chunks(): unknown[] {
    return this.events.filter(({ type }) => type !== 'reset').map(({ data }) => data);
  }

  /** The id of the last chunk. */
  get lastId(): string | undefined {
    return this.events.at(-1)?.id;
  }

  /** Waits for a number of events. */
  async count(count: number): Promise<this> {
    await this.context.within(this.until(count), `A viewer receives ${count} events`).catch((error: Error) => {
      error.message += ` (it has received ${this.events.length}, and its outcome is ${this.outcome})`;
      throw error;
    });
    return this;
  }

  /** Waits for the end of the view. Returns the outcome. */
  async end(): Promise<string | undefined> {
    await this.context.within(this.over, 'The view of a run ends').catch((error: Error) => {
      error.message += ` (the viewer has received ${this.events.length} events)`;
      throw error;
    });
    return this.outcome;
  }

  /** Waits for the end, and asserts what was received. */
  async receives(chunks: readonly unknown[], outcome = 'completed'): Promise<void> {
    assert.equal(await this.end(), outcome);
    assert.deepEqual(this.chunks, chunks);
  }

  async leave(): Promise<void> {
    this.hasLeft = true;
    await this.iterator.return?.();
    await this.end();
  }

  private async until(count: number): Promise<void> {
    while (this.events.length < count) {
      if (this.outcome !== undefined) {
        throw new assert.AssertionError({ message: 'The view has ended' });
      }
      await this.changed.promise;
    }
  }

  private async read(): Promise<void> {
    try {
      for (let step = await this.iterator.next(); !step.done; step = await this.iterator.next()) {
        this.events.push(step.value);
        this.notify();
      }
      this.outcome = this.hasLeft ? 'left' : 'completed';
    } catch (error) {
      this.outcome = outcomeOf(error);
    }
    this.notify();
  }

  private notify(): void {
    const { changed } = this;
    this.changed = deferred();
    changed.resolve();
  }
}

/** Returns the code of an error, or its message as other processes get it. */
function outcomeOf(error: unknown): string {
  if (error instanceof StreamError) {
    return error.code;
  }
  return error instanceof RemoteError ? error.message : `remote ${String(error)}`;
}

/** Returns the code with which a call rejects. */
export function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(() => 'resolved', outcomeOf);
}
