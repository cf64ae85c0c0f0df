import { blocksOf, startServer } from '../paired/scenario.mjs';
import { buildAddon } from './addon.mjs';

/** @typedef {import('../scenarios.mjs').Run} Run */
/** @typedef {import('../scenarios.mjs').Outcome} Outcome */

const GENERATOR = 'async generator, main thread';
const SOURCES = [
  { name: GENERATOR, path: '/generator' },
  { name: 'fromWorker(), messages', path: '/messages' },
  { name: 'fromWorker(), ring: 65_536', path: '/ring' },
  { name: 'fromNative()', path: '/native', isNative: true },
  { name: 'thread-safe function, a call per token', path: '/calls', isNative: true },
].map((each) => ({ floor: GENERATOR, ...each }));

/** A slice of a flood takes some tens of milliseconds, one of the last case two seconds. */
const CASES = [
  { title: '1 producer in a flood', streams: 1, tokens: 100_000, ms: 0 },
  { title: '50 producers in floods', streams: 50, tokens: 4_000, ms: 0 },
  { title: '50 producers, 100 tokens/s each', streams: 50, tokens: 200, ms: 10 },
];

const BESIDE = [
  { name: 'nothing else', path: '' },
  { name: 'async generator, 5 ms of computing per chunk', path: '/process' },
  { name: 'the same in fromWorker()', path: '/worker' },
];

const LENGTH = { fewest: 1, warmUp: 1 };

/**
 * Measures contestants, which take turns in one process, in several processes.
 * @param {Run} run
 * @param {'tokens' | 'latency'} part
 * @param {readonly { name: string, path: string }[]} all
 * @param {object} options
 * @param {(figure: any) => Record<string, number>} figures
 */
async function measure(run, part, all, options, figures) {
  const { only } = run.fanout;
  const contestants = all.filter(({ name }, i) => i === 0 || (only?.some((each) => name.includes(each)) ?? true));
  const measured = contestants.map((each) => ({ ...each, rounds: /** @type {Record<string, number>[]} */ ([]) }));
  for (let round = 1; round <= run.rounds; round++) {
    run.report(`${part} ${JSON.stringify(options)}, process ${round} of ${run.rounds}`);
    const worker = await startServer(`../../workers/${part}`, contestants, { ...options, seed: round });
    try {
      for (const block of await blocksOf(run, worker, {}, LENGTH)) {
        for (const [index, figure] of block.entries()) {
          measured[index].rounds.push({ ...figures(figure), process: round });
        }
      }
    } finally {
      await worker.end();
    }
  }
  return measured;
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
export async function workers(run) {
  const addon = buildAddon();
  const sources = SOURCES.filter(({ isNative }) => addon || !isNative);
  const outcomes = [];
  for (const { title, ...options } of CASES) {
    const measured = await measure(run, 'tokens', sources, { ...options, addon }, (cpu) => ({ cpu }));
    outcomes.push({ scenario: 'workers-tokens', title, measured });
  }
  const measured = await measure(run, 'latency', BESIDE, {}, (figures) => figures);
  return [...outcomes, { scenario: 'workers-latency', title: 'Other streams of the process', measured }];
}
