import type { MessagePort } from 'node:worker_threads';
import type { Carried } from './carried-error.js';

/** Wakes the other side, which then looks at the shared memory. */
export const DOORBELL = 0;

/** A message to the producer. */
export type ToWorker = typeof DOORBELL | { readonly abort: Carried };

/** Chunks that were produced in one turn. */
export interface Batch {
  readonly chunks: unknown[];
  /** The indexes of chunks that are events, and of `flush()` marks: symbols cannot be cloned. */
  readonly events?: readonly number[];
  readonly flushes?: readonly number[];
}

/** A message from the producer. */
export type FromWorker = typeof DOORBELL | Batch | { readonly end: true } | { readonly error: Carried };

/** How far the producer may be ahead of its consumer. */
export interface Ahead {
  readonly items: number;
  readonly bytes: number;
}

/** Everything that a producer needs: in the `workerData` of its own thread, or the task of a pool. */
export interface WorkerTask {
  readonly port: MessagePort;
  readonly control: SharedArrayBuffer;
  readonly ahead: Ahead;
  /** The memory of the ring, if there is one. */
  readonly ring: SharedArrayBuffer | undefined;
  readonly data: unknown;
}

/** The key of the task in `workerData`, and in a task of a pool. */
export const TASK = 'nestjs-streaming:worker';

export function taskIn(value: unknown): WorkerTask | undefined {
  return typeof value === 'object' && value !== null ? (value as { readonly [TASK]?: WorkerTask })[TASK] : undefined;
}
