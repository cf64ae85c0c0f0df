import { ratio, summary } from './statistics.mjs';

/** @typedef {import('./scenarios.mjs').Measured} Measured */
/** @typedef {{ title: string, cell: (each: Measured, all: readonly Measured[]) => string }} Column */

/** @param {number} value */
const whole = (value) => Math.round(value).toLocaleString('en');

/**
 * @param {string} title
 * @param {string} what
 * @returns {Column}
 */
const value = (title, what, unit = 1) => ({
  title,
  cell: ({ rounds }) => {
    const { median, min, max } = summary(rounds, what);
    return `${whole(median / unit)} (${whole(min / unit)}–${whole(max / unit)})`;
  },
});

/**
 * @param {string} title
 * @param {'floor' | 'writer' | 'nest' | 'plain'} base
 * @param {string} what
 * @returns {Column}
 */
const times = (title, base, what) => ({
  title,
  cell: (each, all) => ratio(all, each, each[base], what)?.toFixed(2) ?? '—',
});

const STREAMS = [
  value('CPU ns/chunk', 'cpu'),
  value('chunks/s', 'rate'),
  times('× net', 'floor', 'cpu'),
  times('× node:http', 'writer', 'cpu'),
  times('× Nest generator', 'nest', 'cpu'),
];

/** @type {Record<string, { title: string, columns: Column[] }>} */
const TABLES = {
  fast: { title: 'One fast stream of 50-byte events', columns: STREAMS },
  many: { title: '50 fast streams at once', columns: STREAMS },
  short: {
    title: 'Many short streams of ten chunks',
    columns: [
      value('CPU µs/request', 'cpu', 1_000),
      value('requests/s', 'rate'),
      times('× plain reply', 'plain', 'cpu'),
      times('× node:http', 'writer', 'cpu'),
      times('× Nest generator', 'nest', 'cpu'),
    ],
  },
  idle: {
    title: 'An idle stream',
    columns: [
      value('heap bytes', 'heap'),
      value('resident bytes', 'rss'),
      times('× net', 'floor', 'heap'),
      times('× node:http', 'writer', 'heap'),
      times('× Nest @Sse', 'nest', 'heap'),
    ],
  },
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
 * The table of a scenario, as Markdown: medians, with the lowest and highest round in brackets.
 * @param {string} scenario
 * @param {readonly Measured[]} measured
 */
export function tableOf(scenario, measured) {
  const { title, columns } = TABLES[scenario];
  const rows = measured.map((each) => [each.name, ...columns.map(({ cell }) => cell(each, measured))]);
  return `### ${title}\n\n${table([['', ...columns.map((column) => column.title)], ...rows])}\n`;
}

/** @param {readonly import('./targets.mjs').Target[]} targets */
export function tableOfTargets(targets) {
  const rows = targets.map(({ what, limit, measured, met }) => [
    what,
    `≤ ${limit}`,
    measured.toFixed(2),
    met ? 'met' : 'missed',
  ]);
  return `### Targets\n\n${table([['', 'target', 'measured', ''], ...rows])}\n`;
}
