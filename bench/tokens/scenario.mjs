import { join } from 'node:path';
import { isInstalled, startRedis } from '../cluster/redis-server.mjs';
import { demandFiles } from '../fanout/scenario.mjs';
import { Worker } from '../processes.mjs';
import { KEPT, LATENCIES, REPLAYS, STREAMS } from './contestants.mjs';

/** @typedef {import('../scenarios.mjs').Outcome} Outcome */
/** @typedef {import('../cluster/redis-server.mjs').Redis} Redis */
/** @typedef {import('./contestants.mjs').TokensContestant} TokensContestant */
/** @typedef {TokensContestant & { rounds: Record<string, number>[] }} Measured */
/** @typedef {import('../fanout/scenario.mjs').Run & { load: Worker }} CommonRun */
/** @typedef {CommonRun & { redis: Redis | undefined }} Run */
/** @typedef {{ perSecond: number, streams: number }} Case */
/** @typedef {{ worker: Worker, port: number }} Server */
/** @typedef {{ producer: Server, viewer: Server }} Servers the same twice, unless the viewers are elsewhere */

/** @type {readonly Case[]} */
const CASES = [50, 100].flatMap((perSecond) => [50, 500].map((streams) => ({ perSecond, streams })));
const MOST_STREAMS = 500;
const WATCH_MS = 1_000;
const WARM_UP = { perSecond: 100, streams: 100 };
/** How long streams run before they are measured, so that none is in its first steps. */
const SETTLE_MS = 150;
/** Longer than an answer takes to notice that it has to end. */
const END_MS = 100;
const REQUESTS = 200;
const WARM_UP_REQUESTS = 30;
const TOKENS = 100;
const FEW_RUNS = 200;
const MORE_RUNS = 1_800;
/** Longer than a process keeps a log open which nobody reads. */
const LINGER_MS = 1_500;
const LONG_ANSWER = 10_000;
const REPLAYS_EACH = 10;

const later = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** The answers that were started get names that were not used before. */
let names = 0;
const newName = () => `a${names++}`;

/** @param {TokensContestant} contestant @returns {Promise<Server>} */
async function startServer({ program }) {
  const worker = new Worker('tokens/worker.mjs', [...program]);
  const { port } = await worker.nextMessage();
  return { worker, port };
}

/** @param {TokensContestant} contestant @returns {Promise<Servers>} */
async function startServers(contestant) {
  const producer = await startServer(contestant);
  return { producer, viewer: contestant.elsewhere ? await startServer(contestant) : producer };
}

/** @param {readonly Servers[]} all */
async function endServers(all) {
  const workers = new Set(all.flatMap(({ producer, viewer }) => [producer.worker, viewer.worker]));
  await Promise.all([...workers].map((worker) => worker.end()));
}

/**
 * Returns the contestants that were asked for, and can be measured here.
 * @param {Run} run
 * @param {readonly TokensContestant[]} all
 * @returns {Measured[]}
 */
const asked = ({ redis, fanout: { only } }, all) =>
  all
    .filter((each) => redis || !each.redis)
    .filter(({ name }) => only === undefined || only.some((part) => name.includes(part)))
    .map((each) => ({ ...each, rounds: [] }));

/**
 * Measures contestants in turn, round after round, each in processes that stay.
 * @param {Run} run
 * @param {string} what
 * @param {readonly Measured[]} contestants
 * @param {(contestant: Measured, servers: Servers) => Promise<unknown>} warmUp
 * @param {(contestant: Measured, servers: Servers, round: number) => Promise<void>} measure
 */
async function interleaved({ rounds, report }, what, contestants, warmUp, measure) {
  /** @type {Servers[]} */
  const all = [];
  try {
    for (const contestant of contestants) {
      report(`${what}, warming up ${contestant.name}`);
      const servers = await startServers(contestant);
      all.push(servers);
      await warmUp(contestant, servers);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [index, contestant] of contestants.entries()) {
        report(`${what}, round ${round} of ${rounds}: ${contestant.name}`);
        await measure(contestant, all[index], round);
      }
    }
  } finally {
    await endServers(all);
  }
}

/**
 * Opens streams, and measures all processes of a contestant while tokens are sent.
 * @param {Run} run
 * @param {TokensContestant} contestant
 * @param {Servers} servers
 * @param {Case} how
 * @param {number} ms
 * @param {string} [profile]
 */
async function stream({ load, redis: server }, contestant, { producer, viewer }, { perSecond, streams }, ms, profile) {
  const { elsewhere } = contestant;
  const redis = contestant.redis ? server : undefined;
  const prefix = newName();
  const plan = `paced-${perSecond}`;
  if (elsewhere) {
    await producer.worker.ask({ ask: 'start', prefix, first: 0, count: streams, plan });
  }
  const path = elsewhere ? `/view/${prefix}-*` : `/start/${prefix}-*/${plan}`;
  await load.ask({ kind: 'hold', port: viewer.port, path, connections: streams });
  await later(SETTLE_MS);
  const before = { redis: await redis?.cpu(), received: (await load.ask({ kind: 'received' })).received };
  const watches = [producer.worker.ask({ ask: 'watch', ms, profile })];
  if (elsewhere) {
    watches.push(
      viewer.worker.ask({ ask: 'watch', ms, profile: profile?.replace('.cpuprofile', '-viewer.cpuprofile') }),
    );
  }
  const watched = await Promise.all(watches);
  const after = { redis: await redis?.cpu(), ...(await load.ask({ kind: 'received' })) };
  await load.ask({ kind: 'release' });
  await producer.worker.ask({ ask: 'end' });
  await later(END_MS + 1_000 / perSecond);
  const [{ tokens, ms: took }] = watched;
  const cpu = watched.reduce((sum, each) => sum + each.cpu, 0);
  return {
    cpu: (cpu * 1_000) / tokens,
    rate: tokens / (took / 1_000),
    redis: (((after.redis ?? Number.NaN) - (before.redis ?? 0)) * 1_000) / tokens,
    bytes: (after.received - before.received) / tokens,
    gone: streams - after.open,
  };
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function streams(run) {
  demandFiles(MOST_STREAMS);
  const { scale, fanout } = run;
  const all = asked(run, STREAMS);
  const measured = CASES.map(() => all.map((each) => /** @type {Measured} */ ({ ...each, rounds: [] })));
  const ms = WATCH_MS * Math.min(1, scale);
  await interleaved(
    run,
    'tokens',
    all,
    (contestant, servers) => stream(run, contestant, servers, WARM_UP, ms),
    async (contestant, servers, round) => {
      for (const [at, how] of CASES.entries()) {
        const file = `${contestant.name}-${how.perSecond}-${how.streams}.cpuprofile`.replaceAll(/[^\w.-]+/g, '-');
        const profile = round === 1 && fanout.profile !== undefined ? join(fanout.profile, file) : undefined;
        const figures = await stream(run, contestant, servers, how, ms, profile);
        measured[at].find(({ name }) => name === contestant.name)?.rounds.push(figures);
      }
    },
  );
  return CASES.map(({ perSecond, streams }, at) => ({
    scenario: 'tokens',
    title: `${streams} streams of ${perSecond} tokens/s`,
    perSecond,
    measured: measured[at],
  }));
}

/**
 * The time to the first byte, one request after the other.
 * @param {Run} run
 * @param {TokensContestant} contestant
 * @param {Servers} servers
 * @param {number} count
 */
async function latency({ load }, { program: [file] }, { producer, viewer }, count) {
  const path = `/start/${newName()}-*/held-1`;
  const before = await producer.worker.ask({ ask: 'cpu' });
  const started = await load.ask({ kind: 'firstBytes', port: producer.port, path, first: 0, count });
  const after = await producer.worker.ask({ ask: 'cpu' });
  const none = { p50: Number.NaN, p99: Number.NaN };
  const hasRuns = file !== 'raw' && (await producer.worker.ask({ ask: 'hasRuns' })).hasRuns;
  const isShared = producer !== viewer;
  const plan = { prefix: newName(), first: 0, count: 2 * count, plan: `held-${TOKENS}` };
  const start = hasRuns ? await producer.worker.ask({ ask: 'start', ...plan }) : none;
  const view = { kind: 'firstBytes', path: `/view/${plan.prefix}-*`, count };
  const here = hasRuns ? await load.ask({ ...view, port: producer.port, first: 0 }) : none;
  const elsewhere = hasRuns && isShared ? await load.ask({ ...view, port: viewer.port, first: count }) : none;
  return {
    first50: started.p50,
    first99: started.p99,
    cpu: ((after.cpu - before.cpu) * 1_000) / count,
    start50: start.p50,
    start99: start.p99,
    here50: here.p50,
    here99: here.p99,
    elsewhere50: elsewhere.p50,
    elsewhere99: elsewhere.p99,
  };
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function latencies(run) {
  const measured = asked(run, LATENCIES).map((each) => ({ ...each, elsewhere: each.redis }));
  const count = Math.ceil(REQUESTS * run.scale);
  await interleaved(
    run,
    'latencies',
    measured,
    (contestant, servers) => latency(run, contestant, servers, WARM_UP_REQUESTS),
    async (contestant, servers) => {
      contestant.rounds.push(await latency(run, contestant, servers, count));
    },
  );
  return [{ scenario: 'tokens-latency', title: 'Time to the first byte, in milliseconds', measured }];
}

/**
 * The memory of one more answer without a viewer: the slope between two numbers of answers, in a new process.
 * @param {Run} run
 * @param {TokensContestant} contestant
 * @param {string} plan
 */
async function slope({ scale, redis }, contestant, plan) {
  const { worker } = await startServer(contestant);
  const prefix = newName();
  /** @param {number} first @param {number} count */
  const grow = async (first, count) => {
    await worker.ask({ ask: 'start', prefix, first, count, plan });
    await later(LINGER_MS);
    return { ...(await worker.ask({ ask: 'memory' })), redis: await redis?.memory() };
  };
  try {
    const few = Math.ceil(FEW_RUNS * scale);
    const more = Math.ceil(MORE_RUNS * scale);
    const before = await grow(0, few);
    const after = await grow(few, more);
    return {
      heap: (after.heap - before.heap) / more,
      rss: (after.rss - before.rss) / more,
      redis: redis && contestant.redis ? (after.redis - before.redis) / more : Number.NaN,
    };
  } finally {
    await worker.end();
  }
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function memory(run) {
  const measured = asked(run, KEPT);
  for (let round = 1; round <= run.rounds; round++) {
    for (const contestant of measured) {
      run.report(`memory, round ${round} of ${run.rounds}: ${contestant.name}`);
      const running = await slope(run, contestant, `held-${TOKENS}`);
      const over = await slope(run, contestant, `burst-${TOKENS}`);
      contestant.rounds.push({
        ...running,
        overHeap: over.heap,
        overRss: over.rss,
        overRedis: over.redis,
      });
    }
  }
  return [{ scenario: 'tokens-memory', title: `Memory of one more answer of ${TOKENS} tokens, in bytes`, measured }];
}

/**
 * The whole of an answer that is over, or of a new one if it has no history.
 * @param {Run} run
 * @param {TokensContestant} contestant
 * @param {Servers} servers
 * @param {number} count
 */
async function replay({ load, redis }, contestant, { producer, viewer }, count) {
  const plan = `burst-${LONG_ANSWER}`;
  const prefix = newName();
  const { hasRuns } = await producer.worker.ask({ ask: 'hasRuns' });
  if (hasRuns) {
    await producer.worker.ask({ ask: 'start', prefix, first: 0, count: 1, plan });
    await later(LINGER_MS);
  }
  const work = {
    kind: 'streams',
    port: viewer.port,
    path: hasRuns ? `/view/${prefix}-0` : `/start/${prefix}/${plan}`,
    connections: 1,
  };
  const read = async () => {
    const before = { ...(await viewer.worker.ask({ ask: 'cpu' })), redis: await redis?.cpu() };
    for (let index = 0; index < count; index++) {
      await load.ask(work);
    }
    const after = { ...(await viewer.worker.ask({ ask: 'cpu' })), redis: await redis?.cpu() };
    return { cpu: (after.cpu - before.cpu) / count, redis: (after.redis - before.redis) / count };
  };
  const { cpu, redis: redisCpu } = await read();
  const { writes: before } = await viewer.worker.ask({ ask: 'countWrites' });
  await load.ask(work);
  const { writes: after } = await viewer.worker.ask({ ask: 'countWrites', stop: true });
  return {
    cpu: cpu * 1_000,
    redis: contestant.redis ? redisCpu * 1_000 : Number.NaN,
    perToken: (cpu * 1_000) / LONG_ANSWER,
    writes: after - before,
  };
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function replays(run) {
  const measured = asked(run, REPLAYS);
  const count = Math.ceil(REPLAYS_EACH * run.scale);
  await interleaved(
    run,
    'replays',
    measured,
    (contestant, servers) => replay(run, contestant, servers, count),
    async (contestant, servers) => {
      contestant.rounds.push(await replay(run, contestant, servers, count));
    },
  );
  return [{ scenario: 'tokens-replay', title: `The whole of an answer of ${LONG_ANSWER} tokens`, measured }];
}

/** @param {CommonRun} run @returns {Promise<Outcome[]>} */
export async function tokens(run) {
  if (!isInstalled) {
    console.log('**Redis is MISSING: there is no redis-server here. Its contestants are left out.**\n');
  }
  const redis = isInstalled ? await startRedis() : undefined;
  process.env.BENCH_REDIS_URL = redis?.url;
  try {
    const all = { ...run, redis };
    return [...(await streams(all)), ...(await latencies(all)), ...(await memory(all)), ...(await replays(all))];
  } finally {
    await redis?.stop();
  }
}
