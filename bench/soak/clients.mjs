import { Client } from './client.mjs';
import { HUBS, Plan, randomOf } from './plan.mjs';

/** The process of the clients. */

const [port, seed] = process.argv.slice(2).map(Number);
const MOST_FAULTS = 20;
/** Events that have not arrived after this time are lost. */
const PATIENCE_MS = 50_000;

/** @type {string[]} */
let faults = [];
/** @type {Client[]} */
let clients = [];
const world = {
  port,
  random: randomOf(seed + 1),
  plan: new Plan(seed),
  counts: { connections: 0, events: 0, resets: 0, lagged: 0, dropped: 0, stalls: 0, left: 0, cut: 0, faults: 0 },
  calm: false,
  /** @param {string} what */
  fault: (what) => {
    world.counts.faults++;
    if (faults.length < MOST_FAULTS) {
      faults.push(what);
    }
  },
};

/** @type {Record<string, (question: any) => unknown>} */
const ANSWERS = {
  come: ({ count }) => {
    world.calm = false;
    clients = Array.from({ length: count }, () => new Client(world));
  },
  progress: () => {
    const found = faults;
    faults = [];
    return { counts: world.counts, faults: found };
  },
  /** All clients reconnect and read the remaining events. Then they are checked, and disconnect. */
  finish: async ({ published }) => {
    world.calm = true;
    const last = Object.fromEntries(HUBS.map((name, i) => [name, published[i]]));
    for (const client of clients) {
      client.calm();
    }
    const deadline = performance.now() + PATIENCE_MS;
    while (performance.now() < deadline && !clients.every((client) => client.isAt(last))) {
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    for (const client of clients) {
      client.finish(last);
    }
    clients = [];
    return ANSWERS.progress({});
  },
};

process.on('disconnect', () => process.exit());
process.on('message', async (/** @type {{ ask: string }} */ { ask, ...question }) => {
  try {
    process.send?.({ ...(await ANSWERS[ask](question)) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});
process.send?.({ ready: true });
