import { join } from 'node:path';
import { demandFiles, PACE, startLoad } from '../fanout/scenario.mjs';
import { Worker } from '../processes.mjs';
import { APPENDERS, FLEETS, PAIRS } from './contestants.mjs';
import { isInstalled, startRedis } from './redis-server.mjs';

/** @typedef {import('../fanout/scenario.mjs').Run} Run */
/** @typedef {import('../scenarios.mjs').Outcome} Outcome */
/** @typedef {import('./redis-server.mjs').Redis} Redis */

const APPENDS = 30_000;
const IN_FLIGHT = 256;
const WARM_UP = 0.3;
/** Events per second: few enough that none waits for another one, and then more. */
const RATES = [50, 1_000, 5_000];
/** The minimum number of events for a p99. */
const FEWEST_EVENTS = 200;
const PROCESSES = 4;
const CLIENTS = [8_000];
const WARM_UP_MS = 1_000;
/** The minimum number of turns, however long they take with many clients. */
const FEWEST_TURNS = 4;

/**
 * Starts a process of a contestant, with a log of its own.
 * @param {readonly [file: string, name: string]} program
 * @param {Redis} redis
 * @param {string} log
 */
async function start(program, { url }, log) {
  const worker = new Worker('cluster/worker.mjs', [...program, url, log]);
  await worker.nextMessage();
  return worker;
}

/** @param {Run} run @param {{ name: string }} contestant */
const isAsked = ({ fanout: { only } }, { name }) => only === undefined || only.some((part) => name.includes(part));

/**
 * Appends as fast as possible.
 * @param {Run} run
 * @param {Redis} redis
 * @returns {Promise<Outcome>}
 */
async function appends(run, redis) {
  const { rounds, scale, report, fanout } = run;
  const all = APPENDERS.filter((each) => isAsked(run, each)).map((each) => ({
    ...each,
    rounds: /** @type {Record<string, number>[]} */ ([]),
  }));
  /** @type {Worker[]} */
  const workers = [];
  /** @param {Worker} worker @param {number} count @param {string} [profile] */
  const measure = async (worker, count, profile) => {
    const before = await redis.cpu();
    const { cpu, us } = await worker.ask({ ask: 'append', count, inFlight: IN_FLIGHT, profile });
    const after = await redis.cpu();
    return { cpu: (cpu * 1_000) / count, redis: ((after - before) * 1_000) / count, rate: count / (us / 1e6) };
  };
  try {
    for (const [index, { name, program }] of all.entries()) {
      report(`appends, warming up ${name}`);
      const worker = await start(program, redis, `appends${index}`);
      workers.push(worker);
      await measure(worker, Math.ceil(APPENDS * scale * WARM_UP));
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [index, contestant] of all.entries()) {
        report(`appends, round ${round} of ${rounds}: ${contestant.name}`);
        const file = `${contestant.name}-append.cpuprofile`.replaceAll(/[^\w.-]+/g, '-');
        const profile = round === 1 && fanout.profile !== undefined ? join(fanout.profile, file) : undefined;
        contestant.rounds.push(await measure(workers[index], Math.ceil(APPENDS * scale), profile));
      }
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
  }
  return { scenario: 'cluster-append', title: `Appends, ${IN_FLIGHT} in flight`, measured: all };
}

/**
 * Publishes in one process, and listens in another one.
 * @param {Run} run
 * @param {Redis} redis
 * @returns {Promise<Outcome[]>}
 */
async function pairs(run, redis) {
  const { rounds, scale, report, fanout } = run;
  const all = PAIRS.filter((each) => isAsked(run, each));
  const measured = RATES.map(() =>
    all.map((each) => ({ ...each, rounds: /** @type {Record<string, number>[]} */ ([]) })),
  );
  /** @type {{ publisher: Worker, listener: Worker }[]} */
  const workers = [];
  /** @param {typeof workers[number]} pair @param {number} perSecond @param {number} ms */
  const measure = async ({ publisher, listener }, perSecond, ms) => {
    const before = { redis: await redis.cpu(), listener: (await listener.ask({ ask: 'cpu' })).cpu };
    const sent = await publisher.ask({ ask: 'publish', perSecond, ms });
    const heard = await listener.ask({ ask: 'arrived', count: sent.count });
    const after = { redis: await redis.cpu(), listener: (await listener.ask({ ask: 'cpu' })).cpu };
    /** @param {number} us */
    const perEvent = (us) => (us * 1_000) / sent.count;
    return {
      p50: heard.p50,
      p99: heard.p99,
      ack50: sent.p50,
      ack99: sent.p99,
      redis: perEvent(after.redis - before.redis),
      publisher: perEvent(sent.cpu),
      listener: perEvent(after.listener - before.listener),
      missing: sent.count - heard.count,
    };
  };
  try {
    for (const [index, { name, program, listener: listening }] of all.entries()) {
      report(`receipt, warming up ${name}`);
      const listener = await start(listening, redis, `receipt${index}`);
      workers.push({ listener, publisher: await start(program, redis, `receipt${index}`) });
      await listener.ask({ ask: 'listen' });
      await measure(workers[index], RATES[RATES.length - 1], WARM_UP_MS * Math.min(1, scale));
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [at, perSecond] of RATES.entries()) {
        for (const [index, { name }] of all.entries()) {
          report(`receipt, ${perSecond} events/s, round ${round} of ${rounds}: ${name}`);
          const ms = Math.max(fanout.seconds, FEWEST_EVENTS / perSecond) * 1_000 * scale;
          measured[at][index].rounds.push(await measure(workers[index], perSecond, ms));
        }
      }
    }
  } finally {
    await Promise.all(workers.flatMap(({ publisher, listener }) => [publisher.end(), listener.end()]));
  }
  return RATES.map((perSecond, at) => ({
    scenario: 'cluster-receipt',
    title: `Publish to receipt in another process, ${perSecond} events/s`,
    perSecond,
    measured: measured[at],
  }));
}

/** @param {string} name an export of `fanout/servers/redis.mjs` */
async function startProcess(name) {
  const worker = new Worker('fanout/server.mjs', ['redis', name]);
  const { port, ackPort } = await worker.nextMessage();
  return { worker, port, ackPort };
}

/** @typedef {Awaited<ReturnType<typeof startProcess>>} Started */
/** @typedef {{ publisher: Started, servers: Started[] }} Fleet */

/** @param {typeof FLEETS[number]} contestant @returns {Promise<Fleet>} */
async function startFleet({ server, publisher }) {
  const servers = await Promise.all(Array.from({ length: PROCESSES }, () => startProcess(server)));
  return { publisher: await startProcess(publisher), servers };
}

/**
 * Publishes to the clients of all processes.
 * @param {Worker} load
 * @param {Redis} redis
 * @param {Fleet} fleet
 * @param {{ clients: number, pace: 'paced' | 'saturated', perTurn: number }} how
 * @param {number} ms
 */
async function broadcast(load, redis, { publisher, servers }, { clients, pace, perTurn }, ms) {
  const turn = clients * perTurn;
  const cpu = async () => {
    const answers = await Promise.all([publisher, ...servers].map(({ worker }) => worker.ask({ ask: 'cpu' })));
    return answers.reduce((sum, each) => sum + each.cpu, 0);
  };
  await load.ask({ kind: 'begin', ackPort: publisher.ackPort, turn: pace === 'saturated' ? turn : undefined });
  const before = { cpu: await cpu(), redis: await redis.cpu() };
  const interval = (turn / PACE) * 1_000;
  const { messages, began, ended } = await publisher.worker.ask({ ask: 'publish', pace, perTurn, interval, ms });
  const result = await load.ask({ kind: 'finish', count: messages * clients });
  const after = { cpu: await cpu(), redis: await redis.cpu() };
  return {
    cpu: ((after.cpu - before.cpu) * 1_000) / result.deliveries,
    redis: ((after.redis - before.redis) * 1_000) / messages,
    rate: result.deliveries / ((Math.max(result.lastAt, ended) - began) / 1e6),
    p50: result.p50,
    p99: result.p99,
    missing: messages * clients - result.deliveries,
    gone: result.gone,
  };
}

/**
 * Four processes with clients, and one that publishes.
 * @param {Run} run
 * @param {Redis} redis
 * @param {number} clients
 * @returns {Promise<Outcome[]>}
 */
async function fleet(run, redis, clients) {
  const { rounds, scale, report, fanout } = run;
  demandFiles(clients);
  const cases = fanout.paces.flatMap((pace) => fanout.turns.map((perTurn) => ({ clients, pace, perTurn })));
  const all = FLEETS.filter((each) => isAsked(run, each));
  const measured = cases.map(() =>
    all.map((each) => ({ ...each, rounds: /** @type {Record<string, number>[]} */ ([]) })),
  );
  const load = await startLoad();
  /** @type {Fleet[]} */
  const fleets = [];
  /** @param {Fleet} fleet @param {(how: typeof cases[number]) => number} msOf */
  const measure = async (fleet, msOf) => {
    for (const { port } of fleet.servers) {
      await load.ask({ kind: 'join', port, path: '/listen', protocol: 'sse', connections: clients / PROCESSES });
    }
    const results = [];
    for (const how of cases) {
      results.push(await broadcast(load, redis, fleet, how, msOf(how)));
    }
    await load.ask({ kind: 'leave' });
    await Promise.all(fleet.servers.map(({ worker }) => worker.ask({ ask: 'left' })));
    return results;
  };
  try {
    for (const contestant of all) {
      report(`${clients} clients, warming up ${contestant.name}`);
      fleets.push(await startFleet(contestant));
      await measure(/** @type {Fleet} */ (fleets.at(-1)), () => WARM_UP_MS * Math.min(1, scale));
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [index, { name }] of all.entries()) {
        report(`${clients} clients, round ${round} of ${rounds}: ${name}`);
        const results = await measure(fleets[index], ({ pace, perTurn }) => {
          const fewest = pace === 'paced' ? FEWEST_TURNS * ((clients * perTurn) / PACE) * 1_000 : 0;
          return Math.max(fanout.seconds * 1_000 * scale, fewest);
        });
        for (const [at, result] of results.entries()) {
          measured[at][index].rounds.push(result);
        }
      }
    }
  } finally {
    const processes = fleets.flatMap(({ publisher, servers }) => [publisher, ...servers]);
    await Promise.all([load, ...processes.map(({ worker }) => worker)].map((worker) => worker.end()));
  }
  return cases.map((how, at) => ({
    scenario: 'cluster-fleet',
    title: `${PROCESSES} processes, ${clients} clients, ${how.perTurn} ${how.perTurn === 1 ? 'message' : 'messages'} a turn, ${how.pace}`,
    ...how,
    measured: measured[at],
  }));
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
export async function cluster(run) {
  if (!isInstalled) {
    console.log('**Redis is MISSING: there is no redis-server here. The scenario is left out.**\n');
    return [];
  }
  const redis = await startRedis();
  process.env.BENCH_REDIS_URL = redis.url;
  try {
    const outcomes = [await appends(run, redis), ...(await pairs(run, redis))];
    for (const clients of run.fanout.clients ?? CLIENTS) {
      outcomes.push(...(await fleet(run, redis, clients)));
    }
    return outcomes;
  } finally {
    await redis.stop();
  }
}
