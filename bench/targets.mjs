import { differences, median, ratio, summary } from './statistics.mjs';

/** @typedef {import('./scenarios.mjs').Measured & import('./fanout/scenario.mjs').Measured & Partial<import('./paired/contestants.mjs').PairedContestant & import('./cluster/contestants.mjs').ClusterContestant & import('./tokens/contestants.mjs').TokensContestant>} Measured */
/** @typedef {import('./scenarios.mjs').Outcome} Outcome */
/** @typedef {{ what: string, limit: number, measured: number, met: boolean }} Target */

const KB = 1_024;
const OF_NEST_GENERATOR = 0.25;
const OF_WRITER = 1.3;
/** The factors for a plain reply of Nest's own adapter of the platform. */
const OF_PLAIN = { express: 1, adapter: 0.5, fastify: 1.2 };
/** KB of heap for each client. */
const IDLE_KB = { stream: { express: 9, adapter: 7.6, fastify: 6 }, hub: { express: 9, adapter: 7.2, fastify: 6 } };
const OF_GATHERED = { sockets: 1.1, native: 0.9 };
const PUBLISH_US = 4;
const RESUME_S = 1;
const IDLE_LOOP = { turnMs: 20, percent: 2 };
const IMPORT_MS = 60;
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
    cpu("Nest's @Sse", each.nest, peers.nest),
    cpu('better-sse', each.betterSse, peers.betterSse),
    cpu('nchan', each.nchan, OF_NCHAN),
  ];
};

/** @param {string} name @returns {'express' | 'adapter' | 'fastify'} */
const platformOf = (name) => {
  if (name.includes('Fastify')) {
    return 'fastify';
  }
  return name.includes('with the adapter') ? 'adapter' : 'express';
};

/** @type {(title: string, kind: keyof typeof IDLE_KB) => (each: Measured) => Target[]} */
const idle =
  (title, kind) =>
  ({ name, rounds }) => [
    target(`${title}, ${name}: KB of heap`, IDLE_KB[kind][platformOf(name)], summary(rounds, 'heap').median / KB),
  ];

/** @param {Measured} measured */
const medianOf = ({ rounds }) => median(rounds.map(({ cpu }) => cpu));

/** All contestants are in one process. @type {Record<string, (each: Measured, all: readonly Measured[], outcome: Outcome) => Target[]>} */
const PAIRED = {
  'paired-fanout': (each, all, { title }) => [
    target(
      `${title}, ${each.name}: CPU × gathered net.Socket`,
      OF_GATHERED[each.variant === 'native' ? 'native' : 'sockets'],
      ratio(all, each, each.gathered, 'cpu'),
    ),
  ],
  'paired-short': (each, all) => [
    target(
      `paired short stream, ${each.name}: CPU × plain Nest reply`,
      OF_PLAIN[platformOf(each.name)],
      ratio(all, each, each.plain, 'cpu'),
    ),
  ],
  'paired-publish': (each, all) => [
    target(
      `${each.name}: µs beyond JSON.stringify()`,
      PUBLISH_US,
      median(differences(all, each, each.floor, 'cpu') ?? []) / 1_000,
    ),
  ],
  'paired-resume': (each, _all, { title }) => [
    target(`${title}, ${each.name}: s of CPU`, RESUME_S, medianOf(each) / 1e6),
  ],
  'paired-idle-loop': (each, _all, { title }) => [
    target(`${title}, ${each.name}: longest turn in ms`, IDLE_LOOP.turnMs, medianOf(each)),
    target(`${title}, ${each.name}: % of a core`, IDLE_LOOP.percent, summary(each.rounds, 'share').median),
  ],
  'paired-import': (each) => [target(`${each.name}: ms of CPU beyond Nest's`, IMPORT_MS, medianOf(each))],
};

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
  ...PAIRED,
  idle: idle('idle stream', 'stream'),
  fanout,
  'fanout-idle': idle('idle client of a hub', 'hub'),
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
