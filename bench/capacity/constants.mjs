import { summary } from '../statistics.mjs';

/** The measured constants, and where each comes from: a figure of a scenario of the benchmark. */

/** What the figures of the benchmark are divided by. */
const NS_PER_US = 1_000;
/** The options of `npm --prefix bench start --`. */
const RUN = '--rounds 3 --scenario';
const FANOUT = `${RUN} fanout --clients 1000 --turn 1 --pace paced --only ours`;
const BROKERS = `${RUN} brokers --scale 0.2`;
const APPENDS = `${RUN} brokers --part appends --scale 0.4 --only node-redis`;
const OURS = 'ours, Fastify';
const REDIS = 'ours, RedisBroker, node-redis';

/**
 * @typedef {object} Source
 * @property {string} says what the constant is
 * @property {string} unit
 * @property {string} scenario
 * @property {RegExp} [title] of the table
 * @property {RegExp} contestant
 * @property {string} figure
 * @property {number} [divisor]
 * @property {string} command
 */

/** @type {Record<string, Source>} */
export const SOURCES = {
  firstDelivery: {
    says: 'CPU of a process for an event that one of its clients receives',
    unit: 'µs',
    scenario: 'fanout-topics',
    title: /10 messages/,
    contestant: new RegExp(`^${OURS}$`),
    figure: 'cpu',
    divisor: NS_PER_US,
    command: `${RUN} fanout-topics`,
  },
  nextDelivery: {
    says: 'CPU for each further client that receives the event',
    unit: 'µs',
    scenario: 'fanout',
    title: /^1000 clients, 1 message a turn, paced/,
    contestant: new RegExp(`^${OURS}$`),
    figure: 'cpu',
    divisor: NS_PER_US,
    command: FANOUT,
  },
  append: {
    says: 'CPU of a process for an event that it publishes to Redis',
    unit: 'µs',
    scenario: 'brokers-append',
    title: /256 in flight/,
    contestant: new RegExp(`^${REDIS}$`),
    figure: 'cpu',
    divisor: NS_PER_US,
    command: APPENDS,
  },
  unwanted: {
    says: 'CPU for an event that a process receives, at 5 000 a second, if its clients want a tenth of them',
    unit: 'µs',
    scenario: 'brokers-unwanted',
    contestant: new RegExp(`^${REDIS}, one log$`),
    figure: 'each',
    divisor: NS_PER_US,
    command: BROKERS,
  },
  connect: {
    says: 'CPU of a request that opens a stream, and of its end',
    unit: 'µs',
    scenario: 'short',
    contestant: /^ours, Fastify, async generator$/,
    figure: 'cpu',
    divisor: NS_PER_US,
    command: `${RUN} short`,
  },
  client: {
    says: 'Resident memory of a client',
    unit: 'bytes',
    scenario: 'fanout-idle',
    contestant: new RegExp(`^${OURS}$`),
    figure: 'rss',
    command: `${RUN} fanout-idle --only ours`,
  },
  keptEvent: {
    says: 'Heap of an event of 200 bytes in the history of a process',
    unit: 'bytes',
    scenario: 'brokers-start',
    contestant: new RegExp(`^${REDIS}$`),
    figure: 'heap',
    command: BROKERS,
  },
  topic: {
    says: "Heap of a topic of a process, with one subscription and one event, with `per: 'topic'`",
    unit: 'bytes',
    scenario: 'brokers-topics',
    contestant: new RegExp(`^${REDIS}$`),
    figure: 'heap',
    command: BROKERS,
  },
  storeAppend: {
    says: 'CPU of Redis to append an event',
    unit: 'µs',
    scenario: 'brokers-append',
    title: /256 in flight/,
    contestant: new RegExp(`^${REDIS}$`),
    figure: 'store',
    divisor: NS_PER_US,
    command: APPENDS,
  },
  storeAppendTopic: {
    says: "CPU of Redis to append an event with `per: 'topic'`",
    unit: 'µs',
    scenario: 'brokers-append',
    title: /256 in flight/,
    contestant: new RegExp(`^${REDIS}, per topic$`),
    figure: 'store',
    divisor: NS_PER_US,
    command: APPENDS,
  },
  storeTail: {
    says: 'CPU of Redis for each process that reads a busy hub, in each second',
    unit: 'µs',
    scenario: 'brokers-listeners',
    contestant: new RegExp(`^${REDIS}, one log$`),
    figure: 'fixed',
    command: BROKERS,
  },
  storeTailEvent: {
    says: 'CPU of Redis for each process and event',
    unit: 'µs',
    scenario: 'brokers-listeners',
    contestant: new RegExp(`^${REDIS}, one log$`),
    figure: 'perEvent',
    divisor: NS_PER_US,
    command: BROKERS,
  },
  storeTopicEvent: {
    says: "CPU of Redis for each process that wants an event, with `per: 'topic'`",
    unit: 'µs',
    scenario: 'brokers-listeners',
    contestant: new RegExp(`^${REDIS}, per topic$`),
    figure: 'perEvent',
    divisor: NS_PER_US,
    command: BROKERS,
  },
  storeEvent: {
    says: 'Memory of Redis for an event of 200 bytes',
    unit: 'bytes',
    scenario: 'brokers-start',
    contestant: new RegExp(`^${REDIS}$`),
    figure: 'store',
    command: BROKERS,
  },
  storeTopic: {
    says: "Memory of Redis for a topic with one event, with `per: 'topic'`",
    unit: 'bytes',
    scenario: 'brokers-topics',
    contestant: new RegExp(`^${REDIS}$`),
    figure: 'store',
    command: BROKERS,
  },
};

/** @typedef {{ value: number, min: number, max: number }} Constant */

/**
 * Finds the constants in the figures that `run.mjs --json` has written. One that is not among them keeps its value.
 * @param {{ date: string, machine: string, results: any[] }} figures
 * @param {{ constants?: Record<string, Constant> }} [before]
 */
export function constantsOf({ date, machine, results }, before = {}) {
  const constants = Object.fromEntries(
    Object.entries(SOURCES).map(([name, { scenario, title, contestant, figure, divisor = 1 }]) => {
      const table = results.find((each) => each.scenario === scenario && (title?.test(each.title) ?? true));
      const measured = table?.measured.find((/** @type {{ name: string }} */ each) => contestant.test(each.name));
      if (!measured) {
        return [name, before.constants?.[name]];
      }
      const { median, min, max } = summary(measured.rounds, figure);
      const [value, low, high] = [median, min, max].map((each) => Number((each / divisor).toPrecision(3)));
      return [name, { value, min: low, max: high }];
    }),
  );
  return { date, machine, constants };
}
