import { type TransferListItem, Worker, type WorkerOptions } from 'node:worker_threads';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import type { Control } from './control.js';
import { TASK, type WorkerTask } from './messages.js';

/** The options of a thread of its own, as those of `Worker` in `node:worker_threads`. */
export type WorkerThreadOptions = Pick<WorkerOptions, 'argv' | 'env' | 'execArgv' | 'name' | 'resourceLimits'>;

/** The part of a pool of worker threads that is used: an instance of `Piscina` has it. */
export interface WorkerPool {
  /** Runs the default export of a file in a thread of the pool. */
  run(
    task: unknown,
    options: { readonly filename: string; readonly transferList: TransferListItem[]; readonly signal: AbortSignal },
  ): PromiseLike<unknown>;
}

/** Code of a producer that runs, or waits for a thread. */
export interface Execution {
  /** Ends it at once, without its `finally` blocks. If a pool has not begun it, it never runs. */
  kill(): void;
}

/** What an execution begins with. */
export interface Assignment {
  readonly file: URL;
  readonly task: WorkerTask;
  readonly control: Control;
  readonly transferList: TransferListItem[];
  /** Called once, when none of its code runs any more. `crash` is the error if it did not end by itself. */
  readonly onExit: (crash: StreamError | undefined) => void;
}

function failed(file: URL, what: string, cause?: unknown): StreamError {
  return new StreamError(
    'worker-failed',
    `The worker ${file.href} ${what}`,
    cause === undefined ? undefined : { cause },
  );
}

/** Describes the exit of a thread that had not ended its stream. */
function exitOf({ file, control }: Assignment, code: number): StreamError {
  return control.started
    ? failed(
        file,
        `exited with code ${code} before the end of its stream: it has called process.exit(), or nothing kept it alive`,
      )
    : failed(file, `exited with code ${code}, and did not call produce(): call it at the top level of the file`);
}

function crashOf({ file }: Assignment, error: unknown): StreamError {
  const memory = (error as { readonly code?: unknown } | null)?.code === 'ERR_WORKER_OUT_OF_MEMORY';
  const advice = memory ? '. Raise `worker.resourceLimits`, or keep less in memory' : '';
  return failed(file, `failed: ${textOf(error)}${advice}`, error);
}

/** The error for `data` that cannot be cloned. */
export function dataNotCloneable(cause: unknown): StreamError {
  return new StreamError(
    'not-serializable',
    `fromWorker(): \`data\` cannot be cloned for the worker: ${textOf(cause)}. Pass plain data, and list what is moved, such as a MessagePort, in \`transferList\``,
    { cause },
  );
}

/** Returns the error for `data` that cannot be cloned, if that is why a producer was not started. */
export function uncloneable(error: unknown): StreamError | undefined {
  return (error as Partial<Error> | null)?.name === 'DataCloneError' ? dataNotCloneable(error) : undefined;
}

/** Runs a producer in a thread of its own. */
export function runInThread(assignment: Assignment, options: WorkerThreadOptions | undefined): Execution {
  const { file, task, transferList, onExit } = assignment;
  const worker = new Worker(file, { ...options, workerData: { [TASK]: task }, transferList });
  let crash: StreamError | undefined;
  worker.on('error', (error) => {
    crash ??= crashOf(assignment, error);
  });
  worker.once('exit', (code) => onExit(crash ?? exitOf(assignment, code)));
  return { kill: () => void worker.terminate() };
}

/** Runs a producer in a pool. */
export function runInPool(assignment: Assignment, pool: WorkerPool): Execution {
  const { file, task, transferList, control, onExit } = assignment;
  // The pool ends the thread of a task that is aborted while it runs.
  const controller = new AbortController();
  const { signal } = controller;
  const settled = pool.run({ [TASK]: task }, { filename: file.href, transferList, signal });
  const notProduced = () => failed(file, 'does not export the result of produce() as its default, which a pool needs');
  Promise.resolve(settled).then(
    () => onExit(control.started ? failed(file, 'ended without the end of its stream') : notProduced()),
    (error: unknown) => onExit((control.started ? undefined : uncloneable(error)) ?? crashOf(assignment, error)),
  );
  return { kill: () => controller.abort() };
}
