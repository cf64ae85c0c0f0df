import { profiled } from '../fanout/profile.mjs';
import { cpu, memory } from '../usage.mjs';

/** The process of one contestant. It receives streams on request, and reports its resources. */

const SETTLE_MS = 300;
/** How many connections are opened at once. */
const AT_ONCE = 50;

const [file, name] = process.argv.slice(2);
const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

process.on('disconnect', () => process.exit());

/** @type {{ [name: string]: import('./contestants.mjs').Receive }} */
const { [name]: receive } = await import(`./receivers/${file}.mjs`);
/** @type {(() => void)[]} */
const stops = [];

function release() {
  for (const stop of stops.splice(0)) {
    stop();
  }
}

/**
 * Receives events until there are enough. Fails if one is not parsed.
 * @param {{ url: string, connections: number, count: number, profile?: string }} how
 */
async function take({ url, connections, count, profile }) {
  const before = { ...cpu(), at: performance.now() };
  let events = 0;
  let rows = 0;
  await profiled(
    profile,
    () =>
      new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
        for (let i = 0; i < connections; i++) {
          const stop = receive(url, (/** @type {any} */ data) => {
            rows += data.rows.length;
            if (++events === count) {
              resolve();
            }
          });
          stops.push(stop);
        }
      }),
  );
  const used = { cpu: cpu().cpu - before.cpu, ms: performance.now() - before.at, count };
  release();
  if (rows < events) {
    throw new Error('Not all events were parsed');
  }
  return used;
}

/**
 * Opens streams. Resolves when each of them has received an event.
 * @param {{ url: string, connections: number }} how
 */
async function hold({ url, connections }) {
  for (let open = 0; open < connections; open += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, connections - open) }, () => {
      return new Promise((resolve) => stops.push(receive(url, resolve)));
    });
    await Promise.all(some);
  }
  return {};
}

/**
 * Measures for some time while events arrive.
 * @param {{ url: string, connections: number, ms: number, profile?: string }} how
 */
async function watch({ url, connections, ms, profile }) {
  let events = 0;
  for (let i = 0; i < connections; i++) {
    stops.push(receive(url, () => events++));
  }
  await later(SETTLE_MS);
  const before = { ...cpu(), at: performance.now(), events };
  await profiled(profile, () => later(ms));
  const used = { cpu: cpu().cpu - before.cpu, ms: performance.now() - before.at, count: events - before.events };
  release();
  return used;
}

/** @type {Record<string, (question: any) => unknown>} */
const ANSWERS = { memory, take, hold, watch, release };
process.on('message', async (/** @type {{ ask: string }} */ { ask, ...question }) => {
  try {
    process.send?.({ .../** @type {object} */ (await ANSWERS[ask](question)) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({});
