import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ROOT } from '../support/documentation.js';

type Constants = Record<string, { readonly value: number }>;

interface Inputs {
  readonly clients: number;
  readonly topics: number;
  readonly events: number;
  readonly deliveries: number;
  readonly history: 'log' | 'topic';
  readonly kept: number;
}

interface Used {
  readonly received: number;
  readonly wanted: number;
  readonly cores: number;
  readonly memory: number;
}

interface Plan {
  readonly processes: number | undefined;
  readonly used: Used;
  readonly store: { readonly cores: number; readonly memory: number };
  readonly stores: number;
  readonly reconnects: { readonly perSecond: number; readonly cores: number };
  readonly first: readonly { readonly what: string }[];
}

interface Calculator {
  plan(inputs: Inputs, constants: Constants): Plan;
  processOf(inputs: Inputs, constants: Constants, processes: number): Used;
}

interface Tables {
  tables(): Record<string, string>;
  tableInGuide(heading: string): string;
  readConstants(): { readonly constants: Constants };
}

const script = (name: string) => pathToFileURL(join(ROOT, 'bench/capacity', name)).href;
const { plan, processOf } = (await import(script('plan.mjs'))) as Calculator;
const { tables, tableInGuide, readConstants } = (await import(script('tables.mjs'))) as Tables;

/** Round numbers, with which a reader can calculate: microseconds and bytes. */
const ROUND: Constants = Object.fromEntries(
  Object.entries({
    firstDelivery: 20,
    nextDelivery: 2,
    append: 10,
    unwanted: 5,
    connect: 100,
    client: 10_000,
    keptEvent: 1_000,
    topic: 3_000,
    storeAppend: 4,
    storeAppendTopic: 10,
    storeTail: 1_000,
    storeTailEvent: 1,
    storeTopicEvent: 2,
    storeEvent: 250,
    storeTopic: 1_000,
  }).map(([name, value]) => [name, { value }]),
);
/** Every client wants every event. */
const BROADCAST: Inputs = { clients: 1_000, topics: 1, events: 100, deliveries: 100_000, history: 'log', kept: 1_000 };
/** Every event is for one client. */
const SCATTERED: Inputs = {
  clients: 10_000,
  topics: 10_000,
  events: 1_000,
  deliveries: 1_000,
  history: 'topic',
  kept: 10,
};

describe('the calculator of the page "Plan the capacity"', () => {
  it('counts the first delivery of an event in a process as a write of its own, and the others as shared ones', () => {
    // 100 × 20 µs for the first client, 99 900 × 2 µs for the others, and 100 × 10 µs to publish: 202 800 µs a second.
    expect(processOf(BROADCAST, ROUND, 1)).toMatchObject({ received: 100, wanted: 100, cores: 0.2028 });
  });

  it('needs one process as long as it uses at most half of a core', () => {
    expect(plan(BROADCAST, ROUND).processes).toBe(1);
    const more = plan({ ...BROADCAST, deliveries: 400_000 }, ROUND);
    expect(more.processes).toBe(2);
    expect(more.used.cores).toBeLessThanOrEqual(0.5);
  });

  it('lets a process with one history receive all events, and one with a history for each topic those of its clients', () => {
    const log = processOf({ ...SCATTERED, history: 'log' }, ROUND, 10);
    const topic = processOf(SCATTERED, ROUND, 10);
    expect(log).toMatchObject({ received: 1_000 });
    expect(topic.received).toBeCloseTo(100);
    // 900 events that its clients do not want, 5 µs each.
    expect(log.cores - topic.cores).toBeCloseTo(0.0045);
  });

  it('says that no number of processes is enough if each spends half of a core on events that nobody there wants', () => {
    const many = { ...SCATTERED, events: 100_000, deliveries: 100_000, history: 'log' as const };
    const { processes, first } = plan(many, ROUND);
    expect(processes).toBeUndefined();
    expect(first[0]?.what).toContain('do not want');
    expect(plan({ ...many, history: 'topic' }, ROUND).processes).toBeDefined();
  });

  it('counts the memory of clients and histories', () => {
    // 100 MB before the first client, 10 000 bytes for each client, and the events of the history.
    expect(processOf(BROADCAST, ROUND, 1).memory).toBe(104_857_600 + 1_000 * 10_000 + 1_000 * 1_000);
    expect(plan(SCATTERED, ROUND).store.memory).toBe(10_000 * 10 * 250 + 10_000 * 1_000);
  });

  it('counts what a store does for events, and for the processes that receive them', () => {
    // One process: 100 × 4 µs to append, and 1 000 µs + 100 × 1 µs to be read.
    expect(plan(BROADCAST, ROUND).store.cores).toBeCloseTo(0.0015);
    // 1 000 × 10 µs to append, and 1 000 × 2 µs for the one process that wants each event.
    expect(plan(SCATTERED, ROUND).store.cores).toBeCloseTo(0.012);
  });

  it('spreads the reconnections of all clients over three seconds', () => {
    const { reconnects } = plan({ ...BROADCAST, clients: 30_000 }, ROUND);
    expect(reconnects.perSecond).toBe(10_000);
    expect(reconnects.cores).toBeCloseTo(1);
  });
});

describe('the tables of the page "Plan the capacity"', () => {
  it.each(Object.entries(tables()))('are what the script writes: %s', (heading, content) => {
    expect(tableInGuide(heading)).toBe(content);
  });

  it('contain a value for each constant', () => {
    for (const [name, constant] of Object.entries(readConstants().constants)) {
      expect([name, constant?.value]).toEqual([name, expect.any(Number)]);
    }
  });

  it('are for the numbers that the script prints without options', () => {
    const printed = execFileSync(process.execPath, [join(ROOT, 'bench/capacity.mjs')], { encoding: 'utf8' });
    const rows = tableInGuide('A plan for 1 000 000 clients').trim().split('\n').slice(2);
    for (const row of rows) {
      const [, what, perTopic] = row.split(' | ').length > 2 ? ['', ...row.replace(/^\| /, '').split(' | ')] : [];
      expect(printed).toContain(`${what}: ${perTopic}\n`);
    }
  });
});
