import { readFileSync } from 'node:fs';
import { Worker } from '../processes.mjs';
import { fanoutContestants, missing, shortContestants } from './contestants.mjs';

/** @typedef {import('./contestants.mjs').PairedContestant} PairedContestant */
/** @typedef {import('./contestants.mjs').Measured} Measured */
/** @typedef {import('../scenarios.mjs').Run} Run */
/** @typedef {import('../scenarios.mjs').Outcome} Outcome */

const CLIENTS = [1_000, 5_000, 9_500];
const WARM_UP = 0.25;
/** Code is compiled after some hundred calls. */
const WARM_UP_BLOCKS = 40;
const FEWEST_BLOCKS = 15;
/** No question is longer than this. */
const QUESTION_MS = 10_000;
/** Open files in addition to the sockets of the clients. */
const OTHER_FILES = 300;

/** @returns the number of files that a process may open */
function openFiles() {
  const limit =
    process.platform === 'linux' && /open files +\d+ +(\d+)/.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
  return limit ? Number(limit) : Number.POSITIVE_INFINITY;
}

/**
 * The process with all contestants. Its answers may take long.
 * @param {string} part
 * @param {readonly PairedContestant[]} contestants
 * @param {object} options
 */
async function startServer(part, contestants, options) {
  const worker = new Worker('paired/server.mjs', [part, JSON.stringify({ ...options, contestants })]);
  await worker.nextMessage();
  return worker;
}

/**
 * Measures blocks for some time, after a warm-up.
 * @param {Worker} worker
 * @param {object} how
 * @param {number} ms
 * @returns {Promise<number[][]>}
 */
async function blocksOf(worker, how, ms) {
  const warmUp = { ms: Math.min(QUESTION_MS, ms * WARM_UP), fewest: WARM_UP_BLOCKS };
  await worker.ask({ ask: 'measure', ...how, ...warmUp });
  const blocks = [];
  for (let left = ms; left > 0; left -= QUESTION_MS) {
    const some = { ms: Math.min(QUESTION_MS, left), fewest: FEWEST_BLOCKS };
    blocks.push(...(await worker.ask({ ask: 'measure', ...how, ...some })).blocks);
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

/** @param {Run} run */
const ms = ({ pairedSeconds, scale }) => pairedSeconds * 1_000 * scale;

/** @param {Run} run */
const choice = ({ fanout: { only }, other }) => ({ only, other });

/**
 * Divides contestants into groups that fit into the limit of open files, each with the gathered raw loop.
 * @param {readonly PairedContestant[]} contestants
 * @param {number} clients
 */
function groupsOf([raw, ...others], clients) {
  const most = Math.floor((openFiles() - OTHER_FILES) / clients) - 1;
  if (most < 1) {
    throw new Error(
      `Two contestants with ${clients} clients each need more open files than allowed here: raise ulimit -Hn`,
    );
  }
  const groups = [];
  // Builds of one contestant stand side by side, so they come into the same group if there is room for two.
  for (let first = 0; first < others.length; first += most) {
    groups.push([raw, ...others.slice(first, first + most)]);
  }
  return groups;
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function fanout(run) {
  const outcomes = [];
  for (const clients of run.fanout.clients ?? CLIENTS) {
    for (const contestants of groupsOf(fanoutContestants(choice(run)), clients)) {
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
  const measured = turns.map(() => unmeasured(contestants));
  for (let round = 1; round <= run.rounds; round++) {
    run.report(`fan-out, ${clients} clients, process ${round} of ${run.rounds}`);
    const worker = await startServer('broadcast', contestants, { clients, seed: round });
    try {
      while ((await worker.ask({ ask: 'join' })).more);
      for (const [index, perTurn] of turns.entries()) {
        add(measured[index], await blocksOf(worker, { perTurn }, ms(run)), round);
        await worker.ask({ ask: 'check' });
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

/** @param {Run} run @returns {Promise<Outcome[]>} */
async function short(run) {
  const outcomes = [];
  for (const platform of /** @type {const} */ (['Express', 'Fastify'])) {
    const contestants = shortContestants(platform, choice(run));
    const measured = unmeasured(contestants);
    for (let round = 1; round <= run.rounds; round++) {
      run.report(`short streams, ${platform}, process ${round} of ${run.rounds}`);
      const worker = await startServer('short', contestants, { seed: round });
      try {
        add(measured, await blocksOf(worker, {}, ms(run)), round);
      } finally {
        await worker.end();
      }
    }
    outcomes.push({ scenario: 'paired-short', title: `Paired short streams: ${platform}`, measured });
  }
  return outcomes;
}

const PARTS = { fanout, short };

/** @param {Run} run @returns {Promise<Outcome[]>} */
export async function paired(run) {
  console.log(missing());
  const parts = /** @type {(keyof typeof PARTS)[]} */ (run.parts ?? Object.keys(PARTS));
  const unknown = parts.find((part) => !Object.hasOwn(PARTS, part));
  if (unknown !== undefined) {
    throw new Error(`There is no part "${unknown}": there are ${Object.keys(PARTS).join(', ')}`);
  }
  const outcomes = [];
  for (const part of parts) {
    outcomes.push(...(await PARTS[part](run)));
  }
  return outcomes;
}
