import { RedisBroker } from 'nestjs-streaming/redis';
import { cpu } from '../usage.mjs';

/** A process that receives topics of a log, or a whole log. */

export { cpu };

/** @param {number} ms */
export const later = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const BATCH = 512;

/** @param {string} url @param {string} kind @param {number} wanted @param {number} all */
async function start(url, kind, wanted, all) {
  const broker = new RedisBroker({ url, ...(kind === 'pubsub' && { tail: 'pubsub' }) });
  let received = 0;
  const count = (/** @type {readonly unknown[]} */ { length }) => {
    received += length;
  };
  if (kind === 'topics') {
    await broker.openTopics(kind, { limit: 100, ttl: 300_000, all: false });
    const tail = await broker.tailTopics(kind, {
      onRecords: count,
      onReached: () => undefined,
      onMissed: () => undefined,
    });
    const topics = Array.from({ length: wanted }, (_, n) => `topic ${n * Math.floor(all / wanted)}`);
    for (let first = 0; first < topics.length; first += BATCH) {
      await tail.add(topics.slice(first, first + BATCH));
    }
  } else {
    await broker.open(kind, { limit: 100, ttl: 300_000 });
    await broker.tail(kind, count);
  }
  process.on('message', () => {
    globalThis.gc?.();
    process.send?.({ received, cpu: cpu().cpu, heap: process.memoryUsage().heapUsed });
  });
  process.send?.({ ready: true });
}

const [url, kind, wanted, all] = process.argv.slice(2);
if (process.send && url !== undefined) {
  process.on('disconnect', () => process.exit());
  await start(url, kind ?? '', Number(wanted), Number(all));
}
