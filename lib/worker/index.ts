export type { WorkerPool, WorkerThreadOptions } from './execution.js';
export { type FromWorkerOptions, fromWorker } from './from-worker.js';
export { produce, type WorkerProducer, type WorkerTaskRunner } from './produce.js';
