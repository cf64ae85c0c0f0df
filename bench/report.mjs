import { differences, median, ratio, ratios, spread, summary } from './statistics.mjs';

/** @typedef {import('./scenarios.mjs').Measured & import('./fanout/scenario.mjs').Measured & Partial<import('./cluster/contestants.mjs').ClusterContestant & import('./tokens/contestants.mjs').TokensContestant & import('./client/contestants.mjs').ClientContestant & import('./paired/contestants.mjs').PairedContestant>} Measured */
/** @typedef {'floor' | 'writer' | 'nest' | 'plain' | 'gathered' | 'shared' | 'own' | 'xadd' | 'script' | 'driver' | 'each' | 'peer' | 'raw' | 'otherBuild'} Base the name of the contestant to compare with is in this property */
/** @typedef {{ title: string, cell: (each: Measured, all: readonly Measured[]) => string }} Column */

/** @param {number} value */
const whole = (value) => Math.round(value).toLocaleString('en');

/** @param {number} value */
const hundredths = (value) => value.toFixed(2);

/**
 * @param {string} title
 * @param {string} what
 * @returns {Column}
 */
const value = (title, what, unit = 1, print = whole) => ({
  title,
  cell: ({ rounds }) => {
    const { median, min, max } = summary(rounds, what);
    return Number.isNaN(median) ? '—' : `${print(median / unit)} (${print(min / unit)}–${print(max / unit)})`;
  },
});

/**
 * A figure that is the same in all rounds.
 * @param {string} title
 * @param {string} what
 * @returns {Column}
 */
const same = (title, what) => ({ title, cell: ({ rounds: [first] }) => whole(first[what]) });

/**
 * All rounds together.
 * @param {string} title
 * @param {string} what
 * @returns {Column}
 */
const sum = (title, what) => ({
  title,
  cell: ({ rounds }) => whole(rounds.reduce((total, round) => total + round[what], 0)),
});

/**
 * @param {string} title
 * @param {Base} base
 * @param {string} what
 * @returns {Column}
 */
const times = (title, base, what) => ({
  title,
  cell: (each, all) => {
    const times = ratio(all, each, each[base], what);
    return times === undefined || Number.isNaN(times) ? '—' : times.toFixed(2);
  },
});

/** The median, and the values between which eight of ten are. @param {readonly number[]} values @param {(value: number) => string} print */
function spreadOf(values, print) {
  const { median, low, high } = spread(values);
  return `${print(median)} (${print(low)}–${print(high)})`;
}

/**
 * @param {string} title
 * @param {string} what
 * @returns {Column}
 */
const blocks = (title, what, unit = 1, print = whole) => ({
  title,
  cell: ({ rounds }) =>
    spreadOf(
      rounds.map((round) => round[what] / unit),
      print,
    ),
});

/**
 * The column of what is calculated within each block, from a contestant and another one.
 * @param {string} title
 * @param {Base} base
 * @param {(all: readonly Measured[], each: Measured, other: string | undefined, what: string) => number[] | undefined} calculate
 * @param {(values: number[], each: Measured) => string} cell
 * @returns {Column}
 */
const within = (title, base, calculate, cell) => ({
  title,
  cell: (each, all) => {
    const values = each.name === each[base] ? undefined : calculate(all, each, each[base], 'cpu');
    return values ? cell(values, each) : '—';
  },
});

/** @param {string} title @param {Base} base */
const paired = (title, base) => within(title, base, ratios, (values) => spreadOf(values, hundredths));

/** @param {string} title @param {Base} base */
const beyond = (title, base, unit = 1) =>
  within(title, base, differences, (values) =>
    spreadOf(
      values.map((value) => value / unit),
      hundredths,
    ),
  );

/** The lowest and the highest median of a process. @param {Base} base */
const processes = (base) =>
  within('processes', base, ratios, (values, { rounds }) => {
    const numbers = new Set(rounds.map(({ process }) => process));
    const medians = [...numbers].map((number) => median(values.filter((_, i) => rounds[i].process === number)));
    return `${hundredths(Math.min(...medians))}–${hundredths(Math.max(...medians))}`;
  });

/** @param {Measured} measured */
const sumOf = ({ rounds }) => rounds.reduce((sum, { cpu }) => sum + cpu, 0);

/** The ratio of the sums: it includes what happens only now and then, such as garbage collection. @param {Base} base @returns {Column} */
const sums = (base) => ({
  title: 'sums',
  cell: (each, all) => {
    const other = all.find(({ name }) => name === each[base]);
    return other && other !== each ? hundredths(sumOf(each) / sumOf(other)) : '—';
  },
});

/** @type {Column} */
const blockCount = { title: 'blocks', cell: ({ rounds }) => whole(rounds.length) };

const STREAMS = [
  value('CPU ns/chunk', 'cpu'),
  value('chunks/s', 'rate'),
  times('× net', 'floor', 'cpu'),
  times('× node:http', 'writer', 'cpu'),
  times('× Nest generator', 'nest', 'cpu'),
];

const DELIVERIES = [
  value('CPU µs/delivery', 'cpu', 1_000, hundredths),
  value('deliveries/s', 'rate'),
  value('p50 ms', 'p50', 1_000, hundredths),
  value('p99 ms', 'p99', 1_000, hundredths),
  times('× net', 'floor', 'cpu'),
  times('× net gathered', 'gathered', 'cpu'),
];

const LOSSES = [sum('missing', 'missing'), sum('cut off', 'gone')];

const SLOPES = [
  value('heap bytes', 'heap'),
  value('resident bytes', 'rss'),
  times('× net', 'floor', 'heap'),
  times('× net resident', 'floor', 'rss'),
];

/** @type {Record<string, Column[]>} */
const COLUMNS = {
  fast: STREAMS,
  many: STREAMS,
  short: [
    value('CPU µs/request', 'cpu', 1_000),
    value('requests/s', 'rate'),
    times('× plain reply', 'plain', 'cpu'),
    times('× node:http', 'writer', 'cpu'),
    times('× Nest generator', 'nest', 'cpu'),
  ],
  idle: [
    value('heap bytes', 'heap'),
    value('resident bytes', 'rss'),
    times('× net', 'floor', 'heap'),
    times('× node:http', 'writer', 'heap'),
    times('× Nest @Sse', 'nest', 'heap'),
  ],
  fanout: [...DELIVERIES, times('× Nest @Sse', 'nest', 'cpu'), ...LOSSES],
  'fanout-topics': [
    value('CPU µs/delivery', 'cpu', 1_000, hundredths),
    value('deliveries/s', 'rate'),
    value('p50 ms', 'p50', 1_000, hundredths),
    value('p99 ms', 'p99', 1_000, hundredths),
    times('× net', 'floor', 'cpu'),
    ...LOSSES,
  ],
  'fanout-idle': [...SLOPES, times('× Nest @Sse', 'nest', 'heap'), sum('missing', 'missing')],
  'fanout-ws': [
    ...DELIVERIES,
    times('× ws shared frame', 'shared', 'cpu'),
    times('× ws send(string)', 'own', 'cpu'),
    ...LOSSES,
  ],
  'fanout-ws-idle': [...SLOPES, times('× ws', 'own', 'heap'), sum('missing', 'missing')],
  'fanout-gzip': [
    ...DELIVERIES,
    times('× shared block', 'shared', 'cpu'),
    times('× gzip each', 'own', 'cpu'),
    value('bytes/delivery', 'bytes'),
    ...LOSSES,
  ],
  'fanout-gzip-idle': [...SLOPES, times('× gzip each resident', 'own', 'rss'), sum('missing', 'missing')],
  'paired-fanout': [
    blocks('CPU µs/delivery', 'cpu', 1_000, hundredths),
    paired('× net gathered', 'gathered'),
    processes('gathered'),
    sums('gathered'),
    paired('× other build', 'otherBuild'),
    blockCount,
  ],
  'paired-short': [
    blocks('CPU µs/request', 'cpu', 1_000),
    paired('× plain reply', 'plain'),
    processes('plain'),
    sums('plain'),
    paired('× other build', 'otherBuild'),
    blockCount,
  ],
  'paired-fast': [
    blocks('CPU ns/chunk', 'cpu'),
    paired('× node:http', 'floor'),
    paired('× Nest generator', 'nest'),
    processes('nest'),
    paired('× other build', 'otherBuild'),
    blockCount,
  ],
  'paired-publish': [
    blocks('CPU µs/message', 'cpu', 1_000, hundredths),
    beyond('µs beyond JSON.stringify()', 'floor', 1_000),
    paired('× other build', 'otherBuild'),
    blockCount,
  ],
  'paired-resume': [
    blocks('s of CPU', 'cpu', 1e6, hundredths),
    paired('× net', 'floor'),
    paired('× other build', 'otherBuild'),
    blockCount,
  ],
  'paired-idle-loop': [
    value('% of a core', 'share', 1, hundredths),
    value('longest turn, CPU ms', 'cpu', 1, hundredths),
    value('longest turn, ms', 'wall', 1, hundredths),
  ],
  'paired-import': [blocks('CPU ms', 'cpu'), blocks('ms', 'ms'), paired('× other build', 'otherBuild'), blockCount],
  'cluster-append': [
    value('application µs/append', 'cpu', 1_000, hundredths),
    value('Redis µs/append', 'redis', 1_000, hundredths),
    value('appends/s', 'rate'),
    times('× XADD, application', 'xadd', 'cpu'),
    times('× XADD, Redis', 'xadd', 'redis'),
    times('× script, Redis', 'script', 'redis'),
  ],
  'cluster-receipt': [
    value('received p50 ms', 'p50', 1_000, hundredths),
    value('p99 ms', 'p99', 1_000, hundredths),
    value('appended p50 ms', 'ack50', 1_000, hundredths),
    value('p99 ms', 'ack99', 1_000, hundredths),
    value('Redis µs/event', 'redis', 1_000, hundredths),
    value('publisher µs/event', 'publisher', 1_000, hundredths),
    value('listener µs/event', 'listener', 1_000, hundredths),
    sum('missing', 'missing'),
  ],
  'cluster-fleet': [
    value('CPU µs/delivery', 'cpu', 1_000, hundredths),
    value('deliveries/s', 'rate'),
    value('p50 ms', 'p50', 1_000, hundredths),
    value('p99 ms', 'p99', 1_000, hundredths),
    value('Redis µs/message', 'redis', 1_000, hundredths),
    times('× raw', 'floor', 'cpu'),
    ...LOSSES,
  ],
  'brokers-append': [
    value('application µs/append', 'cpu', 1_000, hundredths),
    value('store µs/append', 'store', 1_000, hundredths),
    value('appends/s', 'rate'),
    value('ms for one', 'ms', 1_000, hundredths),
    times('× driver, application', 'driver', 'cpu'),
    times('× driver, appends/s', 'driver', 'rate'),
  ],
  'brokers-receipt': [
    value('received p50 ms', 'p50', 1_000, hundredths),
    value('p99 ms', 'p99', 1_000, hundredths),
    value('appended p50 ms', 'ack50', 1_000, hundredths),
    value('p99 ms', 'ack99', 1_000, hundredths),
    value('store µs/event', 'store', 1_000, hundredths),
    sum('missing', 'missing'),
  ],
  'brokers-replay': [
    value('ms until all have all', 'ms'),
    value('CPU µs/client', 'cpu'),
    value('store ms, in all', 'store', 1, hundredths),
  ],
  'brokers-start': [
    value('ms to start', 'startMs'),
    value('ms to read the history', 'ms'),
    value('CPU µs/event', 'cpu', 1_000, hundredths),
    value('heap bytes/event', 'heap'),
    value('store bytes/event', 'store'),
  ],
  'brokers-topics': [value('heap bytes', 'heap'), value('resident bytes', 'rss'), value('bytes in the store', 'store')],
  'brokers-unwanted': [
    value('received, of those published', 'received', 1, hundredths),
    value('wanted', 'wanted', 1, hundredths),
    value('CPU µs, by those published', 'cpu', 1_000, hundredths),
    value('store µs', 'store', 1_000, hundredths),
    value('CPU µs/received', 'each', 1_000, hundredths),
    value('µs to subscribe to a topic', 'wantUs', 1, hundredths),
  ],
  'brokers-listeners': [
    value('store µs/s at 500 events/s', 'slow'),
    value('at 2,000 events/s', 'fast'),
    value('fixed µs/s', 'fixed'),
    value('µs/event', 'perEvent', 1_000, hundredths),
    value('µs/append', 'appendStore', 1_000, hundredths),
  ],
  tokens: [
    value('CPU µs/token', 'cpu', 1_000, hundredths),
    value('Redis µs/token', 'redis', 1_000, hundredths),
    value('tokens/s', 'rate'),
    value('bytes/token', 'bytes'),
    times('× a write per token', 'each', 'cpu'),
    times('× gathered', 'gathered', 'cpu'),
    times('× peer', 'peer', 'cpu'),
    sum('cut off', 'gone'),
  ],
  'tokens-latency': [
    value('new answer p50', 'first50', 1, hundredths),
    value('p99', 'first99', 1, hundredths),
    value('CPU µs', 'cpu', 1_000),
    value('start() p50', 'start50', 1, hundredths),
    value('p99', 'start99', 1, hundredths),
    value('join p50', 'here50', 1, hundredths),
    value('p99', 'here99', 1, hundredths),
    value('join elsewhere p50', 'elsewhere50', 1, hundredths),
    value('p99', 'elsewhere99', 1, hundredths),
  ],
  'tokens-memory': [
    value('in progress: heap', 'heap'),
    value('resident', 'rss'),
    value('Redis', 'redis'),
    value('over: heap', 'overHeap'),
    value('resident', 'overRss'),
    value('Redis', 'overRedis'),
  ],
  'tokens-replay': [
    value('CPU µs', 'cpu', 1_000),
    value('CPU ns/token', 'perToken'),
    value('Redis µs', 'redis', 1_000),
    value('writes', 'writes'),
    times('× gathered', 'gathered', 'cpu'),
  ],
  'workers-tokens': [blocks('main thread, CPU ns/token', 'cpu'), paired('× generator', 'floor'), blockCount],
  'workers-latency': [
    blocks('p50 ms', 'p50', 1_000, hundredths),
    blocks('p99 ms', 'p99', 1_000, hundredths),
    blockCount,
  ],
  client: [value('CPU µs/event', 'cpu', 1_000, hundredths), value('events/s', 'rate'), times('× raw', 'raw', 'cpu')],
  'client-again': [
    value('cut off: CPU µs', 'cutCpu', 1_000),
    value('reconnects/s', 'cutRate'),
    times('× raw', 'raw', 'cutCpu'),
    value('ended: CPU µs', 'endedCpu', 1_000),
    value('reconnects/s', 'endedRate'),
    times('× raw', 'raw', 'endedCpu'),
  ],
  'client-memory': [
    value('heap', 'heap'),
    value('resident', 'rss'),
    times('× raw, heap', 'raw', 'heap'),
    times('× raw, resident', 'raw', 'rss'),
  ],
  'client-size': [same('minified', 'minified'), same('gzipped', 'gzipped')],
};

/** @param {readonly (readonly string[])[]} rows the first of them the head */
function table(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  /** @param {readonly string[]} row */
  const line = (row) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join(' | ')} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  const [head, ...body] = rows;
  return [line(head), rule, ...body.map(line)].join('\n');
}

/**
 * Returns the table of a scenario as Markdown: medians, with the lowest and highest round in parentheses.
 * @param {import('./scenarios.mjs').Outcome} outcome
 */
export function tableOf({ scenario, title, measured }) {
  const columns = COLUMNS[scenario];
  const rows = measured.map((each) => [each.name, ...columns.map(({ cell }) => cell(each, measured))]);
  return `### ${title}\n\n${table([['', ...columns.map((column) => column.title)], ...rows])}\n`;
}

/** @param {readonly import('./targets.mjs').Target[]} targets */
export function tableOfTargets(targets) {
  const rows = targets.map(({ what, limit, measured, met }) => [
    what,
    `≤ ${limit}`,
    Number.isNaN(measured) ? '—' : measured.toFixed(2),
    Number.isNaN(measured) ? 'not measured' : met ? 'met' : 'missed',
  ]);
  return `### Targets\n\n${table([['', 'target', 'measured', ''], ...rows])}\n`;
}
