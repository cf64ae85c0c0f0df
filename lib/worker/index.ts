// A worker that imports the root would load Nest, which takes longer than to start its thread.
export { event, type StreamEvent } from '../event/event.js';
export { type FlushMark, flush } from '../source/flush.js';
export type { WorkerPool, WorkerThreadOptions } from './execution.js';
export { type FromNativeOptions, fromNative } from './from-native.js';
export { type FromWorkerOptions, fromWorker } from './from-worker.js';
export { produce, type WorkerProducer, type WorkerTaskRunner } from './produce.js';
