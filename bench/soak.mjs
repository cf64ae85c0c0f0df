import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { Worker } from './processes.mjs';

/** Checks that no event is lost and no memory is kept while clients connect, stop reading and disconnect at random, and events are published. */

const MB = 1_048_576;
/** The maximum growth of the heap, for compiled code and caches. A client takes 7 to 10 KB. */
const HEAP_TOLERANCE = 3 * MB;
/** Pipes belong to the process itself: its output and its parent. They are created when they are first used. */
const OWN_HANDLES = ['PipeWrap'];
const TELL_EVERY_MS = 10_000;
const WARM_UP_CLIENTS = 200;
const WARM_UP_MS = 15_000;
const LEAVE_MS = 10_000;
const SETTLE_MS = 100;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    clients: { type: 'string', default: '2000' },
    platform: { type: 'string', default: 'express' },
    seed: { type: 'string', default: String(randomInt(2 ** 31)) },
  },
});
const { platform } = values;
const minutes = Number(values.minutes);
const count = Number(values.clients);
const seed = Number(values.seed);
if (!(minutes > 0 && Number.isInteger(count) && count > 0 && Number.isInteger(seed))) {
  throw new Error('--minutes is a number above 0, --clients and --seed are whole numbers');
}
if (platform !== 'express' && platform !== 'fastify') {
  throw new Error('--platform is express or fastify');
}

const sleep = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** @type {string[]} */
const faults = [];

/** @param {string} fault */
function found(fault) {
  faults.push(fault);
  console.log(`FAULT: ${fault}`);
}

/** @param {Record<string, number>} counts */
const listed = (counts) =>
  Object.entries(counts)
    .map(([what, number]) => `${what} ${number.toLocaleString('en')}`)
    .join(', ');

/** @param {Worker} app */
async function size(app) {
  const { sizes } = await app.ask({ ask: 'progress' });
  return sizes.reduce((/** @type {number} */ sum, /** @type {number} */ each) => sum + each, 0);
}

/**
 * Runs clients for some time. Then publishing stops, the clients read the remaining events, and disconnect.
 * @param {Worker} app
 * @param {Worker} clients
 * @param {number} number
 * @param {number} ms
 */
async function phase(app, clients, number, ms) {
  const end = performance.now() + ms;
  await app.ask({ ask: 'start' });
  await clients.ask({ ask: 'come', count: number });
  for (let left = ms; left > 0; left = end - performance.now()) {
    await sleep(Math.min(TELL_EVERY_MS, left));
    const { sizes, rss } = await app.ask({ ask: 'progress' });
    const progress = await clients.ask({ ask: 'progress' });
    progress.faults.forEach(found);
    const seconds = Math.max(0, Math.round((end - performance.now()) / 1_000));
    console.log(
      `${seconds} s left, there are ${sizes.join(' + ')}, rss ${Math.round(rss / MB)} MB; ${listed(progress.counts)}`,
    );
  }
  const { published } = await app.ask({ ask: 'stop' });
  const { faults: last, counts } = await clients.ask({ ask: 'finish', published });
  last.forEach(found);
  const deadline = performance.now() + LEAVE_MS;
  while (performance.now() < deadline && (await size(app)) > 0) {
    await sleep(SETTLE_MS);
  }
  await app.ask({ ask: 'fill' });
  return { ...(await app.ask({ ask: 'state' })), counts };
}

console.log(`seed ${seed}: ${count} clients, ${minutes} minutes, ${platform}`);
const app = new Worker('soak/app.mjs', [platform, `${seed}`]);
const { port } = await app.nextMessage();
const clients = new Worker('soak/clients.mjs', [`${port}`, `${seed}`]);
await clients.nextMessage();
try {
  const before = await phase(app, clients, Math.min(count, WARM_UP_CLIENTS), WARM_UP_MS);
  console.log('warm');
  const after = await phase(app, clients, count, minutes * 60_000);
  console.log(`in all: ${listed(after.counts)}; published ${after.published.join(' + ')}`);
  console.log(`heap ${(before.heap / MB).toFixed(2)} MB before, ${(after.heap / MB).toFixed(2)} MB after`);
  console.log(`handles ${JSON.stringify(before.handles)} before, ${JSON.stringify(after.handles)} after`);
  console.log(`hub.size() ${after.sizes.join(', ')}, hub.topics ${after.topics.length}`);
  if (after.heap - before.heap > HEAP_TOLERANCE) {
    found(`the heap has grown by more than ${HEAP_TOLERANCE / MB} MB`);
  }
  const kinds = new Set([...Object.keys(before.handles), ...Object.keys(after.handles)]);
  for (const kind of kinds) {
    if (!OWN_HANDLES.includes(kind) && before.handles[kind] !== after.handles[kind]) {
      found(`${kind}: ${before.handles[kind] ?? 0} before, ${after.handles[kind] ?? 0} after`);
    }
  }
  if (after.sizes.some((/** @type {number} */ size) => size !== 0) || after.topics.length > 0) {
    found('somebody still listens');
  }
  if (after.counts.lagged === 0 || after.counts.resets === 0) {
    console.log('NOTE: nobody was behind enough, or away for long enough: that much was not tried');
  }
} finally {
  await Promise.all([app.end(), clients.end()]);
}
console.log(faults.length === 0 ? 'passed' : `FAILED: ${faults.length} faults, seed ${seed}`);
process.exitCode = faults.length === 0 ? 0 : 1;
