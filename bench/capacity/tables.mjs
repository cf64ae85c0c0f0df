import { readFileSync, writeFileSync } from 'node:fs';
import { SOURCES } from './constants.mjs';
import { linesOf, short, whole } from './lines.mjs';
import { EXAMPLE, plan } from './plan.mjs';

/** The tables of docs/scaling.md. The script `bench/capacity.mjs` writes them, and a test compares them with the page. */

const GUIDE = new URL('../../docs/scaling.md', import.meta.url);
const CONSTANTS = new URL('constants.json', import.meta.url);
const SIMULATED = new URL('simulated.json', import.meta.url);

const readJson = (/** @type {URL} */ url) => JSON.parse(readFileSync(url, 'utf8'));

export const readConstants = () => readJson(CONSTANTS);
/** @param {object} constants */
export const writeConstants = (constants) => writeFileSync(CONSTANTS, `${JSON.stringify(constants, null, 2)}\n`);
export const readSimulated = () => readJson(SIMULATED);
/** @param {object} simulated */
export const writeSimulated = (simulated) => writeFileSync(SIMULATED, `${JSON.stringify(simulated, null, 2)}\n`);

/** @param {readonly (readonly string[])[]} rows the first of them the head */
const table = ([head, ...rows]) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');

/** @param {Record<string, { value: number, min: number, max: number } | undefined>} constants */
function constantsTable(constants) {
  const rows = Object.entries(SOURCES).map(([name, { says, unit, command }]) => {
    const { value, min, max } = constants[name] ?? {};
    return [
      says,
      value === undefined ? '–' : `${short(value)} ${unit}`,
      `${short(min)}–${short(max)}`,
      `\`${command}\``,
    ];
  });
  return table([['what', 'median', 'lowest–highest', 'measured by'], ...rows]);
}

/** @param {any} constants */
function planTable(constants) {
  const columns = /** @type {const} */ (['topic', 'log']).map((history) =>
    linesOf(plan({ ...EXAMPLE, history, kept: history === 'log' ? 10_000 : EXAMPLE.kept }, constants)),
  );
  const rows = columns[0].map(([what, perTopic], at) => [what, perTopic, columns[1][at][1]]);
  return table([['', "`history: { per: 'topic' }`", 'one history'], ...rows]);
}

const seconds = (/** @type {number} */ ms) => `${(ms / 1_000).toFixed(1)} s`;
const ms = (/** @type {number | null | undefined} */ value) =>
  value === null || value === undefined || Number.isNaN(value) ? '–' : `${value.toFixed(1)} ms`;

/** @param {any} simulated */
function simulationTable({ rows }) {
  return table([
    [
      '',
      'reads of the store',
      'records read',
      'reconnects',
      'most in one second',
      'p50 / p99 of catching up',
      'until all have all',
      'resets',
      'lost or twice',
    ],
    ...rows.map((/** @type {any} */ row) => [
      row.name,
      whole(row.reads),
      whole(row.records),
      whole(row.reconnects),
      whole(row.peak),
      `${ms(row.p50)} / ${ms(row.p99)}`,
      seconds(row.allMs),
      row.resets === undefined ? '–' : whole(row.resets),
      row.lost === undefined ? '–' : whole(row.lost + row.duplicates),
    ]),
  ]);
}

/** The tables, by the headings above them. */
export function tables() {
  const { constants } = readConstants();
  return {
    'What things cost': constantsTable(constants),
    'A plan for 1 000 000 clients': planTable(constants),
    'When all processes restart at once': simulationTable(readSimulated()),
  };
}

/** Returns where the table below a heading of the page is. @param {string} text @param {string} heading */
function placeOf(text, heading) {
  const at = text.indexOf(`\n## ${heading}\n`);
  const found = /^\|.*\n(?:\|.*\n)*/m.exec(text.slice(at));
  if (at < 0 || !found) {
    throw new Error(`docs/scaling.md has no table below "${heading}"`);
  }
  return { start: at + found.index, end: at + found.index + found[0].length };
}

/** The table below a heading of the page. @param {string} heading */
export function tableInGuide(heading) {
  const text = readFileSync(GUIDE, 'utf8');
  const { start, end } = placeOf(text, heading);
  return text.slice(start, end);
}

/** Writes the tables into the page. */
export function writeTables() {
  let text = readFileSync(GUIDE, 'utf8');
  for (const [heading, content] of Object.entries(tables())) {
    const { start, end } = placeOf(text, heading);
    text = text.slice(0, start) + content + text.slice(end);
  }
  writeFileSync(GUIDE, text);
}
