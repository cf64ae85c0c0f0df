import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from '../processes.mjs';
import { contestants, SCATTERED } from './contestants.mjs';
import { TOPICS } from './message.mjs';

/** @typedef {import('./contestants.mjs').FanoutContestant} FanoutContestant */
/** @typedef {import('./contestants.mjs').Group} Group */
/** @typedef {FanoutContestant & { rounds: Record<string, number>[] }} Measured a contestant and the figures of each round */
/** @typedef {{ clients: number, pace: 'paced' | 'saturated', perTurn: number }} Case */
/** @typedef {{ worker: Worker, port: number, ackPort: number }} Server */
/**
 * @typedef {object} FanoutOptions
 * @property {readonly number[]} [clients]
 * @property {readonly number[]} turns the numbers of messages in one turn
 * @property {readonly ('paced' | 'saturated')[]} paces
 * @property {number} seconds
 * @property {readonly string[]} [only]
 * @property {string} [profile] a directory
 */
/** @typedef {{ rounds: number, scale: number, report: (progress: string) => void, fanout: FanoutOptions, parts?: readonly string[] }} Run */

/** With 5,000 clients, a gzip stream for each of them takes more than a gigabyte. */
const CLIENTS = { fanout: [1_000, 5_000], 'fanout-ws': [1_000, 5_000], 'fanout-gzip': [1_000] };
/** The deliveries per second of paced runs. */
export const PACE = 25_000;
/** The minimum number of turns, however long they take with many clients and messages. */
const FEWEST_TURNS = 4;
const WARM_UP_MS = 300;
const FIRST_WARM_UP_MS = 1_000;
const IDLE_FIRST = 500;
const IDLE_MORE = 2_000;
const IDLE_WARM_UP = 200;
/** Open files in addition to the sockets of the clients. */
const OTHER_FILES = 200;

/** @param {number} clients */
export function demandFiles(clients) {
  const limit =
    process.platform === 'linux' && /open files +(\d+)/.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  if (limit && Number(limit) < clients + OTHER_FILES) {
    throw new Error(`${clients} clients need more open files than the ${limit} allowed here: raise ulimit -Hn`);
  }
}

/** @param {FanoutContestant} contestant */
async function startServer({ server }) {
  const worker = new Worker('fanout/server.mjs', [...server]);
  const { port, ackPort } = await worker.nextMessage();
  return { worker, port, ackPort };
}

export async function startLoad() {
  const load = new Worker('fanout/load.mjs');
  await load.nextMessage();
  return load;
}

/**
 * Publishes for some time to connected clients, and waits until all messages have arrived.
 * @param {Worker} load
 * @param {Server} server
 * @param {Case} how
 * @param {number} ms
 * @param {string} [profile]
 */
async function publish(load, { worker, ackPort }, { clients, pace, perTurn }, ms, profile) {
  const turn = clients * perTurn;
  const interval = (turn / PACE) * 1_000;
  await load.ask({ kind: 'begin', ackPort, turn: pace === 'saturated' ? turn : undefined });
  const before = await worker.ask({ ask: 'cpu' });
  const { messages, began, ended } = await worker.ask({ ask: 'publish', pace, perTurn, interval, ms, profile });
  const result = await load.ask({ kind: 'finish', count: messages * clients });
  const after = await worker.ask({ ask: 'cpu' });
  return {
    cpu: ((after.cpu - before.cpu) * 1_000) / result.deliveries,
    rate: result.deliveries / ((Math.max(result.lastAt, ended) - began) / 1e6),
    bytes: result.received / result.deliveries,
    p50: result.p50,
    p99: result.p99,
    missing: messages * clients - result.deliveries,
    gone: result.gone,
  };
}

/**
 * All cases of one contestant, with the same clients.
 * @param {Run} run
 * @param {Worker} load
 * @param {FanoutContestant} contestant
 * @param {Server} server
 * @param {readonly Case[]} cases
 * @param {string} [profiles] a directory
 */
async function measure({ fanout, scale }, load, { name, path, protocol }, server, cases, profiles) {
  const [{ clients }] = cases;
  await load.ask({ kind: 'join', port: server.port, path, protocol, connections: clients });
  try {
    const results = [];
    for (const how of cases) {
      await publish(load, server, { ...how, pace: 'saturated' }, WARM_UP_MS * Math.min(1, scale));
      const interval = (clients * how.perTurn * 1_000) / PACE;
      const fewest = how.pace === 'paced' ? FEWEST_TURNS * interval : 0;
      const ms = Math.max(fanout.seconds * 1_000 * scale, fewest);
      const file = `${name}-${protocol}-${clients}-${how.pace}-${how.perTurn}.cpuprofile`.replaceAll(/[^\w.-]+/g, '-');
      results.push(await publish(load, server, how, ms, profiles && join(profiles, file)));
    }
    return results;
  } finally {
    await load.ask({ kind: 'leave' });
    await server.worker.ask({ ask: 'left' });
  }
}

/**
 * Runs all contestants in turn, round after round, with a number of clients.
 * @param {Run} run
 * @param {Group} group
 * @param {number} clients
 */
async function withClients(run, group, clients) {
  const { rounds, scale, report, fanout } = run;
  demandFiles(clients);
  const cases = fanout.paces.flatMap((pace) => fanout.turns.map((perTurn) => ({ clients, pace, perTurn })));
  const all = contestants(group, fanout.only);
  const measured = cases.map(() => all.map((each) => /** @type {Measured} */ ({ ...each, rounds: [] })));
  const load = await startLoad();
  const servers = [];
  try {
    const warmUps = fanout.turns.map((perTurn) => ({ clients, pace: /** @type {const} */ ('saturated'), perTurn }));
    for (const contestant of all) {
      report(`${clients} clients, warming up ${contestant.name}`);
      const server = await startServer(contestant);
      servers.push(server);
      const short = { ...run, fanout: { ...fanout, seconds: FIRST_WARM_UP_MS / 1_000 } };
      await measure(short, load, contestant, server, warmUps);
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [index, contestant] of all.entries()) {
        report(`${clients} clients, round ${round} of ${rounds}: ${contestant.name}`);
        const profiles = round === 1 ? fanout.profile : undefined;
        const results = await measure({ ...run, scale }, load, contestant, servers[index], cases, profiles);
        for (const [i, result] of results.entries()) {
          measured[i][index].rounds.push(result);
        }
      }
    }
  } finally {
    await Promise.all([load, ...servers.map(({ worker }) => worker)].map((worker) => worker.end()));
  }
  return cases.map((how, i) => ({ scenario: group, title: titleOf(group, how), ...how, measured: measured[i] }));
}

/** The kind of the clients of a group. */
const WHO = { fanout: 'clients', 'fanout-ws': 'WebSocket clients', 'fanout-gzip': 'gzip clients' };

/**
 * @param {Group} group
 * @param {Case} how
 */
const titleOf = (group, { clients, pace, perTurn }) =>
  `${clients} ${WHO[group]}, ${perTurn} ${perTurn === 1 ? 'message' : 'messages'} a turn, ${pace}`;

/** @param {Group} group @returns {(run: Run) => Promise<import('../scenarios.mjs').Outcome[]>} */
export const fanout = (group) => async (run) => {
  const outcomes = [];
  for (const clients of run.fanout.clients ?? CLIENTS[group]) {
    outcomes.push(...(await withClients(run, group, clients)));
  }
  return outcomes;
};

/**
 * Measures the memory of one more client that has received a few messages: the slope between two numbers of clients, in a new process.
 * @param {Run} run
 * @param {Worker} load
 * @param {FanoutContestant} contestant
 */
async function idleSlope({ scale }, load, contestant) {
  const { path, protocol } = contestant;
  const server = await startServer(contestant);
  /** @param {number} connections @param {number} clients with those that are there already */
  const join = async (connections, clients) => {
    await load.ask({ kind: 'join', port: server.port, path, protocol, connections });
    const { missing } = await publish(load, server, { clients, pace: 'paced', perTurn: 1 }, 100);
    const memory = await server.worker.ask({ ask: 'memory' });
    return { ...memory, missing };
  };
  try {
    await join(IDLE_WARM_UP, IDLE_WARM_UP);
    await load.ask({ kind: 'leave' });
    await server.worker.ask({ ask: 'left' });
    const first = Math.ceil(IDLE_FIRST * scale);
    const more = Math.ceil(IDLE_MORE * scale);
    const few = await join(first, first);
    const many = await join(more, first + more);
    // NaN cannot be sent between processes.
    const heap = few.heap === null ? Number.NaN : (many.heap - few.heap) / more;
    return { heap, rss: (many.rss - few.rss) / more, missing: few.missing + many.missing };
  } finally {
    await load.ask({ kind: 'leave' });
    await server.worker.end();
  }
}

/** @param {Group} group @returns {(run: Run) => Promise<import('../scenarios.mjs').Outcome[]>} */
export const fanoutIdle = (group) => async (run) => {
  demandFiles(IDLE_FIRST + IDLE_MORE);
  const load = await startLoad();
  const measured = contestants(group, run.fanout.only).map((each) => /** @type {Measured} */ ({ ...each, rounds: [] }));
  try {
    for (let round = 1; round <= run.rounds; round++) {
      for (const contestant of measured) {
        run.report(`round ${round} of ${run.rounds}: ${contestant.name}`);
        contestant.rounds.push(await idleSlope(run, load, contestant));
      }
    }
  } finally {
    await load.end();
  }
  return [{ scenario: `${group}-idle`, title: `An idle client of a broadcast: ${WHO[group]}`, measured }];
};

/** Messages in one turn, and milliseconds between turns. */
const SCATTERED_CASES = [
  { perTurn: 1, interval: 1 },
  { perTurn: 10, interval: 2 },
];

/**
 * Every client has a topic of its own, so that each message is delivered to one client: nothing is shared.
 * @param {Run} run
 * @returns {Promise<import('../scenarios.mjs').Outcome[]>}
 */
export async function fanoutTopics({ rounds, scale, report, fanout }) {
  demandFiles(TOPICS);
  const load = await startLoad();
  const all = SCATTERED.filter(({ name }) => fanout.only?.some((part) => name.includes(part)) ?? true);
  const measured = SCATTERED_CASES.map(() => all.map((each) => /** @type {Measured} */ ({ ...each, rounds: [] })));
  /** @type {Server[]} */
  const servers = [];
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const [index, contestant] of all.entries()) {
        report(`round ${round} of ${rounds}: ${contestant.name}`);
        servers[index] ??= await startServer(contestant);
        const { worker, port } = servers[index];
        await load.ask({ kind: 'join', port, path: '/listen', protocol: 'sse', connections: TOPICS });
        for (const [at, { perTurn, interval }] of SCATTERED_CASES.entries()) {
          const result = await scatter(load, servers[index], perTurn, interval, fanout.seconds * 1_000 * scale);
          // The first round only warms up.
          if (round > 0) {
            measured[at][index].rounds.push(result);
          }
        }
        await load.ask({ kind: 'leave' });
        await worker.ask({ ask: 'left' });
      }
    }
  } finally {
    await Promise.all([load, ...servers.map(({ worker }) => worker)].map((worker) => worker.end()));
  }
  return SCATTERED_CASES.map(({ perTurn }, at) => ({
    scenario: 'fanout-topics',
    title: `${TOPICS} clients, each with a topic of its own, ${perTurn} ${perTurn === 1 ? 'message' : 'messages'} a turn`,
    perTurn,
    measured: measured[at],
  }));
}

/** @param {Worker} load @param {Server} server @param {number} perTurn @param {number} interval @param {number} ms */
async function scatter(load, { worker, ackPort }, perTurn, interval, ms) {
  await load.ask({ kind: 'begin', ackPort });
  const before = await worker.ask({ ask: 'cpu' });
  const { messages, began, ended } = await worker.ask({ ask: 'publish', pace: 'paced', perTurn, interval, ms });
  const result = await load.ask({ kind: 'finish', count: messages });
  const after = await worker.ask({ ask: 'cpu' });
  return {
    cpu: ((after.cpu - before.cpu) * 1_000) / messages,
    rate: result.deliveries / ((Math.max(result.lastAt, ended) - began) / 1e6),
    p50: result.p50,
    p99: result.p99,
    missing: messages - result.deliveries,
    gone: result.gone,
  };
}
