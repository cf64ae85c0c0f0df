import { once } from 'node:events';
import { Query } from '@nestjs/common';
import { InjectHub, LastEventId, Sse, StreamingModule } from 'nestjs-streaming';
import { decorate, nestServer } from '../servers/nest-app.mjs';
import { memory } from '../usage.mjs';
import { FLOOD, HUBS, Plan } from './plan.mjs';

/** The process of the application: a hub for each overflow policy. */

const HISTORY = 1_000;
const QUEUE = { items: 100, bytes: 262_144 };
const EVENTS_PER_SECOND = 60;
const TICK_MS = 20;
const SMALL = 'x'.repeat(180);
const LARGE = 'x'.repeat(50_000);

const [platform, seed] = process.argv.slice(2);
const plan = new Plan(Number(seed));
/** @type {readonly import('nestjs-streaming').Hub[]} */
let hubs = [];

class SoakController {
  /** @param {readonly import('nestjs-streaming').Hub[]} injected */
  constructor(...injected) {
    hubs = injected;
  }

  /** @param {string} name @param {string} topics @param {string} [after] */
  listen(name, topics, after) {
    return hubs[HUBS.indexOf(/** @type {any} */ (name))].subscribe({ topic: topics.split(','), after });
  }
}
for (const [index, name] of HUBS.entries()) {
  InjectHub(name)(SoakController, undefined, index);
}
decorate(SoakController, 'listen', [Sse('listen')], [Query('hub'), Query('topics'), LastEventId()]);

const published = HUBS.map(() => 0);
let owed = 0;
let ticked = 0;
/** @type {NodeJS.Timeout | undefined} */
let ticking;
/** @type {unknown} */
let failure;

/** The next event of each hub. */
function publish() {
  for (const [index, hub] of hubs.entries()) {
    published[index]++;
    const n = published[index];
    const topic = plan.topicOf(n);
    hub.publish({ n, pad: topic === FLOOD ? LARGE : SMALL }, { topic, key: plan.keyOf(n) }).catch((error) => {
      failure = error;
    });
  }
}

function tick() {
  const now = performance.now();
  owed += ((now - ticked) * EVENTS_PER_SECOND) / 1_000;
  ticked = now;
  for (; owed >= 1; owed--) {
    publish();
  }
}

/** Returns the number of resources of each kind that keep the process alive. */
function handles() {
  /** @type {Record<string, number>} */
  const counts = {};
  for (const kind of process.getActiveResourcesInfo()) {
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** @type {Record<string, (question: any) => unknown>} */
const ANSWERS = {
  /** Fills the history with events that no client receives, so that it always has the same size. */
  fill: () => {
    for (let i = 0; i < HISTORY; i++) {
      publish();
    }
  },
  start: () => {
    ticked = performance.now();
    ticking = setInterval(tick, TICK_MS);
  },
  stop: () => {
    clearInterval(ticking);
    ticking = undefined;
    return { published };
  },
  state: async () => ({
    heap: (await memory()).heap,
    handles: handles(),
    sizes: hubs.map((hub) => hub.size()),
    topics: hubs.flatMap((hub) => hub.topics),
    published,
  }),
  progress: () => ({ sizes: hubs.map((hub) => hub.size()), published, rss: process.memoryUsage.rss() }),
};

process.on('disconnect', () => process.exit());
process.on('message', async (/** @type {{ ask: string }} */ { ask, ...question }) => {
  try {
    const answer = await ANSWERS[ask](question);
    process.send?.({ ...answer, ...(failure === undefined ? {} : { error: String(failure) }) });
  } catch (error) {
    process.send?.({ error: String(error) });
  }
});

const server = await nestServer(/** @type {'express' | 'fastify'} */ (platform), SoakController, [
  StreamingModule.forRoot(),
  StreamingModule.registerHub(
    ...HUBS.map((name) => ({ name, overflow: name, queue: QUEUE, history: { limit: HISTORY } })),
  ),
]);
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.({ port: server.address().port });
