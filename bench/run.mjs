import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { startLoad } from './processes.mjs';
import { tableOf, tableOfTargets } from './report.mjs';
import { SCENARIOS } from './scenarios.mjs';
import { copyBuild } from './servers/build.mjs';
import { targetsOf } from './targets.mjs';

/** Steps that take longer than a minute are aborted. */
const LONGEST_SECONDS = 30;
/** The defaults of `--seconds`. */
const FANOUT_SECONDS = 2;
const PAIRED_SECONDS = 5;
/** The scale of `--quick`. */
const QUICK_SCALE = 0.25;

/** The options of the command line. */
function options() {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: Object.keys(SCENARIOS).join(',') },
      rounds: { type: 'string', default: '5' },
      scale: { type: 'string', default: '1' },
      quick: { type: 'boolean', default: false },
      json: { type: 'string' },
      clients: { type: 'string' },
      turn: { type: 'string', default: '1,10' },
      pace: { type: 'string', default: 'paced,saturated' },
      seconds: { type: 'string' },
      only: { type: 'string' },
      part: { type: 'string' },
      profile: { type: 'string' },
      other: { type: 'string' },
    },
  });
  const scenarios = values.scenario.split(',');
  const rounds = values.quick ? 1 : Number(values.rounds);
  const scale = values.quick ? QUICK_SCALE : Number(values.scale);
  const unknown = scenarios.find((name) => !Object.hasOwn(SCENARIOS, name));
  if (unknown !== undefined) {
    throw new Error(`There is no scenario "${unknown}": there are ${Object.keys(SCENARIOS).join(', ')}`);
  }
  if (!(Number.isInteger(rounds) && rounds > 0 && scale > 0)) {
    throw new Error('--rounds is a whole number above 0, --scale a number above 0');
  }
  if (values.other !== undefined) {
    copyBuild('other', values.other);
  }
  return {
    scenarios,
    rounds,
    scale,
    json: values.json,
    fanout: fanoutOptions(values),
    pairedSeconds: Number(values.seconds ?? PAIRED_SECONDS),
    other: values.other !== undefined,
    parts: values.part?.split(','),
  };
}

/** @param {Record<'turn' | 'pace', string> & Partial<Record<'clients' | 'seconds' | 'only' | 'profile', string>>} values */
function fanoutOptions({ clients, turn, pace, seconds = `${FANOUT_SECONDS}`, only, profile }) {
  const paces = /** @type {('paced' | 'saturated')[]} */ (pace.split(','));
  const numbers = { clients: clients?.split(',').map(Number), turns: turn.split(',').map(Number) };
  if (![...(numbers.clients ?? []), ...numbers.turns].every((each) => Number.isInteger(each) && each > 0)) {
    throw new Error('--clients and --turn are whole numbers above 0, with commas in between');
  }
  if (!paces.every((each) => each === 'paced' || each === 'saturated')) {
    throw new Error('--pace is paced, saturated or both, with a comma in between');
  }
  if (!(Number(seconds) > 0 && Number(seconds) <= LONGEST_SECONDS)) {
    throw new Error(`--seconds is a number above 0, and at most ${LONGEST_SECONDS}`);
  }
  if (profile !== undefined) {
    mkdirSync(profile, { recursive: true });
  }
  return { ...numbers, paces, seconds: Number(seconds), only: only?.split(','), profile };
}

/** @param {string} progress */
function report(progress) {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${progress}` : `${progress}\n`);
}

const { scenarios, rounds, scale, json, fanout, ...more } = options();
const machine = `${cpus().length} × ${cpus()[0]?.model}, ${process.platform}, Node ${process.version}`;
const date = new Date().toISOString().slice(0, 10);
console.log(`${date}, ${machine}, ${rounds} rounds: median (lowest–highest)\n`);

const load = await startLoad();
/** @type {import('./scenarios.mjs').Outcome[]} */
const results = [];
try {
  for (const name of scenarios) {
    const outcomes = await SCENARIOS[name]({
      load,
      rounds,
      scale,
      fanout,
      ...more,
      report: (progress) => report(`${name}, ${progress}`),
    });
    report('');
    results.push(...outcomes);
    for (const outcome of outcomes) {
      console.log(tableOf(outcome));
    }
  }
} finally {
  await load.end();
}
const targets = results.flatMap(targetsOf);
if (targets.length > 0) {
  console.log(tableOfTargets(targets));
}
if (json !== undefined) {
  writeFileSync(json, `${JSON.stringify({ date, machine, rounds, scale, results, targets }, null, 2)}\n`);
}
