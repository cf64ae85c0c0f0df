// environments.mjs ADDON [open]: worker threads are terminated while threads of the addon send to them. Then two workers and the main thread read at the same time.
// Prints what they have read, and how many threads of the addon still run.
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { setImmediate as turn } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { countChunks, takeOnce } from './reader.mjs';

const path = isMainThread ? process.argv[2] : workerData.path;
const load = () => createRequire(import.meta.url)(path);
const CHUNKS = 5_000;
const ROUNDS = 5;

function readAll(addon) {
  const { handle, stream } = addon.open(4096);
  addon.flood(stream, 2, CHUNKS, 50);
  return countChunks(handle);
}

/** Streams in all states: read, not read, full, empty, and waited for. */
function openMany(addon) {
  for (let i = 0; i < 4; i++) {
    void readAll(addon);
    addon.flood(addon.open(1024).stream, 2, 1_000_000, 20);
    const half = addon.open(1024);
    addon.flood(half.stream, 1, 1_000_000, 5_000);
    takeOnce(half.handle);
    const ended = addon.open();
    addon.send(ended.stream, Buffer.from('x'));
    addon.close(ended.stream);
    const awaited = addon.open();
    awaited.handle.onReady = () => undefined;
    takeOnce(awaited.handle);
    addon.flood(awaited.stream, 1, 1_000_000, 10);
  }
}

async function main() {
  for (let round = 0; round < ROUNDS; round++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { path, task: 'flood' } });
    await once(worker, 'message');
    await worker.terminate();
  }
  const workers = [1, 2].map(() => new Worker(new URL(import.meta.url), { workerData: { path, task: 'read' } }));
  const counts = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]));
  const addon = load();
  counts.push(await readAll(addon));
  while (addon.figures()[4] > 0) {
    await turn();
  }
  if (process.argv[3] === 'open') {
    // This stream is neither closed nor read. It does not keep the process alive.
    addon.open();
  }
  process.stdout.write(`${JSON.stringify(counts)} of ${CHUNKS * 2}, ${addon.figures()[4]} threads\n`);
}

if (isMainThread) {
  await main();
} else if (workerData.task === 'read') {
  parentPort.postMessage(await readAll(load()));
} else {
  openMany(load());
  parentPort.postMessage('floods');
  setInterval(() => undefined, 1_000);
}
