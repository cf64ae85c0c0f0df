import { setTimeout as sleep } from 'node:timers/promises';

const TOKEN = 'x'.repeat(54);
/** How long the producer that computes does so for each chunk. */
const COMPUTE_MS = 5;

/** @param {number} count */
export function* flood(count) {
  for (let i = 0; i < count; i++) {
    yield TOKEN;
  }
}

/** Producers that are started at the same time do not send at the same time. @param {number} count @param {number} ms between two tokens */
async function* paced(count, ms) {
  await sleep(Math.random() * ms);
  for (let i = 0; i < count; i++) {
    yield TOKEN;
    await sleep(ms);
  }
}

/** @param {number} count */
async function* asyncFlood(count) {
  yield* flood(count);
}

/** What is measured in the main thread. @param {number} count @param {number} ms */
export const generator = (count, ms) => (ms > 0 ? paced(count, ms) : asyncFlood(count));

/** What a worker runs. @param {number} count @param {number} ms */
export const producer = (count, ms) => (ms > 0 ? paced(count, ms) : flood(count));

/** Computes without end, and never waits. */
export async function* computing() {
  for (let n = 0; ; n++) {
    const end = performance.now() + COMPUTE_MS;
    while (performance.now() < end) {
      // In place of a parser, an encoder or a tokenizer.
    }
    yield `${n}\n`;
  }
}
