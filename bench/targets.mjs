import { ratio, summary } from './statistics.mjs';

/** @typedef {import('./scenarios.mjs').Measured & import('./fanout/scenario.mjs').Measured & Partial<import('./cluster/contestants.mjs').ClusterContestant & import('./tokens/contestants.mjs').TokensContestant>} Measured */
/** @typedef {import('./scenarios.mjs').Outcome} Outcome */
/** @typedef {{ what: string, limit: number, measured: number, met: boolean }} Target */

const KB = 1_024;
const OF_NEST_GENERATOR = 0.25;
const OF_WRITER = 1.3;
const OF_PLAIN = { express: 1, fastify: 1.4 };
const IDLE_KB = { express: 9, fastify: 6 };
const OF_GATHERED = 1.15;
const OF_NCHAN = 1;
const OF_SHARED_FRAME = 1.2;
/** Microseconds of CPU time per append, and their ratios to a plain XADD. */
const APPEND = { application: 8, redis: 4, applicationOfXadd: 1.25, redisOfXadd: 1.4 };
/** Milliseconds from publishing to receipt in another process, if no event waits for another one. */
const QUIET = { perSecond: 50, p50: 0.5, p99: 3 };
/** The factors for the least code with `node:http`, which gathers tokens in the same way. */
const OF_GATHERED_TOKENS = { route: 1.3, memory: 2 };
/** The factors for the AI SDK, and for resumable-stream with viewers on another process. A run keeps its tokens, and neither of the two does. */
const OF_AI_PEERS = { route: 0.5, memory: 1, elsewhere: 1 };
/** The factors for Nest's `@Sse` and for better-sse, with one message in a turn and with several. */
const OF_PEERS = { one: { nest: 0.25, betterSse: 0.5 }, several: { nest: 0.1, betterSse: 0.1 } };

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

/** @type {(each: Measured, all: readonly Measured[], outcome: Outcome) => Target[]} */
const fanout = (each, all, { title, perTurn }) => {
  const peers = OF_PEERS[perTurn === 1 ? 'one' : 'several'];
  /** @param {string} what @param {string | undefined} other @param {number} limit */
  const cpu = (what, other, limit) =>
    target(`${title}, ${each.name}: CPU × ${what}`, limit, ratio(all, each, other, 'cpu'));
  return [
    cpu('gathered net.Socket', each.gathered, OF_GATHERED),
    cpu("Nest's @Sse", each.nest, peers.nest),
    cpu('better-sse', each.betterSse, peers.betterSse),
    cpu('nchan', each.nchan, OF_NCHAN),
  ];
};

/** @type {(title: string) => (each: Measured) => Target[]} */
const idle =
  (title) =>
  ({ name, platform, rounds }) => [
    target(`${title}, ${name}: KB of heap`, IDLE_KB[platform ?? 'express'], summary(rounds, 'heap').median / KB),
  ];

/** @type {(each: Measured, all: readonly Measured[]) => Target[]} */
const append = (each, all) =>
  each.name.includes('append()')
    ? [
        target('append: µs of the application', APPEND.application, summary(each.rounds, 'cpu').median / 1_000),
        target('append: µs of Redis', APPEND.redis, summary(each.rounds, 'redis').median / 1_000),
        target('append: application × raw XADD', APPEND.applicationOfXadd, ratio(all, each, each.xadd, 'cpu')),
        target('append: Redis × raw XADD', APPEND.redisOfXadd, ratio(all, each, each.xadd, 'redis')),
      ]
    : [];

/** @type {(each: Measured, all: readonly Measured[], outcome: Outcome) => Target[]} */
const receipt = ({ name, rounds }, _all, { perSecond }) =>
  perSecond === QUIET.perSecond
    ? [
        target(`receipt in another process, ${name}: p50 ms`, QUIET.p50, summary(rounds, 'p50').median / 1_000),
        target(`receipt in another process, ${name}: p99 ms`, QUIET.p99, summary(rounds, 'p99').median / 1_000),
      ]
    : [];

/** @type {(each: Measured, all: readonly Measured[], outcome: Outcome) => Target[]} */
const tokens = (each, all, { title }) => {
  const { name, gathered, peer, elsewhere, redis } = each;
  const kind = name.includes('memory') ? 'memory' : 'route';
  /** @param {string} what @param {string | undefined} other @param {number} limit */
  const cpu = (what, other, limit) => target(`${title}, ${name}: CPU × ${what}`, limit, ratio(all, each, other, 'cpu'));
  if (name.includes('flush') || (redis && !elsewhere)) {
    return [];
  }
  return elsewhere
    ? [cpu('resumable-stream', peer, OF_AI_PEERS.elsewhere)]
    : [cpu('gathered node:http', gathered, OF_GATHERED_TOKENS[kind]), cpu('AI SDK', peer, OF_AI_PEERS[kind])];
};

/** @type {Record<string, (each: Measured, all: readonly Measured[], outcome: Outcome) => Target[]>} */
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
  idle: idle('idle stream'),
  fanout,
  'fanout-idle': idle('idle client of a hub'),
  tokens,
  'cluster-append': append,
  'cluster-receipt': receipt,
  'fanout-ws': (each, all, { title }) => [
    target(
      `${title}, ${each.name}: CPU × ws with one shared frame`,
      OF_SHARED_FRAME,
      ratio(all, each, each.shared, 'cpu'),
    ),
  ],
};

/**
 * Returns the targets of a scenario, and the measured values.
 * @param {Outcome} outcome
 */
export function targetsOf(outcome) {
  const { scenario, measured } = outcome;
  return measured
    .filter(({ name }) => name.startsWith('ours'))
    .flatMap((each) => TARGETS[scenario]?.(each, measured, outcome) ?? []);
}
