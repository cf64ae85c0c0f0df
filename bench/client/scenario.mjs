import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { demandFiles } from '../fanout/scenario.mjs';
import { Worker } from '../processes.mjs';
import { CLIENTS } from './contestants.mjs';

/** @typedef {import('../scenarios.mjs').Outcome} Outcome */
/** @typedef {import('../fanout/scenario.mjs').Run} Run */
/** @typedef {import('./contestants.mjs').ClientContestant} ClientContestant */
/** @typedef {ClientContestant & { rounds: Record<string, number>[] }} Measured */
/** @typedef {{ cpu: number, ms: number, count: number }} Used */

/** The size of the data of an event, and how many of them are received. */
const FAST = [
  { bytes: 100, count: 200_000, title: 'Events of 100 bytes' },
  { bytes: 1_000, count: 60_000, title: 'Events of 1 KB' },
];
const PACED = { connections: 100, ms: 1_000 };
const AGAIN = { connections: 20, count: 1_000 };
/** The position of the last table. The others have the same columns. */
const AGAIN_AT = FAST.length + 1;
const WARM_UP = 0.3;
const IDLE_FIRST = 200;
const IDLE_MORE = 1_000;
const HERE = fileURLToPath(new URL('.', import.meta.url));

/** @param {ClientContestant} contestant */
async function start({ receiver, flags }) {
  const worker = new Worker('client/worker.mjs', [...receiver], flags);
  await worker.nextMessage();
  return worker;
}

/** @param {Used} used */
const figures = ({ cpu, ms, count }) => ({ cpu: (cpu * 1_000) / count, rate: count / (ms / 1_000) });

/**
 * The steps that all contestants take in turn, in processes that stay. Each results in a column or in a table.
 * @param {Run} run
 * @param {Measured} contestant
 * @param {(kind: string, bytes: number, count?: number) => string} urlOf
 * @param {(question: object) => Promise<Used>} ask
 * @param {number} share
 */
async function steps({ scale }, contestant, urlOf, ask, share) {
  const ms = PACED.ms * Math.min(1, scale * share);
  const count = Math.ceil(AGAIN.count * scale * share);
  const fast = [];
  for (const { bytes, count: all } of FAST) {
    const events = Math.ceil(all * scale * share);
    fast.push(figures(await ask({ ask: 'take', url: urlOf('stream', bytes, events), connections: 1, count: events })));
  }
  const paced = figures(await ask({ ...PACED, ask: 'watch', url: urlOf('paced', 100), ms }));
  /** @type {Record<string, number>} */
  const again = { cutCpu: Number.NaN, cutRate: Number.NaN, endedCpu: Number.NaN, endedRate: Number.NaN };
  for (const kind of contestant.again) {
    const { cpu, rate } = figures(await ask({ ...AGAIN, ask: 'take', url: urlOf(kind, 100), count }));
    Object.assign(again, { [`${kind}Cpu`]: cpu, [`${kind}Rate`]: rate });
  }
  return [...fast, paced, again];
}

/**
 * @param {Run} run
 * @param {readonly ClientContestant[]} all
 * @param {number} port
 * @returns {Promise<Outcome[]>}
 */
async function speeds(run, all, port) {
  const { rounds, report, fanout } = run;
  /** @type {Worker[]} */
  const workers = [];
  const titles = [
    ...FAST.map(({ title }) => title),
    '100 streams of 50 events/s',
    'Connecting again, 20 streams at once',
  ];
  const tables = titles.map(() => all.map((each) => /** @type {Measured} */ ({ ...each, rounds: [] })));
  try {
    for (let round = 0; round <= rounds; round++) {
      for (const [index, contestant] of tables[0].entries()) {
        report(round === 0 ? `warming up ${contestant.name}` : `round ${round} of ${rounds}: ${contestant.name}`);
        workers[index] ??= await start(contestant);
        const { format } = contestant;
        let step = 0;
        const results = await steps(
          run,
          contestant,
          (kind, bytes, count) => `http://127.0.0.1:${port}/${kind}/${format}/${bytes}/${count}`,
          (question) => {
            const file = `${contestant.name}-${step++}.cpuprofile`.replaceAll(/[^\w.-]+/g, '-');
            const profile = round === 1 && fanout.profile !== undefined ? join(fanout.profile, file) : undefined;
            return workers[index].ask({ ...question, profile });
          },
          round === 0 ? WARM_UP : 1,
        );
        if (round > 0) {
          for (const [at, result] of results.entries()) {
            tables[at][index].rounds.push(result);
          }
        }
      }
    }
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
  }
  return titles.map((title, at) => ({
    scenario: at < AGAIN_AT ? 'client' : 'client-again',
    title,
    measured: tables[at].filter(({ again }) => at < AGAIN_AT || again.length > 0),
  }));
}

/**
 * The memory of one more silent stream: the slope between two numbers of streams, in a new process.
 * @param {Run} run
 * @param {ClientContestant} contestant
 * @param {number} port
 */
async function slope({ scale }, contestant, port) {
  const worker = await start(contestant);
  const url = `http://127.0.0.1:${port}/silent/${contestant.format}/100`;
  /** @param {number} connections */
  const grow = async (connections) => {
    await worker.ask({ ask: 'hold', url, connections });
    return worker.ask({ ask: 'memory' });
  };
  try {
    const more = Math.ceil(IDLE_MORE * scale);
    const few = await grow(IDLE_FIRST);
    const many = await grow(more);
    return { heap: (many.heap - few.heap) / more, rss: (many.rss - few.rss) / more };
  } finally {
    await worker.end();
  }
}

/**
 * @param {Run} run
 * @param {readonly ClientContestant[]} all
 * @param {number} port
 * @returns {Promise<Outcome>}
 */
async function memory(run, all, port) {
  demandFiles(IDLE_FIRST + IDLE_MORE);
  const measured = all.map((each) => /** @type {Measured} */ ({ ...each, rounds: [] }));
  for (let round = 1; round <= run.rounds; round++) {
    for (const contestant of measured) {
      run.report(`memory, round ${round} of ${run.rounds}: ${contestant.name}`);
      contestant.rounds.push(await slope(run, contestant, port));
    }
  }
  return { scenario: 'client-memory', title: 'Memory of one more silent stream, in bytes', measured };
}

/**
 * @param {readonly ClientContestant[]} all
 * @returns {Promise<Outcome>}
 */
async function sizes(all) {
  const measured = [];
  for (const contestant of all) {
    if (contestant.bundle !== undefined) {
      const { outputFiles } = await build({
        stdin: { contents: contestant.bundle, resolveDir: HERE },
        bundle: true,
        minify: true,
        format: 'esm',
        write: false,
      });
      const [{ contents }] = outputFiles;
      const gzipped = gzipSync(contents, { level: 9 }).length;
      measured.push({ ...contestant, rounds: [{ minified: contents.length, gzipped }] });
    }
  }
  return { scenario: 'client-size', title: 'Size of a bundle, in bytes', measured };
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
export async function client(run) {
  const { only } = run.fanout;
  const all = CLIENTS.filter(({ name }) => only === undefined || only.some((part) => name.includes(part)));
  const sender = new Worker('client/sender.mjs');
  try {
    const { port } = await sender.nextMessage();
    return [...(await speeds(run, all, port)), await memory(run, all, port), await sizes(all)];
  } finally {
    await sender.end();
  }
}
