import { readFileSync } from 'node:fs';
import { Worker } from '../processes.mjs';
import { copyBuild, hasNative, packageOf } from '../servers/build.mjs';
import { contestantsOf, missing } from './contestants.mjs';

/** @typedef {import('./contestants.mjs').PairedContestant} PairedContestant */
/** @typedef {import('./contestants.mjs').Measured} Measured */
/** @typedef {import('../scenarios.mjs').Run} Run */
/** @typedef {import('../scenarios.mjs').Outcome} Outcome */
/** @typedef {{ seconds: number, fewest: number, warmUp: number }} Length how long a case is measured, and the fewest blocks of it and of its warm-up */

const CLIENTS = [1_000, 5_000, 9_500];
/** The part of the time that warms up. */
const WARM_UP = 0.25;
/** Code is compiled after it was called for some ten thousand times, by deliveries or requests. */
const WARM_UP_DELIVERIES = 40_000;
const FEWEST_WARM_UP = 5;
const LENGTH = { fewest: 15, warmUp: 40 };
/** A slice of these takes a second. */
const LENGTH_OF_RESUME = { fewest: 2, warmUp: 1 };
/** No question is longer than this, unless the machine is slow. */
const QUESTION_MS = 10_000;
const TIMEOUT_MS = 600_000;
/** Open files in addition to the sockets of the clients. */
const OTHER_FILES = 300;
const RESUMING = 1_000;
const IDLE = 10_000;
/** Two times the interval of heartbeats. */
const IDLE_MS = 30_000;
const IMPORTS = 5;

/** @returns the number of files that a process may open */
function openFiles() {
  const limit =
    process.platform === 'linux' && /open files +\d+ +(\d+)/.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return limit ? Number(limit) : Number.POSITIVE_INFINITY;
}

/** @param {number} contestants @param {number} clients of each */
function demandFiles(contestants, clients) {
  if (contestants * clients + OTHER_FILES > openFiles()) {
    throw new Error(`${contestants} × ${clients} clients need more open files than are allowed here: raise ulimit -Hn`);
  }
}

/**
 * The process with all contestants.
 * @param {string} part
 * @param {readonly PairedContestant[]} contestants
 * @param {object} [options]
 */
export async function startServer(part, contestants, options) {
  const worker = new Worker('paired/server.mjs', [part, JSON.stringify({ ...options, contestants })]);
  await worker.nextMessage(TIMEOUT_MS);
  return worker;
}

/** @param {Worker} worker */
async function joinAll(worker) {
  for (let more = true; more; ) {
    ({ more } = await worker.ask({ ask: 'join' }, TIMEOUT_MS));
  }
}

/**
 * Measures blocks for some time, after a warm-up.
 * @param {Run} run
 * @param {Worker} worker
 * @param {object} how
 * @param {{ fewest: number, warmUp: number }} length the fewest blocks that are measured, and that warm up
 * @returns {Promise<any[][]>}
 */
export async function blocksOf({ pairedSeconds, scale }, worker, how, { fewest, warmUp } = LENGTH) {
  const ms = pairedSeconds * 1_000 * scale;
  await worker.ask({ ask: 'measure', ...how, ms: Math.min(QUESTION_MS, ms * WARM_UP), fewest: warmUp }, TIMEOUT_MS);
  /** @type {any[][]} */
  const blocks = [];
  for (let left = ms; left > 0; left -= QUESTION_MS) {
    const some = { ask: 'measure', ...how, ms: Math.min(QUESTION_MS, left), fewest: blocks.length > 0 ? 1 : fewest };
    blocks.push(...(await worker.ask(some, TIMEOUT_MS)).blocks);
  }
  return blocks;
}

/**
 * @param {readonly PairedContestant[]} contestants
 * @returns {Measured[]}
 */
const unmeasured = (contestants) => contestants.map((each) => ({ ...each, rounds: [] }));

/**
 * @param {readonly Measured[]} measured
 * @param {number[][]} blocks
 * @param {number} process
 */
function add(measured, blocks, process) {
  for (const block of blocks) {
    for (const [index, cpu] of block.entries()) {
      measured[index].rounds.push({ cpu, process });
    }
  }
}

/** @param {Run} run @param {string} part */
const choose = ({ fanout: { only }, other }, part) => contestantsOf(part, { only, other });

/**
 * Divides contestants into groups that fit into the limit of open files, each with the gathered raw loop.
 * @param {readonly PairedContestant[]} contestants
 * @param {number} clients
 */
function groupsOf([raw, ...others], clients) {
  demandFiles(2, clients);
  const most = Math.floor((openFiles() - OTHER_FILES) / clients) - 1;
  const groups = [];
  for (let first = 0; first < others.length; first += most) {
    groups.push([raw, ...others.slice(first, first + most)]);
  }
  return groups;
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function fanout(run) {
  const outcomes = [];
  for (const clients of run.fanout.clients ?? CLIENTS) {
    for (const contestants of groupsOf(choose(run, 'fanout'), clients)) {
      outcomes.push(...(await fanoutGroup(run, clients, contestants)));
    }
  }
  return outcomes;
}

/**
 * @param {Run} run
 * @param {number} clients
 * @param {readonly PairedContestant[]} contestants
 */
async function fanoutGroup(run, clients, contestants) {
  const { turns } = run.fanout;
  const length = { ...LENGTH, warmUp: Math.max(FEWEST_WARM_UP, Math.ceil(WARM_UP_DELIVERIES / clients)) };
  const measured = turns.map(() => unmeasured(contestants));
  for (let round = 1; round <= run.rounds; round++) {
    run.report(`fan-out, ${clients} clients, process ${round} of ${run.rounds}`);
    const worker = await startServer('broadcast', contestants, { clients, seed: round });
    try {
      await joinAll(worker);
      for (const [index, perTurn] of turns.entries()) {
        add(measured[index], await blocksOf(run, worker, { perTurn }, length), round);
        await worker.ask({ ask: 'check' }, TIMEOUT_MS);
      }
    } finally {
      await worker.end();
    }
  }
  return turns.map((perTurn, index) => ({
    scenario: 'paired-fanout',
    title: `Paired fan-out: ${clients} clients each, ${perTurn} ${perTurn === 1 ? 'message' : 'messages'} a turn`,
    clients,
    perTurn,
    measured: measured[index],
  }));
}

/**
 * A part in which each contestant has a figure in each block.
 * @param {string} file the part of the server
 * @param {{ part: string, scenario: string, title: string, options?: object, length?: { fewest: number, warmUp: number } }} how
 */
const table =
  (file, { part, scenario, title, options, length }) =>
  async (/** @type {Run} */ run) => {
    const contestants = choose(run, part);
    const measured = unmeasured(contestants);
    for (let round = 1; round <= run.rounds; round++) {
      run.report(`${part}, process ${round} of ${run.rounds}`);
      const worker = await startServer(file, contestants, { ...options, seed: round });
      try {
        add(measured, await blocksOf(run, worker, {}, length), round);
      } finally {
        await worker.end();
      }
    }
    return [{ scenario: `paired-${scenario}`, title, measured }];
  };

const shortExpress = table('short', {
  part: 'short, Express',
  scenario: 'short',
  title: 'Paired short streams: Express',
});
const shortFastify = table('short', {
  part: 'short, Fastify',
  scenario: 'short',
  title: 'Paired short streams: Fastify',
});
const fast = table('fast', { part: 'fast', scenario: 'fast', title: 'Paired fast streams' });
const publish = table('publish', { part: 'publish', scenario: 'publish', title: 'publish() without subscribers' });
const resume = table('resume', {
  part: 'resume',
  scenario: 'resume',
  title: `${RESUMING} clients resume, each for 1000 events`,
  options: { clients: RESUMING },
  length: LENGTH_OF_RESUME,
});

/** @param {Run} run */
async function idleLoop(run) {
  const [clients = IDLE] = run.fanout.clients ?? [];
  demandFiles(1, clients);
  const measured = unmeasured(choose(run, 'idle-loop'));
  for (let round = 1; round <= run.rounds; round++) {
    for (const { rounds, ...contestant } of measured) {
      run.report(`${clients} idle clients, round ${round} of ${run.rounds}: ${contestant.name}`);
      const worker = await startServer('idle-loop', [contestant], { clients });
      const ask = async (/** @type {string} */ kind) => worker.ask({ ask: 'measure', kind, ms: IDLE_MS }, TIMEOUT_MS);
      try {
        await joinAll(worker);
        const { share } = await ask('share');
        const { cpu, wall } = await ask('turns');
        rounds.push({ share: share * 100, cpu, wall });
      } finally {
        await worker.end();
      }
    }
  }
  return [{ scenario: 'paired-idle-loop', title: `${clients} idle clients after one message`, clients, measured }];
}

/** @param {Run} run */
async function imports(run) {
  const measured = unmeasured(choose(run, 'import'));
  for (let round = 1; round <= run.rounds * IMPORTS; round++) {
    for (const { name, floor, rounds, server, variant } of measured) {
      run.report(`import, process ${round} of ${run.rounds * IMPORTS}`);
      const worker = new Worker('paired/import.mjs', [server[1], ...(name === floor ? [] : [packageOf(variant)])]);
      try {
        rounds.push(await worker.nextMessage());
      } finally {
        await worker.end();
      }
    }
  }
  return [{ scenario: 'paired-import', title: 'Loading the package, after Nest', measured }];
}

/** @type {Record<string, (run: Run) => Promise<Outcome[]>>} */
const PARTS = {
  fanout,
  short: async (run) => [...(await shortExpress(run)), ...(await shortFastify(run))],
  fast,
  publish,
  resume,
  'idle-loop': idleLoop,
  import: imports,
};

/** @param {Run} run @returns {Promise<Outcome[]>} */
export async function paired(run) {
  const parts = run.parts ?? Object.keys(PARTS);
  const unknown = parts.find((part) => !Object.hasOwn(PARTS, part));
  if (unknown !== undefined) {
    throw new Error(`There is no part "${unknown}": there are ${Object.keys(PARTS).join(', ')}`);
  }
  console.log(missing());
  if (hasNative()) {
    copyBuild('native');
  }
  const outcomes = [];
  for (const part of parts) {
    outcomes.push(...(await PARTS[part](run)));
  }
  return outcomes;
}
