/**
 * Computes how many processes an application needs, and what its store has to do. The script `bench/capacity.mjs` and the calculator in
 * `docs/scaling.md` use this file, with the measured constants of `constants.json`.
 */

/** How much of a core a process should use: the rest is for requests, garbage collection and peaks. */
export const CORE_SHARE = 0.5;
/** The memory of one process, in bytes. */
export const PROCESS_MEMORY = 1_073_741_824;
/** What a process takes before it has clients, in bytes. */
const BASE_MEMORY = 104_857_600;
/** Clients connect again within this time: the default of `shutdown.retry` is 1.5 to 4.5 seconds. */
const RECONNECT_SECONDS = 3;
/** More processes than this are no plan. */
const MOST_PROCESSES = 10_000;
const MICROSECONDS = 1e6;

/**
 * @typedef {object} Inputs
 * @property {number} clients connected at the same time
 * @property {number} topics with clients
 * @property {number} events published in a second
 * @property {number} deliveries in a second: events, times the clients that receive each
 * @property {'log' | 'topic'} history whether the hub has one history, or one for each topic
 * @property {number} kept events in that history
 */
/** @typedef {Record<string, { value: number }>} Constants see `constants.mjs` */
/** @typedef {{ what: string, used: number, of: number }} Limit `of` is how much there is */

/** The plan that docs/scaling.md works out: topics with ten clients each, as in Centrifugo's test with a million connections. @type {Inputs} */
export const EXAMPLE = {
  clients: 1_000_000,
  topics: 100_000,
  events: 50_000,
  deliveries: 500_000,
  history: 'topic',
  kept: 10,
};

/**
 * Returns in how many of the processes at least one client receives an event, if the clients of a topic are anywhere.
 * @param {Inputs} inputs
 * @param {number} processes
 */
export function reached({ events, deliveries }, processes) {
  return processes * (1 - (1 - 1 / processes) ** (deliveries / events));
}

/**
 * Returns what one of a number of processes uses.
 * @param {Inputs} inputs
 * @param {Constants} constants
 * @param {number} processes
 */
export function processOf(inputs, constants, processes) {
  const { clients, topics, events, deliveries, history, kept } = inputs;
  const { firstDelivery, nextDelivery, append, unwanted, client, keptEvent, topic } = constants;
  const wanted = (events * reached(inputs, processes)) / processes;
  const received = history === 'log' ? events : wanted;
  const hearing = (received - wanted) * unwanted.value;
  const delivering = wanted * firstDelivery.value + (deliveries / processes - wanted) * nextDelivery.value;
  const publishing = (events / processes) * append.value;
  const here = topics * (1 - (1 - 1 / processes) ** (clients / topics));
  const histories = history === 'log' ? kept * keptEvent.value : here * (topic.value + kept * keptEvent.value);
  return {
    received,
    wanted,
    hearing: hearing / MICROSECONDS,
    delivering: delivering / MICROSECONDS,
    publishing: publishing / MICROSECONDS,
    cores: (hearing + delivering + publishing) / MICROSECONDS,
    memory: BASE_MEMORY + (clients / processes) * client.value + histories,
  };
}

/**
 * Returns what one store uses.
 * @param {Inputs} inputs
 * @param {Constants} constants
 * @param {number} processes
 */
export function storeOf(inputs, constants, processes) {
  const { topics, events, history, kept } = inputs;
  const { storeAppend, storeAppendTopic, storeTail, storeTailEvent, storeTopicEvent, storeEvent, storeTopic } =
    constants;
  const appending = events * (history === 'log' ? storeAppend.value : storeAppendTopic.value);
  const telling =
    history === 'log'
      ? processes * (storeTail.value + events * storeTailEvent.value)
      : events * reached(inputs, processes) * storeTopicEvent.value;
  const records = history === 'log' ? Math.max(kept, 4_096) : topics * kept;
  return {
    appending: appending / MICROSECONDS,
    telling: telling / MICROSECONDS,
    cores: (appending + telling) / MICROSECONDS,
    memory: records * storeEvent.value + (history === 'log' ? 0 : topics * storeTopic.value),
  };
}

/**
 * Computes a plan: the lowest number of processes that stay within {@link CORE_SHARE} of a core and {@link PROCESS_MEMORY}, and what that means.
 * @param {Inputs} inputs
 * @param {Constants} constants
 */
export function plan(inputs, constants) {
  const all = fewest(inputs, constants, ({ cores }) => cores);
  // What the processes would do if they did not receive what their clients do not want.
  const processes = all ?? fewest(inputs, constants, ({ cores, hearing }) => cores - hearing) ?? MOST_PROCESSES;
  const used = processOf(inputs, constants, processes);
  const store = storeOf(inputs, constants, processes);
  const reconnects = inputs.clients / RECONNECT_SECONDS;
  return {
    processes: all,
    used,
    store,
    stores: Math.ceil(store.cores / CORE_SHARE),
    reconnects: {
      perSecond: reconnects,
      cores: (reconnects / processes) * (constants.connect.value / MICROSECONDS),
    },
    first: firstToFail(used, store, all !== undefined),
  };
}

/**
 * Returns the lowest number of processes that stay within the limits. `undefined`: no number is enough.
 * @param {Inputs} inputs
 * @param {Constants} constants
 * @param {(used: ReturnType<typeof processOf>) => number} coresOf which part of their work counts
 */
function fewest(inputs, constants, coresOf) {
  for (let processes = 1; processes <= MOST_PROCESSES; processes++) {
    const used = processOf(inputs, constants, processes);
    if (coresOf(used) <= CORE_SHARE && used.memory <= PROCESS_MEMORY) {
      return processes;
    }
  }
  return undefined;
}

/**
 * Returns what fails first if there is more of everything and processes are added: what uses the highest share of what there is.
 * @param {ReturnType<typeof processOf>} used
 * @param {ReturnType<typeof storeOf>} store
 * @param {boolean} isPossible whether there is a number of processes that is enough
 * @returns {Limit[]} the highest share first
 */
function firstToFail(used, store, isPossible) {
  /** @type {Limit[]} */
  const limits = [
    // Each of them receives these, whatever their number.
    {
      what: 'events that a process receives and its clients do not want',
      used: isPossible ? used.hearing : Number.POSITIVE_INFINITY,
      of: 1,
    },
    { what: 'the core of one store', used: store.cores, of: 1 },
    { what: 'the memory of a process', used: used.memory, of: PROCESS_MEMORY },
  ];
  return limits.sort((a, b) => b.used / b.of - a.used / a.of);
}
