import { ratio, summary } from './statistics.mjs';

/** @typedef {import('./scenarios.mjs').Measured} Measured */
/** @typedef {{ what: string, limit: number, measured: number, met: boolean }} Target */

const KB = 1_024;
const OF_NEST_GENERATOR = 0.25;
const OF_WRITER = 1.3;
const OF_PLAIN = { express: 1, fastify: 1.4 };
const IDLE_KB = { express: 9, fastify: 6 };

/**
 * @param {string} what
 * @param {number} limit
 * @param {number | undefined} measured
 * @returns {Target}
 */
const target = (what, limit, measured = Number.NaN) => ({ what, limit, measured, met: measured <= limit });

/**
 * @param {string} title
 * @returns {(each: Measured, all: readonly Measured[]) => Target[]}
 */
const streams = (title) => (each, all) => [
  ...(each.name.includes('async generator')
    ? [
        target(
          `${title}, ${each.name}: CPU per chunk × Nest's generator route`,
          OF_NEST_GENERATOR,
          ratio(all, each, each.nest, 'cpu'),
        ),
      ]
    : []),
  target(`${title}, ${each.name}: CPU per chunk × gathered node:http`, OF_WRITER, ratio(all, each, each.writer, 'cpu')),
];

/** @type {Record<string, (each: Measured, all: readonly Measured[]) => Target[]>} */
const TARGETS = {
  fast: streams('one stream'),
  many: streams('50 streams'),
  short: (each, all) => [
    target(
      `short stream, ${each.name}: CPU × plain Nest reply`,
      OF_PLAIN[each.platform ?? 'express'],
      ratio(all, each, each.plain, 'cpu'),
    ),
  ],
  idle: ({ name, platform, rounds }) => [
    target(`idle stream, ${name}: KB of heap`, IDLE_KB[platform ?? 'express'], summary(rounds, 'heap').median / KB),
  ],
};

/**
 * What was to be reached in a scenario, and what was.
 * @param {string} scenario
 * @param {readonly Measured[]} measured
 */
export function targetsOf(scenario, measured) {
  return measured.filter(({ name }) => name.startsWith('ours')).flatMap((each) => TARGETS[scenario](each, measured));
}
