import { once } from 'node:events';
import { type TransferListItem, Worker } from 'node:worker_threads';
import { type FromWorkerOptions, fromWorker, type WorkerPool } from '../../lib/worker/index.js';
import { realProcess } from '../support/real-process.js';

export const fileOf = (name: string): URL => new URL(`./fixtures/${name}`, import.meta.url);

/** The memory that a producer of fixtures/acts.mjs writes to. */
export class Notes {
  readonly words = new Int32Array(new SharedArrayBuffer(16));

  get produced(): number {
    return Atomics.load(this.words, 0);
  }

  get finallies(): number {
    return Atomics.load(this.words, 1);
  }

  get seen(): number {
    return Atomics.load(this.words, 2);
  }
}

export interface Act {
  readonly notes?: Notes;
  readonly chunks?: readonly unknown[];
  readonly code?: number;
}

/** The chunks of a producer of fixtures/acts.mjs. */
export function act<T = unknown>(
  name: string,
  { notes = new Notes(), ...data }: Act = {},
  options: FromWorkerOptions = {},
) {
  // On a busy machine, a producer that stops may need longer than the default.
  return fromWorker<T>(fileOf('acts.mjs'), {
    grace: 100_000,
    ...options,
    data: { act: name, notes: notes.words, ...data },
  });
}

export async function read<T>(chunks: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const chunk of chunks) {
    got.push(chunk);
  }
  return got;
}

/** What is read until an error, and the error. */
export async function readUntilError(chunks: AsyncIterable<unknown>): Promise<{ got: unknown[]; error: unknown }> {
  const got: unknown[] = [];
  try {
    for await (const chunk of chunks) {
      got.push(chunk);
    }
  } catch (error) {
    return { got, error };
  }
  throw new Error('It ended without an error');
}

/** Waits for something that another thread does. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Leaves a producer of a pool that does not stop, and runs another one in the same pool. */
export async function leaveBlocked(pool: WorkerPool): Promise<void> {
  const notes = new Notes();
  const iterator = act('blocked', { notes }, { pool, grace: 50 })[Symbol.asyncIterator]();
  await iterator.next();
  await until(() => notes.seen === 1);

  await expect(iterator.return?.()).rejects.toMatchObject({ code: 'worker-failed' });
  expect(await read(act('chunks', { chunks: [1] }, { pool }))).toEqual([1]);
}

/** Counts the threads of this process: each test ends with none. */
export function useThreads(): { readonly alive: number; readonly started: number; gone(): Promise<void> } {
  const threads = new Set<Worker>();
  let started = 0;
  const add = (worker: Worker) => {
    started++;
    threads.add(worker);
    worker.once('exit', () => threads.delete(worker));
  };
  beforeEach(() => {
    started = 0;
    realProcess.on('worker', add);
  });
  afterEach(async () => {
    await until(() => threads.size === 0);
    realProcess.off('worker', add);
  });
  return {
    get alive() {
      return threads.size;
    },
    get started() {
      return started;
    },
    gone: () => until(() => threads.size === 0),
  };
}

/** A pool with one thread, which ends its thread to abort a task, as Piscina does. */
export class OneThread implements WorkerPool {
  private worker: Worker | undefined;
  private last: Promise<unknown> = Promise.resolve();

  run(
    task: unknown,
    { filename, transferList, signal }: { filename: string; transferList: TransferListItem[]; signal: AbortSignal },
  ): Promise<unknown> {
    const run = this.last.then(async () => {
      signal.throwIfAborted();
      this.worker ??= new Worker(fileOf('pool-host.mjs'));
      const { worker } = this;
      const exited = once(worker, 'exit').then(([code]) => {
        this.worker = undefined;
        throw new Error(`exited with ${code}`);
      });
      exited.catch(() => undefined);
      signal.addEventListener('abort', () => void worker.terminate());
      worker.postMessage({ filename, task }, transferList);
      const [answer] = (await Promise.race([once(worker, 'message'), exited])) as [{ error?: unknown }];
      if (answer.error) {
        throw answer.error;
      }
    });
    this.last = run.catch(() => undefined);
    return run;
  }

  async close(): Promise<void> {
    await this.worker?.terminate();
  }
}
