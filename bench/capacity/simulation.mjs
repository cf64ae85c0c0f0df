import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Hub, MemoryBroker } from 'nestjs-streaming';
import { quantile } from '../statistics.mjs';
import { pause, SimulatedBroker, SimulatedStore } from './simulated-store.mjs';

/**
 * Many processes, and what happens when all restart at once or when their store fails. The hubs are real, as are their subscriptions: each process is a
 * hub of its own in this one process. Simulated are the store, the network and the clients, which are subscriptions without a connection.
 */

/** The default of `shutdown.retry`: when clients connect again, in milliseconds. */
const RETRY_MS = { min: 1_500, max: 4_500 };
/** How long a process needs to start, at random, in milliseconds. */
const START_MS = { min: 1_000, max: 2_000 };
/** The pause of a client that finds no process. */
const REFUSED_MS = 1_000;
const AWAY_MS = 5_000;
const TICK_MS = 20;
/** Ends a simulation that would not end. */
const LONGEST_MS = 90_000;

/** @typedef {{ processes: number, clients: number, topics: number, perSecond: number, per: 'log' | 'topic' }} Size */

const between = (/** @type {{ min: number, max: number }} */ { min, max }) => min + Math.random() * (max - min);

/** One client. It checks that it receives every event of its topic once and in order, or a reset. */
class Client {
  /** @type {string | undefined} */
  #id;
  #next = 0;
  /** The event that was the newest one when the client connected again, and when that was. @type {{ number: number, since: number } | undefined} */
  #missing;

  /** @param {World} world @param {string} topic */
  constructor(world, topic) {
    this.world = world;
    this.topic = topic;
  }

  get isWaiting() {
    return this.#missing !== undefined;
  }

  async run() {
    const { world } = this;
    while (!world.isOver) {
      const hub = world.anyHub();
      if (hub) {
        await this.#read(hub).catch(() => undefined);
        if (!world.isOver) {
          world.away++;
          await pause(between(RETRY_MS));
          world.away--;
        }
      } else {
        world.figures.refused++;
        await pause(REFUSED_MS);
      }
    }
  }

  /** @param {Hub} hub */
  async #read(hub) {
    const { world, topic } = this;
    if (this.#id !== undefined) {
      const now = performance.now();
      world.reconnects.push(now);
      const newest = /** @type {number} */ (world.published.get(topic));
      this.#missing = newest >= this.#next ? { number: newest, since: now } : undefined;
    }
    const subscription = hub.subscribe({ topic, ...(this.#id === undefined ? { last: 1 } : { after: this.#id }) });
    for await (const { id, type, data } of subscription) {
      this.#id = id;
      if (type === 'reset') {
        world.figures.resets++;
        this.#next = -1;
      } else if (type === undefined) {
        this.#receive(/** @type {{ number: number }} */ (data).number);
      }
    }
  }

  /** @param {number} number */
  #receive(number) {
    const { figures, caughtUp, lastAt } = this.world;
    const expected = this.#next;
    figures.received++;
    if (expected > 0 && number !== expected) {
      figures[number < expected ? 'duplicates' : 'lost'] += Math.abs(number - expected);
    }
    this.#next = number + 1;
    if (this.#missing && number >= this.#missing.number) {
      const now = performance.now();
      caughtUp.push(now - this.#missing.since);
      lastAt.caughtUp = now;
      this.#missing = undefined;
    }
  }
}

/** The processes, the clients, and who publishes. */
class World {
  store = new SimulatedStore();
  /** @type {(Hub | undefined)[]} */
  hubs = [];
  /** @type {Client[]} */
  clients = [];
  /** The number of the newest event of each topic. @type {Map<string, number>} */
  published = new Map();
  isOver = false;
  /** The clients without a connection. */
  away = 0;
  figures = { received: 0, resets: 0, lost: 0, duplicates: 0, refused: 0 };
  /** When a client has connected again. @type {number[]} */
  reconnects = [];
  /** How long a client has waited for what it had missed. @type {number[]} */
  caughtUp = [];
  lastAt = { caughtUp: 0 };

  /** @param {Size} size */
  constructor(size) {
    this.size = size;
    const limit = size.per === 'log' ? 10_000 : 100;
    this.history = { limit, ttl: 300_000, ...(size.per === 'topic' && { per: /** @type {const} */ ('topic') }) };
    this.topics = Array.from({ length: size.topics }, (_, i) => `topic ${i}`);
  }

  /** A process that is up, as a proxy finds one. */
  anyHub() {
    const up = this.hubs.filter((hub) => hub !== undefined);
    return up[Math.floor(Math.random() * up.length)];
  }

  /** @param {'publisher'} [role] */
  async startProcess(role) {
    const broker = new SimulatedBroker(this.store);
    const hub = await Hub.open(
      { name: 'orders', history: this.history, role },
      /** @type {any} */ (broker),
      () => undefined,
    );
    return { hub, broker };
  }

  /** @param {Hub} publisher @param {string} topic */
  async publish(publisher, topic) {
    const number = (this.published.get(topic) ?? 0) + 1;
    await publisher.publish({ number, text: 'x'.repeat(150) }, { topic });
    this.published.set(topic, number);
  }

  /** Publishes at the rate, to one topic after the other, until it is over. While the store is away, nothing is published. */
  async publishAll(/** @type {Hub} */ publisher) {
    const began = performance.now();
    let count = 0;
    while (!this.isOver) {
      await pause(TICK_MS);
      const due = Math.floor(((performance.now() - began) * this.size.perSecond) / 1_000);
      const some = [];
      for (; count < due; count++) {
        const topic = this.topics[count % this.topics.length];
        some.push(this.store.isAway ? undefined : this.publish(publisher, topic).catch(() => undefined));
      }
      await Promise.all(some);
    }
  }

  async begin() {
    const { hub } = await this.startProcess('publisher');
    await Promise.all(this.topics.map((topic) => this.publish(hub, topic)));
    for (let i = 0; i < this.size.processes; i++) {
      const process = await this.startProcess();
      this.hubs.push(process.hub);
      this.#brokers.push(process.broker);
    }
    this.clients = Array.from(
      { length: this.size.clients },
      (_, i) => new Client(this, this.topics[i % this.topics.length]),
    );
    this.#running = this.clients.map((client) => client.run());
    this.#publishing = this.publishAll(hub);
    // Until every client has its first event.
    await this.until(() => this.figures.received >= this.size.clients);
    await pause(1_000);
  }

  /** @type {SimulatedBroker[]} */
  #brokers = [];
  /** @type {Promise<void>[]} */
  #running = [];
  #publishing = Promise.resolve();

  /** Ends a process as `app.close()` does, and starts it again. */
  async restart(/** @type {number} */ i) {
    const hub = this.hubs[i];
    this.hubs[i] = undefined;
    await hub?.close();
    await this.#brokers[i].close();
    await pause(between(START_MS));
    const next = await this.startProcess();
    this.#brokers[i] = next.broker;
    this.hubs[i] = next.hub;
  }

  /** @param {() => boolean} condition */
  async until(condition) {
    for (const end = performance.now() + LONGEST_MS; !condition(); ) {
      if (performance.now() > end) {
        throw new Error('The simulation takes too long');
      }
      await pause(TICK_MS);
    }
  }

  async end() {
    this.isOver = true;
    await this.#publishing;
    await Promise.all(this.hubs.map((hub) => hub?.close()));
    await Promise.all(this.#running);
  }
}

/** The highest number of moments within one second. */
function peakOf(/** @type {number[]} */ moments) {
  let peak = 0;
  for (let first = 0, last = 0; last < moments.length; last++) {
    for (; moments[last] - moments[first] > 1_000; first++);
    peak = Math.max(peak, last - first + 1);
  }
  return peak;
}

/**
 * Lets something happen to a world, and waits until all clients are back and have what they missed.
 * @param {Size} size
 * @param {(world: World) => Promise<void>} happen
 */
async function simulate(size, happen) {
  const world = new World(size);
  await world.begin();
  const { store, figures } = world;
  const before = { ...store.figures };
  const { resets } = figures;
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const began = performance.now();
  const cpu = process.cpuUsage();
  await happen(world);
  await world.until(() => world.away === 0 && !world.clients.some(({ isWaiting }) => isWaiting));
  const used = process.cpuUsage(cpu);
  const ms = performance.now() - began;
  delay.disable();
  const asked = { ...store.figures };
  // Later losses would show in the numbers of the next events.
  await pause((1_200 * size.topics) / size.perSecond);
  await world.end();
  return {
    commands: asked.commands - before.commands,
    reads: asked.reads - before.reads,
    records: asked.records - before.records,
    busyMs: asked.busyMs - before.busyMs,
    reconnects: world.reconnects.length,
    peak: peakOf(world.reconnects),
    refused: figures.refused,
    waited: world.caughtUp.length,
    p50: quantile(world.caughtUp, 0.5),
    p99: quantile(world.caughtUp, 0.99),
    allMs: world.lastAt.caughtUp === 0 ? ms : world.lastAt.caughtUp - began,
    resets: figures.resets - resets,
    lost: figures.lost,
    duplicates: figures.duplicates,
    cpuMs: (used.user + used.system) / 1_000,
    delayMs: delay.percentile(99) / 1e6,
  };
}

/** Every process is ended at the same time. @param {World} world */
async function restartAll(world) {
  await Promise.all(world.hubs.map((_, i) => world.restart(i)));
}

/** Whether this version has histories for each topic. */
export const HAS_TOPICS = 'openTopics' in MemoryBroker.prototype;

/** @type {Record<string, { title: string, happen: (world: World) => Promise<void> }>} */
export const EVENTS = {
  restart: { title: 'all processes restart at once', happen: restartAll },
  failover: { title: 'failover of the store, nothing lost', happen: ({ store }) => store.failOver(AWAY_MS, false) },
  lost: { title: 'failover of the store, all lost', happen: ({ store }) => store.failOver(AWAY_MS, true) },
};

/**
 * What the same store is asked if each client reads for itself after a restart: its reads, and how long they take.
 * @param {Size} size
 */
export async function eachForItself({ clients, perSecond, topics }) {
  const store = new SimulatedStore();
  const missed = Math.round(((RETRY_MS.min + RETRY_MS.max) / 2_000) * (perSecond / topics));
  /** @type {number[]} */
  const reconnects = [];
  /** @type {number[]} */
  const took = [];
  const began = performance.now();
  const one = async () => {
    await pause(between(RETRY_MS));
    const now = performance.now();
    reconnects.push(now);
    await store.execute(
      () => missed,
      (count) => count,
    );
    took.push(performance.now() - now);
  };
  await Promise.all(Array.from({ length: clients }, one));
  return {
    ...store.figures,
    reconnects: clients,
    peak: peakOf(reconnects),
    waited: clients,
    p50: quantile(took, 0.5),
    p99: quantile(took, 0.99),
    allMs: performance.now() - began,
  };
}

/** @param {string} event @param {Size} size */
export const simulated = (event, size) => simulate(size, EVENTS[event].happen);
