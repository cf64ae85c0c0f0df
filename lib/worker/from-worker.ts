import type { TransferListItem } from 'node:worker_threads';
import { type Check, count, demand, keys, milliseconds, queueLimits } from '../util/checks.js';
import { StreamError } from '../util/errors.js';
import { dataNotCloneable, type WorkerPool, type WorkerThreadOptions } from './execution.js';
import { workerFileOf } from './worker-file.js';
import { WorkerStream } from './worker-stream.js';

/** The options of {@link fromWorker}. */
export interface FromWorkerOptions {
  /** Passed to the producer, as a copy that is made by the structured clone algorithm. Default: `undefined` */
  readonly data?: unknown;
  /** Objects in `data` that are moved to the worker, and not copied: an `ArrayBuffer`, a `MessagePort`, and others that can be transferred. */
  readonly transferList?: readonly TransferListItem[];
  /**
   * Ends the producer when it is aborted, and gives it the reason. Pass that of `@StreamSignal()`, so that the producer knows why the stream has ended:
   * a stream that ends stops its producer without it too.
   */
  readonly signal?: AbortSignal;
  /** Runs the producer in a thread of this pool, such as an instance of `Piscina`. Default: a new thread for each call. */
  readonly pool?: WorkerPool;
  /** How far the producer may be ahead of the client. Default: 1 000 `items`, 262 144 `bytes` of strings and byte arrays. */
  readonly queue?: {
    /** The number of chunks. */
    readonly items?: number;
    /** The length of strings and byte arrays. Other chunks count only as items. */
    readonly bytes?: number;
  };
  /**
   * Passes strings and byte arrays through shared memory of this size, in bytes: a power of two from 4 096 to 268 435 456, such as 65 536. In a flood of small chunks,
   * it saves messages, but it is not always faster: measure both. Other chunks, and those of more than half of the size, are sent as messages, in their order. Default: all chunks are sent as messages
   */
  readonly ring?: number;
  /** How long a producer may take to stop after an abort, and its thread to exit after its end, in milliseconds. The thread is then terminated. Default: 1 000 */
  readonly grace?: number;
  /** Options of the new thread, such as `{ resourceLimits: { maxOldGenerationSizeMb: 64 } }`. Not with `pool`, which has its own. */
  readonly worker?: WorkerThreadOptions;
}

const GRACE_MS = 1_000;
const MIN_RING = 4_096;
const MAX_RING = 2 ** 28;
const AHEAD = { items: 1_000, bytes: 262_144 };

const list: Check = (value) => (Array.isArray(value) ? undefined : 'must be an array');
const signal: Check = (value) =>
  typeof (value as Partial<AbortSignal> | null)?.addEventListener === 'function' ? undefined : 'must be an AbortSignal';
const pool: Check = (value) =>
  typeof (value as Partial<WorkerPool> | null)?.run === 'function'
    ? undefined
    : 'must be a pool with a method run(), such as new Piscina()';
const ring: Check = (value) =>
  Number.isInteger(value) &&
  MIN_RING <= Number(value) &&
  Number(value) <= MAX_RING &&
  Number.isInteger(Math.log2(Number(value)))
    ? undefined
    : `must be a power of two from ${MIN_RING} to ${MAX_RING}, such as 65_536`;
/** `new Worker()` checks the values. */
const anything: Check = () => undefined;
const threadOptions = keys<WorkerThreadOptions>({
  argv: anything,
  env: anything,
  execArgv: anything,
  name: anything,
  resourceLimits: anything,
});

const known = keys<FromWorkerOptions>({
  data: anything,
  transferList: list,
  signal,
  pool,
  queue: queueLimits(count),
  ring,
  grace: milliseconds,
  worker: threadOptions,
});

const WHERE = 'fromWorker()';

const isSignal = (value: unknown): boolean => Object.prototype.toString.call(value) === '[object AbortSignal]';

/** Some versions of Node.js copy a signal as an empty object, without an error. */
function demandNoSignal(data: unknown): void {
  if (isSignal(data) || (typeof data === 'object' && data !== null && Object.values(data).some(isSignal))) {
    throw new StreamError(
      'not-serializable',
      `${WHERE}: \`data\` contains an AbortSignal, which cannot be cloned for the worker. Pass it as \`signal\``,
    );
  }
}

/** Returns a copy of `data`, so that an error is thrown now. Data with objects that are moved cannot be copied before. */
function copyOf({ data, transferList = [] }: FromWorkerOptions): unknown {
  demandNoSignal(data);
  if (transferList.length > 0) {
    return data;
  }
  try {
    return structuredClone(data);
  } catch (cause) {
    throw dataNotCloneable(cause);
  }
}

/**
 * Returns the chunks that a worker produces, to be returned from a method, published to a hub, or read by `for await`. Code that computes
 * for long does not hold up the event loop there.
 *
 * The file calls {@link produce}. It is started when the first chunk is read, at most once. A slow client slows the producer down. When the stream ends early, the
 * producer is stopped.
 *
 * @param file the compiled file of the worker: a URL, or an absolute path
 * @returns an async iterable that can be read once
 * @throws `StreamError` `invalid-argument` if the file does not exist, `invalid-option` for an option that is not valid, `not-serializable` if
 * `data` cannot be cloned (with `transferList`, while it is read). While it is read: the error of the producer, or `worker-failed` if the worker crashes or exits before its end
 *
 * @example
 * ```ts
 * @Stream('primes/:limit')
 * primes(@Param('limit', ParseIntPipe) limit: number, @StreamSignal() signal: AbortSignal) {
 *   return fromWorker<number>(new URL('./primes.js', import.meta.url), { data: limit, signal });
 * }
 * ```
 */
export function fromWorker<T = unknown>(file: URL | string, options: FromWorkerOptions = {}): AsyncIterable<T> {
  const url = workerFileOf(file);
  demand(known, options, WHERE);
  if (options.pool && options.worker) {
    throw new StreamError(
      'invalid-option',
      `${WHERE}: "worker" does not apply to a pool: pass these options to the pool`,
    );
  }
  const setup = {
    file: url,
    data: copyOf(options),
    transferList: [...(options.transferList ?? [])],
    pool: options.pool,
    worker: options.worker,
    ahead: { ...AHEAD, ...options.queue },
    ring: options.ring,
    grace: options.grace ?? GRACE_MS,
  };
  return new WorkerStream(setup, options.signal) as AsyncIterable<unknown> as AsyncIterable<T>;
}
