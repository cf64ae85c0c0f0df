import { once } from 'node:events';
import { profiled } from '../fanout/profile.mjs';
import { quantile } from '../statistics.mjs';
import { cpu, memory } from '../usage.mjs';
import { endAnswers, produced } from './answer.mjs';
import { countWrites } from './writes.mjs';

/** A process of one contestant. It listens on a free port, starts answers on request, and reports its resources. */

/**
 * @typedef {object} Program
 * @property {import('node:http').Server} server responds to `/start/<id>/<plan>` with a new answer, and to `/view/<id>` with one in progress
 * @property {(id: string, plan: string) => unknown} [start] starts an answer without a viewer
 */

const [file, name] = process.argv.slice(2);
const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

process.on('disconnect', () => process.exit());

const { [name]: create } = await import(`./servers/${file}.mjs`);
/** @type {Program} */
const { server, start } = await create();

/**
 * Measures for some time.
 * @param {{ ms: number, profile?: string }} how
 */
async function watch({ ms, profile }) {
  const before = { ...cpu(), tokens: produced(), at: performance.now() };
  await profiled(profile, () => later(ms));
  return { cpu: cpu().cpu - before.cpu, tokens: produced() - before.tokens, ms: performance.now() - before.at };
}

/**
 * Starts answers, one after the other, and returns how long that took.
 * @param {{ prefix: string, first: number, count: number, plan: string }} how
 */
async function startAll({ prefix, first, count, plan }) {
  const times = [];
  for (let index = first; index < first + count; index++) {
    const began = performance.now();
    await start?.(`${prefix}-${index}`, plan);
    times.push(performance.now() - began);
  }
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
}

/** @type {Record<string, (question: any) => unknown>} */
const ANSWERS = {
  cpu,
  memory,
  watch,
  start: startAll,
  end: () => endAnswers(),
  hasRuns: () => ({ hasRuns: start !== undefined }),
  countWrites: ({ stop = false }) => ({ writes: countWrites(server, stop) }),
};
process.on('message', async (/** @type {{ ask: string }} */ { ask, ...question }) => {
  try {
    process.send?.({ .../** @type {object} */ (await ANSWERS[ask](question)) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});

server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.({ port: /** @type {import('node:net').AddressInfo} */ (server.address()).port });
