import { RedisBroker } from 'nestjs-streaming/redis';
import { Worker } from '../processes.mjs';
import { startRedis } from './redis-server.mjs';
import { cpu, later } from './topics.worker.mjs';

// What a history for each topic costs in Redis: node bench/cluster/topics.mjs [topics] [wanted] [events per second]

/** @typedef {import('./redis-server.mjs').Redis} Redis */

const [TOPICS = 100_000, WANTED = 10_000, PER_SECOND = 5_000] = process.argv.slice(2).map(Number);
const APPENDS = 30_000;
const IN_FLIGHT = 256;
const SECONDS = 8;
const LIMIT = 100;
const TTL_MS = 300_000;
const DATA = JSON.stringify({ text: 'x'.repeat(180) });

/** @type {Record<string, string>[]} */
const rows = [];

/** @param {number} n */
const topicOf = (n) => `topic ${(n * 7_919) % TOPICS}`;

/** Opens a log of a kind. @param {RedisBroker} broker @param {string} kind */
const open = (broker, kind) =>
  kind === 'topics'
    ? broker.openTopics(kind, { limit: LIMIT, ttl: TTL_MS, all: false })
    : broker.open(kind, { limit: LIMIT, ttl: TTL_MS });

/** Measures appends as fast as possible. @param {Redis} redis @param {string} kind */
async function appends(redis, kind) {
  const broker = new RedisBroker({ url: redis.url, ...(kind === 'pubsub' && { tail: 'pubsub' }) });
  await open(broker, kind);
  let n = 0;
  const some = async () => {
    while (n < APPENDS) {
      await broker.append(kind, { data: DATA, encoding: 'json', topic: topicOf(n++) });
    }
  };
  const before = await redis.cpu();
  const { cpu: own } = cpu();
  await Promise.all(Array.from({ length: IN_FLIGHT }, some));
  const redisUs = ((await redis.cpu()) - before) / APPENDS;
  rows.push({
    measured: `append, ${kind}`,
    'Redis µs/event': redisUs.toFixed(1),
    'process µs/event': ((cpu().cpu - own) / APPENDS).toFixed(1),
  });
  await broker.close();
}

/** Measures a process that wants some topics, while events are published at a rate. @param {Redis} redis @param {string} kind @param {number} wanted */
async function receives(redis, kind, wanted) {
  const reader = new Worker('cluster/topics.worker.mjs', [redis.url, kind, `${wanted}`, `${TOPICS}`]);
  await reader.nextMessage();
  const broker = new RedisBroker({ url: redis.url, ...(kind === 'pubsub' && { tail: 'pubsub' }) });
  await open(broker, kind);
  await later(2_000);
  const before = await reader.ask({});
  const redisBefore = await redis.cpu();
  const began = performance.now();
  /** @type {Promise<unknown>[]} */
  const waiting = [];
  for (let n = 0; n < PER_SECOND * SECONDS; ) {
    const due = Math.min(PER_SECOND * SECONDS, ((performance.now() - began) * PER_SECOND) / 1_000);
    for (; n < due; n++) {
      waiting.push(broker.append(kind, { data: DATA, encoding: 'json', topic: topicOf(n) }));
    }
    await later(2);
  }
  await Promise.all(waiting);
  await later(500);
  const seconds = (performance.now() - began) / 1_000;
  const after = await reader.ask({});
  rows.push({
    measured: `receive ${wanted} of ${TOPICS} topics, ${kind}, ${PER_SECOND}/s`,
    'Redis µs/event': (((await redis.cpu()) - redisBefore) / (PER_SECOND * SECONDS)).toFixed(1),
    'process CPU': `${((after.cpu - before.cpu) / seconds / 10_000).toFixed(1)} %`,
    received: `${after.received - before.received}`,
    heap: `${(after.heap / 1e6).toFixed(0)} MB`,
  });
  await broker.close();
  await reader.end();
}

const redis = await startRedis();
for (const kind of ['log', 'pubsub', 'topics', 'log', 'pubsub', 'topics']) {
  await appends(redis, kind);
}
const empty = await redis.memory();
for (const [kind, wanted] of /** @type {const} */ ([
  ['log', TOPICS],
  ['pubsub', TOPICS],
  ['topics', 0],
  ['topics', WANTED],
])) {
  await receives(redis, kind, wanted);
}
rows.push({
  measured: 'memory of Redis',
  received: `${(empty / 1e6).toFixed(0)} MB, then ${((await redis.memory()) / 1e6).toFixed(0)} MB`,
});
console.table(rows);
await redis.stop();
process.exit();
