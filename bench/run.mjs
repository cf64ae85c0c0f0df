import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { startLoad } from './processes.mjs';
import { tableOf, tableOfTargets } from './report.mjs';
import { SCENARIOS } from './scenarios.mjs';
import { targetsOf } from './targets.mjs';

/** What was asked for on the command line. */
function options() {
  const { values } = parseArgs({
    options: {
      scenario: { type: 'string', default: Object.keys(SCENARIOS).join(',') },
      rounds: { type: 'string', default: '5' },
      scale: { type: 'string', default: '1' },
      json: { type: 'string' },
    },
  });
  const scenarios = values.scenario.split(',');
  const rounds = Number(values.rounds);
  const scale = Number(values.scale);
  const unknown = scenarios.find((name) => !Object.hasOwn(SCENARIOS, name));
  if (unknown !== undefined) {
    throw new Error(`There is no scenario "${unknown}": there are ${Object.keys(SCENARIOS).join(', ')}`);
  }
  if (!(Number.isInteger(rounds) && rounds > 0 && scale > 0)) {
    throw new Error('--rounds is a whole number above 0, --scale a number above 0');
  }
  return { scenarios, rounds, scale, json: values.json };
}

/** @param {string} progress */
function tell(progress) {
  process.stderr.write(process.stderr.isTTY ? `\r\x1b[K${progress}` : `${progress}\n`);
}

const { scenarios, rounds, scale, json } = options();
const machine = `${cpus().length} × ${cpus()[0]?.model}, ${process.platform}, Node ${process.version}`;
const date = new Date().toISOString().slice(0, 10);
console.log(`${date}, ${machine}, ${rounds} rounds: median (lowest–highest)\n`);

const load = await startLoad();
/** @type {Record<string, import('./scenarios.mjs').Measured[]>} */
const results = {};
try {
  for (const name of scenarios) {
    results[name] = await SCENARIOS[name]({
      load,
      rounds,
      scale,
      tell: (progress) => tell(`${name}, ${progress}`),
    });
    tell('');
    console.log(tableOf(name, results[name]));
  }
} finally {
  await load.end();
}
const targets = Object.entries(results).flatMap(([name, measured]) => targetsOf(name, measured));
console.log(tableOfTargets(targets));
if (json !== undefined) {
  writeFileSync(json, `${JSON.stringify({ date, machine, rounds, scale, results, targets }, null, 2)}\n`);
}
