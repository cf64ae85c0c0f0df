import { brokers } from './brokers/scenario.mjs';
import { client } from './client/scenario.mjs';
import { cluster } from './cluster/scenario.mjs';
import { FAST, IDLE, SHORT } from './contestants.mjs';
import { fanout, fanoutIdle, fanoutTopics } from './fanout/scenario.mjs';
import { paired } from './paired/scenario.mjs';
import { startServer } from './processes.mjs';
import { tokens } from './tokens/scenario.mjs';
import { workers } from './workers/scenario.mjs';

/** @typedef {import('./contestants.mjs').Contestant} Contestant */
/** @typedef {import('./processes.mjs').Worker} Worker */
/** @typedef {Contestant & { rounds: Record<string, number>[] }} Measured a contestant and the figures of each round */
/** @typedef {import('./fanout/scenario.mjs').Run & { load: Worker, pairedSeconds: number, other: boolean }} Run `other`: whether there is another build to compare with */
/**
 * @typedef {object} Outcome the content of one table
 * @property {string} scenario
 * @property {string} title
 * @property {readonly any[]} measured each a {@link Measured}, with the contestants that it is compared with
 * @property {number} [clients]
 * @property {'paced' | 'saturated'} [pace]
 * @property {number} [perTurn]
 * @property {number} [perSecond]
 */

const MANY = 50;
const WARM_UP = 0.3;
const SHORT_REQUESTS = 10_000;
const SHORT_CONNECTIONS = 32;
const IDLE_FIRST = 500;
const IDLE_MORE = 2_000;
const IDLE_WARM_UP = 200;

/**
 * Measures the resources of the server while the load generator works.
 * @param {Run} run
 * @param {Worker} worker
 * @param {object} work
 */
async function used({ load }, worker, work) {
  const before = await worker.ask({ ask: 'cpu' });
  const { ms } = await load.ask(work);
  const after = await worker.ask({ ask: 'cpu' });
  return { cpu: (after.cpu - before.cpu) * 1_000, ms };
}

/**
 * Runs all contestants in turn, round after round (A B C A B C …), after a warm-up of each.
 * @param {Run} run
 * @param {readonly Contestant[]} contestants
 * @param {(contestant: Contestant, server: { worker: Worker, port: number }, share: number) => Promise<Record<string, number>>} measure
 * @returns {Promise<Measured[]>}
 */
async function interleaved({ rounds, scale, report }, contestants, measure) {
  const servers = [];
  try {
    const measured = [];
    for (const contestant of contestants) {
      report(`warming up ${contestant.name}`);
      const server = await startServer(contestant.server);
      servers.push(server);
      await measure(contestant, server, scale * WARM_UP);
      measured.push({ ...contestant, rounds: [] });
    }
    for (let round = 1; round <= rounds; round++) {
      for (const [index, contestant] of measured.entries()) {
        report(`round ${round} of ${rounds}: ${contestant.name}`);
        contestant.rounds.push(await measure(contestant, servers[index], scale));
      }
    }
    return measured;
  } finally {
    await Promise.all(servers.map(({ worker }) => worker.end()));
  }
}

/**
 * @param {Run} run
 * @param {number} connections
 */
function streams(run, connections) {
  return interleaved(run, FAST, async ({ path, chunks }, { worker, port }, share) => {
    const each = Math.ceil((chunks * share) / connections);
    const work = { kind: 'streams', port, path: `${path}/${each}`, connections };
    const { cpu, ms } = await used(run, worker, work);
    const total = each * connections;
    return { cpu: cpu / total, rate: total / (ms / 1_000) };
  });
}

/** @param {Run} run */
function short(run) {
  return interleaved(run, SHORT, async ({ path }, { worker, port }, share) => {
    const count = Math.ceil(SHORT_REQUESTS * share);
    const work = { kind: 'requests', port, path, connections: SHORT_CONNECTIONS, count };
    const { cpu, ms } = await used(run, worker, work);
    return { cpu: cpu / count, rate: count / (ms / 1_000) };
  });
}

/**
 * Measures the memory of one more idle connection: the slope between two numbers of connections, in a new process.
 * @param {Run} run
 * @param {Contestant} contestant
 */
async function idleSlope({ load, scale }, { server, path }) {
  const { worker, port } = await startServer(server);
  /** @param {number} connections */
  const hold = async (connections) => {
    await load.ask({ kind: 'hold', port, path, connections });
    return worker.ask({ ask: 'memory' });
  };
  try {
    await hold(IDLE_WARM_UP);
    await load.ask({ kind: 'release' });
    const more = Math.ceil(IDLE_MORE * scale);
    const few = await hold(Math.ceil(IDLE_FIRST * scale));
    const many = await hold(more);
    return { heap: (many.heap - few.heap) / more, rss: (many.rss - few.rss) / more };
  } finally {
    await load.ask({ kind: 'release' });
    await worker.end();
  }
}

/** @param {Run} run */
async function idle(run) {
  /** @type {Measured[]} */
  const measured = IDLE.map((contestant) => ({ ...contestant, rounds: [] }));
  for (let round = 1; round <= run.rounds; round++) {
    for (const contestant of measured) {
      run.report(`round ${round} of ${run.rounds}: ${contestant.name}`);
      contestant.rounds.push(await idleSlope(run, contestant));
    }
  }
  return measured;
}

/**
 * Creates a scenario that results in one table.
 * @param {string} scenario
 * @param {string} title
 * @param {(run: Run) => Promise<Measured[]>} measure
 * @returns {(run: Run) => Promise<Outcome[]>}
 */
const one = (scenario, title, measure) => async (run) => [{ scenario, title, measured: await measure(run) }];

/** @type {Record<string, (run: Run) => Promise<Outcome[]>>} */
export const SCENARIOS = {
  fast: one('fast', 'One fast stream of 50-byte events', (run) => streams(run, 1)),
  many: one('many', '50 fast streams at once', (run) => streams(run, MANY)),
  short: one('short', 'Many short streams of ten chunks', short),
  idle: one('idle', 'An idle stream', idle),
  fanout: fanout('fanout'),
  'fanout-idle': fanoutIdle('fanout'),
  'fanout-topics': fanoutTopics,
  'fanout-ws': fanout('fanout-ws'),
  'fanout-ws-idle': fanoutIdle('fanout-ws'),
  'fanout-gzip': fanout('fanout-gzip'),
  'fanout-gzip-idle': fanoutIdle('fanout-gzip'),
  paired,
  cluster,
  brokers,
  tokens,
  workers,
  client,
};
