import { isMainThread, workerData } from 'node:worker_threads';
import { kindOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { taskIn } from './messages.js';
import { type AnyIterator, ProducerRun } from './producer-run.js';

/**
 * Produces the chunks of a stream in a worker. It is called once, with the value of the option `data`, and with a signal.
 *
 * `signal.aborted` is up to date also in a loop that never waits, so a loop that computes should read it between its steps.
 */
export type WorkerProducer<Data = unknown, Chunk = unknown> = (
  data: Data,
  signal: AbortSignal,
) => AsyncIterable<Chunk> | Iterable<Chunk>;

/** Runs a producer for one task of a pool. Export it as the default of the file, for pools such as Piscina. */
export type WorkerTaskRunner = (task: unknown) => Promise<void>;

let taken = false;

function isObject(value: unknown): value is Partial<AsyncIterable<unknown> & Iterable<unknown>> {
  return typeof value === 'object' && value !== null;
}

function iteratorOf(made: unknown): AnyIterator {
  if (isObject(made)) {
    const iterator = made[Symbol.asyncIterator]?.() ?? made[Symbol.iterator]?.();
    if (iterator) {
      return iterator;
    }
  }
  throw new StreamError(
    'invalid-source',
    `The function that was passed to produce() returned ${kindOf(made)}: pass a generator function (function*), or one that returns an iterable`,
  );
}

/**
 * Makes the file that calls it a worker for {@link fromWorker}. Call it once, at the top level of the file, and export its result as the default, which
 * pools need. Call it below all top-level `await`s: the producer may start while the file waits for one.
 *
 * The producer is only called as fast as the client reads. When the stream ends early, its signal is aborted, and its generator is
 * left, so that its `finally` blocks run. An error of the producer is the error of the stream.
 *
 * On the main thread, such as in a test that imports the file, it does nothing.
 *
 * @throws `StreamError` `invalid-argument` if the producer is not a function, `invalid-state` if it is called twice in a worker
 *
 * @example
 * ```ts
 * export default produce(function* (limit: number, signal) {
 *   for (let n = 2; n < limit && !signal.aborted; n++) if (isPrime(n)) yield n;
 * });
 * ```
 */
export function produce<Data = unknown, Chunk = unknown>(producer: WorkerProducer<Data, Chunk>): WorkerTaskRunner {
  if (typeof producer !== 'function') {
    throw new StreamError('invalid-argument', `produce() takes a generator function, not ${kindOf(producer)}`);
  }
  const run = async (given: unknown): Promise<void> => {
    const task = taskIn(given);
    if (!task) {
      throw new StreamError(
        'invalid-argument',
        'The result of produce() is called by a pool, for fromWorker() with the option `pool`',
      );
    }
    await new ProducerRun(task).run((data, signal) => iteratorOf(producer(data as Data, signal)));
  };
  if (!isMainThread && taskIn(workerData)) {
    if (taken) {
      throw new StreamError('invalid-state', 'produce() was called twice in a worker: a file has one producer');
    }
    taken = true;
    // After the rest of the file, or its next top-level `await`: the producer may use constants up to there.
    queueMicrotask(() => void run(workerData));
  }
  return run;
}
