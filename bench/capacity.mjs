import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { constantsOf } from './capacity/constants.mjs';
import { linesOf } from './capacity/lines.mjs';
import { EXAMPLE, plan } from './capacity/plan.mjs';
import { readConstants, writeConstants, writeSimulated, writeTables } from './capacity/tables.mjs';

/** Plans the capacity of an application, measures what a plan needs, and simulates what happens when everything restarts. See README.md. */

/** The simulation: as much as one core can do for all processes, without being late. */
const SIMULATION = { processes: 100, clients: 5_000, topics: 200, perSecond: 50 };
const QUICK_SIMULATION = { processes: 20, clients: 2_000, topics: 400, perSecond: 100 };

const { values } = parseArgs({
  options: {
    clients: { type: 'string' },
    topics: { type: 'string' },
    events: { type: 'string' },
    deliveries: { type: 'string' },
    history: { type: 'string' },
    kept: { type: 'string' },
    constants: { type: 'string' },
    simulate: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});

/** The numbers of the command line, and those of the example for the others. */
function inputs() {
  const names = /** @type {const} */ (['clients', 'topics', 'events', 'deliveries', 'kept']);
  const numbers = Object.fromEntries(names.map((name) => [name, Number(values[name] ?? EXAMPLE[name])]));
  const history = values.history ?? EXAMPLE.history;
  if (!Object.values(numbers).every((each) => each > 0) || !(history === 'log' || history === 'topic')) {
    throw new Error(
      '--clients, --topics, --events, --deliveries and --kept are numbers above 0; --history is log or topic',
    );
  }
  return /** @type {import('./capacity/plan.mjs').Inputs} */ ({ ...numbers, history });
}

async function simulate() {
  const { EVENTS, HAS_TOPICS, eachForItself, simulated } = await import('./capacity/simulation.mjs');
  const size = values.quick ? QUICK_SIMULATION : SIMULATION;
  const rows = [];
  for (const [event, { title }] of Object.entries(EVENTS)) {
    for (const per of /** @type {const} */ (['log', 'topic'])) {
      if (per === 'topic' && !HAS_TOPICS) {
        console.log('**MISSING: a history for each topic. It is left out.**');
        continue;
      }
      const row = {
        name: `${title}: ${per === 'log' ? 'one history' : 'a history for each topic'}`,
        ...(await simulated(event, { ...size, per })),
      };
      console.log(row);
      rows.push(row);
    }
    if (event === 'restart') {
      const few = Math.ceil(size.processes / 10);
      const rowOfFew = {
        name: `${few} processes with as many clients in all restart at once: a history for each topic`,
        ...(await simulated(event, { ...size, processes: few, per: 'topic' })),
      };
      console.log(rowOfFew);
      rows.push(rowOfFew);
      const row = {
        name: `${title}: each client reads for itself`,
        ...(await eachForItself({ ...size, per: 'topic' })),
      };
      console.log(row);
      rows.push(row);
    }
  }
  const machine = `${cpus().length} × ${cpus()[0]?.model}, Node ${process.version}`;
  return { date: new Date().toISOString().slice(0, 10), machine, size, rows };
}

if (values.constants !== undefined) {
  writeConstants(constantsOf(JSON.parse(readFileSync(values.constants, 'utf8')), readConstants()));
}
if (values.simulate) {
  const result = await simulate();
  if (values.write) {
    writeSimulated(result);
  }
}
if (values.write) {
  writeTables();
} else if (!values.simulate) {
  for (const [what, value] of linesOf(plan(inputs(), readConstants().constants))) {
    console.log(`${what}: ${value}`);
  }
}
