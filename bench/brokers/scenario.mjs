import { Worker } from '../processes.mjs';
import { CONTESTANTS } from './contestants.mjs';
import { STORES } from './servers.mjs';

/** @typedef {import('../fanout/scenario.mjs').Run} Run */
/** @typedef {import('../scenarios.mjs').Outcome} Outcome */
/** @typedef {import('./contestants.mjs').BrokerContestant} BrokerContestant */
/** @typedef {import('./servers.mjs').Store} Store */
/** @typedef {BrokerContestant & { rounds: Record<string, number>[] }} Measured */

const IN_FLIGHT = [1, 256];
const APPEND_MS = 2_000;
const RATES = [100, 1_000];
const RECEIPT_MS = 4_000;
const REPLAY = { clients: 1_000, events: 500, history: 1_000 };
const START = { history: 100_000 };
const TOPICS = { few: 1_000, many: 10_000 };
const UNWANTED = { topics: 100_000, wanted: 10_000, perSecond: 5_000, ms: 4_000 };
/** Processes that receive the same events, and events per second. */
const LISTENERS = { few: 1, many: 4, rates: [500, 2_000], ms: 4_000 };
const PER_TOPIC = { limit: 10, per: /** @type {const} */ ('topic') };
const NAMES = 'abcdefghijklmnopqrstuvwxyz';

let logs = 0;
/** A name that no other measurement has. */
const newLog = () => `bench${logs++}${NAMES[logs % NAMES.length]}`;

/**
 * Starts a process of a contestant.
 * @param {BrokerContestant} contestant
 * @param {Store} store
 * @param {string} log
 * @param {object} [history]
 */
async function start({ program }, { url }, log, history) {
  const worker = new Worker('cluster/worker.mjs', [...program, url, log, JSON.stringify(history ?? {})]);
  try {
    await worker.nextMessage();
  } catch (error) {
    await worker.end();
    throw error;
  }
  return worker;
}

/** @param {Worker} worker @param {string} method @param {...unknown} args */
const call = (worker, method, ...args) => worker.ask({ ask: 'call', method, args });

/** @param {Run} run @param {BrokerContestant} contestant */
const isAsked = ({ fanout: { only } }, { name }) => only === undefined || only.some((part) => name.includes(part));

/**
 * Measures all contestants in turn, round after round.
 * @template {BrokerContestant} C
 * @param {Run} run
 * @param {string} what
 * @param {readonly C[]} contestants
 * @param {(contestant: C, store: Store, index: number) => Promise<Record<string, number>>} measure
 * @param {Map<string, Store>} stores
 */
async function interleaved({ rounds, report }, what, contestants, measure, stores) {
  const measured = contestants.map((each) => ({ ...each, rounds: /** @type {Record<string, number>[]} */ ([]) }));
  for (let round = 1; round <= rounds; round++) {
    for (const [index, each] of measured.entries()) {
      report(`${what}, round ${round} of ${rounds}: ${each.name}`);
      try {
        each.rounds.push(await measure(each, /** @type {Store} */ (stores.get(each.store)), index));
      } catch (error) {
        console.log(`**FAILED: ${what}, ${each.name}: ${error}**\n`);
      }
    }
  }
  return measured.filter((each) => each.rounds.length > 0);
}

/**
 * Appends as fast as possible, with a number of events on the way.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome[]>}
 */
async function appends(run, contestants, stores) {
  const workers = [];
  try {
    for (const each of contestants) {
      const worker = await start(each, /** @type {Store} */ (stores.get(each.store)), newLog(), each.history);
      workers.push(worker);
      await worker.ask({ ask: 'append', ms: APPEND_MS * run.scale * 0.3, inFlight: 16 });
    }
    const outcomes = [];
    for (const inFlight of IN_FLIGHT) {
      const measured = await interleaved(
        run,
        `appends, ${inFlight} in flight`,
        contestants,
        async (_, store, index) => {
          const before = await store.cpu();
          const { cpu, us, count } = await workers[index].ask({ ask: 'append', ms: APPEND_MS * run.scale, inFlight });
          const used = (await store.cpu()) - before;
          return {
            cpu: (cpu * 1_000) / count,
            store: (used * 1_000) / count,
            rate: count / (us / 1e6),
            ms: (us * inFlight) / count,
          };
        },
        stores,
      );
      outcomes.push({ scenario: 'brokers-append', title: `Appends to each broker, ${inFlight} in flight`, measured });
    }
    return outcomes;
  } finally {
    await Promise.all(workers.map((worker) => worker.end()));
  }
}

/**
 * Publishes in one process, and listens in another one; in memory, in the same one.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome[]>}
 */
async function receipts(run, contestants, stores) {
  const pairs = [];
  try {
    for (const each of contestants) {
      const store = /** @type {Store} */ (stores.get(each.store));
      const log = newLog();
      const publisher = await start(each, store, log);
      const listener = each.store === 'memory' ? publisher : await start(each, store, log);
      pairs.push({ publisher, listener });
      await listener.ask({ ask: 'listen' });
      const { count } = await publisher.ask({ ask: 'publish', perSecond: 100, ms: 1_000 });
      await listener.ask({ ask: 'arrived', count });
    }
    const outcomes = [];
    for (const perSecond of RATES) {
      const measured = await interleaved(
        run,
        `receipt, ${perSecond} events/s`,
        contestants,
        async (_, store, index) => {
          const { publisher, listener } = pairs[index];
          const before = await store.cpu();
          const sent = await publisher.ask({ ask: 'publish', perSecond, ms: RECEIPT_MS * run.scale });
          const heard = await listener.ask({ ask: 'arrived', count: sent.count });
          const used = (await store.cpu()) - before;
          return {
            p50: heard.p50,
            p99: heard.p99,
            ack50: sent.p50,
            ack99: sent.p99,
            store: (used * 1_000) / sent.count,
            missing: sent.count - heard.count,
          };
        },
        stores,
      );
      const title = `Publish to receipt on each broker, ${perSecond} events/s`;
      outcomes.push({ scenario: 'brokers-receipt', title, perSecond, measured });
    }
    return outcomes;
  } finally {
    await Promise.all(pairs.flatMap(({ publisher, listener }) => [publisher.end(), listener.end()]));
  }
}

/**
 * Clients come back at once to a process that has just started.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome>}
 */
async function replay(run, contestants, stores) {
  const { clients, events, history } = REPLAY;
  const measured = await interleaved(
    run,
    'replay',
    contestants,
    async (contestant, store) => {
      const log = newLog();
      const first = await start(contestant, store, log);
      let second = first;
      try {
        await call(first, 'fill', history - events - 1);
        const { first: after } = await call(first, 'fill', 1);
        await call(first, 'fill', events);
        second = contestant.store === 'memory' ? first : await start(contestant, store, log);
        const before = await store.cpu();
        const { cpu, us } = await call(second, 'replay', clients, after, events);
        const used = (await store.cpu()) - before;
        return { ms: us / 1_000, cpu: cpu / clients, store: used / 1_000 };
      } finally {
        await Promise.all([first.end(), second.end()]);
      }
    },
    stores,
  );
  const title = `${clients.toLocaleString('en')} clients come back at once, each for ${events} events`;
  return { scenario: 'brokers-replay', title, measured };
}

/**
 * A process starts that shares a long history, and a client needs all of it.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome>}
 */
async function starts(run, contestants, stores) {
  const history = Math.ceil(START.history * run.scale);
  const shared = contestants.filter(({ store }) => store !== 'memory');
  /** @type {{ log: string, first: string, bytes: number }[]} */
  const filled = [];
  for (const each of shared) {
    run.report(`start-up: fills the history of ${each.name}`);
    const log = newLog();
    const store = /** @type {Store} */ (stores.get(each.store));
    const worker = await start(each, store, log, { limit: history });
    const before = await store.memory();
    const { first } = await call(worker, 'fill', 1);
    await call(worker, 'fill', history - 1);
    filled.push({ log, first, bytes: ((await store.memory()) - before) / history });
    await worker.end();
  }
  const measured = await interleaved(
    run,
    'start-up',
    shared,
    async (contestant, store, index) => {
      const { log, first, bytes } = filled[index];
      const worker = await start(contestant, store, log, { limit: history });
      try {
        const { startMs } = await call(worker, 'started');
        const before = await call(worker, 'heap');
        const { cpu, us } = await call(worker, 'replay', 1, first, history - 1);
        const after = await call(worker, 'heap');
        return {
          startMs,
          ms: us / 1_000,
          cpu: (cpu * 1_000) / history,
          heap: (after.heap - before.heap) / history,
          store: bytes,
        };
      } finally {
        await worker.end();
      }
    },
    stores,
  );
  return {
    scenario: 'brokers-start',
    title: `A process starts with a history of ${history.toLocaleString('en')}`,
    measured,
  };
}

/**
 * Each topic has one event, and a subscriber.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome>}
 */
async function topics(run, contestants, stores) {
  const measured = await interleaved(
    run,
    'topics',
    contestants,
    async (contestant, store) => {
      const worker = await start(contestant, store, newLog(), { limit: 100, per: 'topic' });
      try {
        let subscribed = 0;
        let published = 0;
        const at = async (/** @type {number} */ count) => {
          await call(worker, 'want', count - subscribed, subscribed);
          subscribed = count;
          await call(worker, 'fill', count, count);
          published += count;
          await call(worker, 'arrived', published);
          return { ...(await call(worker, 'heap')), store: await store.memory() };
        };
        await at(Math.ceil(TOPICS.few * run.scale));
        const { few, many } = { few: TOPICS.few * run.scale, many: TOPICS.many * run.scale };
        const before = await at(Math.ceil(few));
        const after = await at(Math.ceil(many));
        const more = many - few;
        return {
          heap: (after.heap - before.heap) / more,
          rss: (after.rss - before.rss) / more,
          store: (after.store - before.store) / more,
        };
      } finally {
        await worker.end();
      }
    },
    stores,
  );
  return { scenario: 'brokers-topics', title: 'One more topic, with an event and a subscriber', measured };
}

/** What a process has received, and used, so far. @param {Worker} worker @param {Store} store */
async function usageOf(worker, store) {
  const { received, wanted } = await call(worker, 'received');
  const { cpu } = await worker.ask({ ask: 'cpu' });
  return { received, wanted, cpu, store: await store.cpu() };
}

/**
 * A process whose clients want a part of many topics, while another process publishes to all of them.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {readonly BrokerContestant[]} able those with a history for each topic
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome>}
 */
async function unwanted(run, contestants, able, stores) {
  const { topics, wanted, perSecond, ms } = UNWANTED;
  const cases = bothHistories(contestants, able);
  const measured = await interleaved(
    run,
    'unwanted events',
    cases,
    async (contestant, store) => {
      const log = newLog();
      const publisher = await start(contestant, store, log, contestant.history);
      const listener = await start(contestant, store, log, contestant.history);
      try {
        const { us } = await call(listener, 'want', wanted);
        // Once each topic has received an event, all subscriptions are complete.
        await call(publisher, 'fill', wanted, wanted);
        await call(listener, 'arrived', wanted);
        await publisher.ask({ ask: 'publish', perSecond, ms: 500, topics });
        const before = await usageOf(listener, store);
        const { count } = await publisher.ask({ ask: 'publish', perSecond, ms: ms * run.scale, topics });
        await publisher.ask({ ask: 'pause', ms: 300 });
        const after = await usageOf(listener, store);
        return {
          wantUs: us / wanted,
          received: (after.received - before.received) / count,
          wanted: (after.wanted - before.wanted) / count,
          cpu: ((after.cpu - before.cpu) * 1_000) / count,
          each: ((after.cpu - before.cpu) * 1_000) / (after.received - before.received),
          store: ((after.store - before.store) * 1_000) / count,
        };
      } finally {
        await Promise.all([publisher.end(), listener.end()]);
      }
    },
    stores,
  );
  const title = `${topics.toLocaleString('en')} topics, of which a process wants ${wanted.toLocaleString('en')}, and ${perSecond.toLocaleString('en')} events/s`;
  return { scenario: 'brokers-unwanted', title, measured };
}

/**
 * What one more process that receives the same events costs the store: the slope between two numbers of processes.
 * @param {Run} run
 * @param {readonly BrokerContestant[]} contestants
 * @param {readonly BrokerContestant[]} able those with a history for each topic
 * @param {Map<string, Store>} stores
 * @returns {Promise<Outcome>}
 */
async function listeners(run, contestants, able, stores) {
  const { few, many, rates, ms } = LISTENERS;
  const cases = bothHistories(contestants, able);
  const measured = await interleaved(
    run,
    'listeners',
    cases,
    async (contestant, store) => {
      const log = newLog();
      const publisher = await start(contestant, store, log, contestant.history);
      const all = [];
      /** The CPU time of the store, in microseconds: in a second, and for an event, for each rate. */
      const usedBy = async (/** @type {number} */ count) => {
        while (all.length < count) {
          const worker = await start(contestant, store, log, contestant.history);
          all.push(worker);
          await worker.ask({ ask: 'listen' });
        }
        const used = [];
        for (const perSecond of rates) {
          await publisher.ask({ ask: 'publish', perSecond, ms: 300 });
          const before = { cpu: await store.cpu(), at: performance.now() };
          const { count: events } = await publisher.ask({
            ask: 'publish',
            perSecond,
            ms: ms * Math.max(run.scale, 0.4),
          });
          const cpu = (await store.cpu()) - before.cpu;
          used.push({ second: cpu / ((performance.now() - before.at) / 1_000), event: cpu / events });
        }
        return used;
      };
      try {
        const one = await usedBy(few);
        const more = await usedBy(many);
        const slopes = more.map(({ second, event }, at) => ({
          second: (second - one[at].second) / (many - few),
          event: (event - one[at].event) / (many - few),
        }));
        const [slow, fast] = slopes;
        const [slowRate, fastRate] = rates;
        // A process that reads a log is woken a number of times in a second, however many events there are.
        const isLog = !contestant.name.endsWith('per topic');
        const perEvent = isLog
          ? Math.max(0, fast.second - slow.second) / (fastRate - slowRate)
          : Math.max(0, fast.event);
        return {
          slow: slow.second,
          fast: fast.second,
          fixed: isLog ? Math.max(0, slow.second - slowRate * perEvent) : 0,
          perEvent: perEvent * 1_000,
          appendStore: (one[1].event - few * fast.event) * 1_000,
        };
      } finally {
        await Promise.all([publisher, ...all].map((worker) => worker.end()));
      }
    },
    stores,
  );
  return { scenario: 'brokers-listeners', title: 'One more process that receives the same events', measured };
}

/**
 * Each contestant with one history, and with a history for each topic if it can.
 * @param {readonly BrokerContestant[]} contestants
 * @param {readonly BrokerContestant[]} able
 */
const bothHistories = (contestants, able) =>
  contestants
    .filter(({ store }) => store !== 'memory')
    .flatMap((each) => [
      { ...each, name: `${each.name}, one log`, history: { limit: 1_000 } },
      ...(able.includes(each) ? [{ ...each, name: `${each.name}, per topic`, history: PER_TOPIC }] : []),
    ]);

/**
 * Returns the contestants whose broker, in this version, can keep a history for each topic. The others are named.
 * @param {readonly BrokerContestant[]} contestants
 * @param {Map<string, Store>} stores
 */
async function withTopics(contestants, stores) {
  const able = [];
  for (const each of contestants) {
    try {
      const store = /** @type {Store} */ (stores.get(each.store));
      await (await start(each, store, newLog(), { per: 'topic' })).end();
      able.push(each);
    } catch {
      console.log(`**MISSING: a history for each topic on ${each.name}. It is left out.**\n`);
    }
  }
  return able;
}

/** Whether this version has what a contestant needs. @param {BrokerContestant} contestant */
async function isBuilt({ store, isRaw }) {
  if (isRaw || store === 'memory') {
    return true;
  }
  return import(`nestjs-streaming/${store}`).then(
    () => true,
    () => false,
  );
}

/** @param {Run} run @returns {Promise<Outcome[]>} */
export async function brokers(run) {
  const contestants = [];
  /** @type {Map<string, Store>} */
  const stores = new Map();
  try {
    for (const each of CONTESTANTS.filter((contestant) => isAsked(run, contestant))) {
      const { start: startStore, isInstalled } = STORES[each.store];
      if (!isInstalled || !(await isBuilt(each))) {
        console.log(`**MISSING: ${each.name}. It is left out.**\n`);
        continue;
      }
      contestants.push(each);
      if (!stores.has(each.store)) {
        stores.set(each.store, await startStore());
      }
    }
    const ours = contestants.filter(({ isRaw }) => !isRaw);
    const able = await withTopics(ours, stores);
    const perTopic = able.map((each) => ({ ...each, name: `${each.name}, per topic`, history: PER_TOPIC }));
    const appending = [...contestants, ...perTopic];
    /** @type {Record<string, () => Promise<Outcome | Outcome[]>>} */
    const parts = {
      appends: () => appends(run, appending, stores),
      receipts: () => receipts(run, ours, stores),
      replay: () => replay(run, ours, stores),
      starts: () => starts(run, ours, stores),
      topics: () => topics(run, able, stores),
      unwanted: () => unwanted(run, ours, able, stores),
      listeners: () => listeners(run, ours, able, stores),
    };
    const outcomes = [];
    for (const [name, measure] of Object.entries(parts)) {
      if (run.parts?.includes(name) ?? true) {
        outcomes.push(...[await measure()].flat());
      }
    }
    return outcomes.filter(({ measured }) => measured.length > 0);
  } finally {
    await Promise.all([...stores.values()].map((store) => store.stop()));
  }
}
