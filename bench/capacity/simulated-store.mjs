import { MemoryBroker, StreamError } from 'nestjs-streaming';

/**
 * A store in this process, and what it would be on another machine: every command takes a time on the network, and the store executes one after
 * the other. What it stores, and what it answers, is that of a `MemoryBroker`.
 */

/** The time of one way on the network, in milliseconds. */
export const ONE_WAY_MS = 0.5;
/** What a command, and a record of its answer, take of the store's one core, in microseconds. */
export const COST = { command: 20, record: 1 };
/** A process connects again at random within this time after the store is back, in milliseconds. */
export const RECONNECT_MS = 500;
/** The records that a tail reads at once after a lost connection. */
const PAGE = 512;

export const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class SimulatedStore {
  /** What is stored. It is replaced if the store loses it. */
  memory = new MemoryBroker();
  isAway = false;
  /** What the store was asked for. */
  figures = { commands: 0, reads: 0, records: 0, busyMs: 0 };
  /** @type {Set<SimulatedBroker>} */
  brokers = new Set();
  #busyUntil = 0;

  /**
   * Executes a command, for a broker or for a client.
   * @template R
   * @param {(memory: any) => R | Promise<R>} command
   * @param {(answer: R) => number | undefined} [records] how many records a read has returned. Commands without it are no reads
   * @returns {Promise<R>}
   */
  async execute(command, records) {
    await pause(ONE_WAY_MS);
    if (this.isAway) {
      throw new StreamError('broker-unavailable', 'The simulated store is away', { statusCode: 503 });
    }
    const answer = await command(this.memory);
    const count = records?.(answer) ?? 0;
    const cost = (COST.command + COST.record * count) / 1_000;
    this.figures.commands++;
    this.figures.reads += records ? 1 : 0;
    this.figures.records += count;
    this.figures.busyMs += cost;
    const now = performance.now();
    this.#busyUntil = Math.max(now, this.#busyUntil) + cost;
    await pause(this.#busyUntil - now + ONE_WAY_MS);
    return answer;
  }

  /** All connections are lost, and the store is away for some time. Resolves when every process is connected again. */
  async failOver(/** @type {number} */ ms, /** @type {boolean} */ isLost) {
    this.isAway = true;
    for (const broker of this.brokers) {
      broker.cut();
    }
    await pause(ms);
    if (isLost) {
      this.memory = new MemoryBroker();
    }
    this.isAway = false;
    await Promise.all([...this.brokers].map((broker) => broker.reconnect()));
  }
}

/** The broker of one process. Its tails continue where they were after a lost connection, as those of `RedisBroker` do. */
export class SimulatedBroker {
  onceWindow = 120_000;
  #store;
  /** @type {Map<string, (memory: any) => Promise<void>>} */
  #opened = new Map();
  /** @type {Set<LogTail | TopicTail>} */
  #tails = new Set();

  /** @param {SimulatedStore} store */
  constructor(store) {
    this.#store = store;
    store.brokers.add(this);
  }

  /** @param {string} log @param {any} retention */
  open(log, retention) {
    return this.#open(log, (memory) => memory.open(log, retention));
  }

  /** @param {string} log @param {any} retention */
  openTopics(log, retention) {
    return this.#open(log, (memory) => memory.openTopics(log, retention));
  }

  /** @param {string} log @param {any} entry */
  append(log, entry) {
    return this.#store.execute((memory) => memory.append(log, entry));
  }

  /** @param {string} log @param {import('nestjs-streaming').BrokerListener} listener */
  tail(log, listener) {
    return this.#begin(new LogTail(this.#store, log, listener));
  }

  /** @param {string} log @param {any} listener */
  tailTopics(log, listener) {
    return this.#begin(new TopicTail(this.#store, log, listener));
  }

  /** @param {string} log @param {number} after @param {number} count */
  read(log, after, count) {
    return this.#store.execute(
      (memory) => memory.read(log, after, count),
      (/** @type {any} */ { length }) => length,
    );
  }

  /** @param {string} log @param {readonly any[]} requests @param {number} count */
  readTopics(log, requests, count) {
    return this.#store.execute(
      (memory) => memory.readTopics(log, requests, count),
      ({ topics }) =>
        topics.reduce((/** @type {number} */ sum, /** @type {any} */ { records }) => sum + records.length, 0),
    );
  }

  async close() {
    this.#store.brokers.delete(this);
    this.cut();
  }

  /** Loses the connection. */
  cut() {
    for (const tail of this.#tails) {
      tail.cut();
    }
  }

  async reconnect() {
    await pause(Math.random() * RECONNECT_MS);
    for (const open of this.#opened.values()) {
      await this.#store.execute(open);
    }
    for (const tail of this.#tails) {
      await tail.attach();
    }
  }

  /** @param {string} log @param {(memory: any) => Promise<void>} open */
  async #open(log, open) {
    await this.#store.execute(open);
    this.#opened.set(log, open);
  }

  /** @template {LogTail | TopicTail} T @param {T} tail @returns {Promise<T>} */
  async #begin(tail) {
    await tail.attach();
    this.#tails.add(tail);
    tail.onStopped = () => this.#tails.delete(tail);
    return tail;
  }
}

/** What is on the way to a process, in order. What is on the way when the connection is lost does not arrive. */
class Wire {
  /** @type {(() => void)[]} */
  #waiting = [];
  /** @type {NodeJS.Timeout | undefined} */
  #timer;

  /** @param {() => void} deliver */
  send(deliver) {
    this.#waiting.push(deliver);
    this.#timer ??= setTimeout(() => this.deliver(), ONE_WAY_MS);
  }

  deliver() {
    for (const deliver of this.cut()) {
      deliver();
    }
  }

  /** Returns what does not arrive. */
  cut() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return this.#waiting.splice(0);
  }
}

class LogTail {
  epoch = '';
  offset = 0;
  /** @type {any} */
  #inner;
  #wire = new Wire();
  /** @type {() => unknown} */
  onStopped = () => undefined;

  /** @param {SimulatedStore} store @param {string} log @param {import('nestjs-streaming').BrokerListener} listener */
  constructor(store, log, listener) {
    this.store = store;
    this.log = log;
    this.listener = listener;
  }

  /** Begins, or continues after the last record that was delivered. */
  async attach() {
    const isNew = this.epoch === '';
    const inner = await this.store.execute((memory) =>
      memory.tail(this.log, (/** @type {any} */ records) => this.#wire.send(() => this.#deliver(records))),
    );
    this.#inner = inner;
    const { epoch, offset } = inner;
    if (isNew) {
      this.#reach(epoch, offset);
    } else if (epoch !== this.epoch) {
      this.#reach(epoch, offset);
      this.listener([], { epoch, offset });
    }
    while (!isNew && this.offset < offset) {
      const records = await this.store.execute(
        (memory) => memory.read(this.log, this.offset, PAGE),
        ({ length }) => length,
      );
      this.#deliver(records);
    }
  }

  /** @param {readonly any[]} records */
  #deliver(records) {
    const next = records.filter(({ epoch, offset }) => epoch === this.epoch && offset > this.offset);
    if (next.length > 0) {
      this.#reach(this.epoch, next[next.length - 1].offset);
      this.listener(next);
    }
  }

  /** @param {string} epoch @param {number} offset */
  #reach(epoch, offset) {
    this.epoch = epoch;
    this.offset = offset;
  }

  cut() {
    this.#inner?.stop();
    this.#wire.cut();
  }

  stop() {
    this.cut();
    this.onStopped();
  }
}

class TopicTail {
  epoch = '';
  offset = 0;
  /** @type {Set<string>} */
  #topics = new Set();
  /** @type {any} */
  #inner;
  #wire = new Wire();
  /** @type {() => unknown} */
  onStopped = () => undefined;

  /** @param {SimulatedStore} store @param {string} log @param {any} listener */
  constructor(store, log, listener) {
    this.store = store;
    this.log = log;
    this.listener = listener;
  }

  async attach() {
    const isNew = this.epoch === '';
    const listener = Object.fromEntries(
      ['onRecords', 'onReached', 'onMissed'].map((name) => [
        name,
        (/** @type {any} */ what) => this.#wire.send(() => this.listener[name](what)),
      ]),
    );
    this.#inner = await this.store.execute((memory) => memory.tailTopics(this.log, listener));
    if (isNew) {
      ({ epoch: this.epoch, offset: this.offset } = this.#inner);
    } else {
      this.listener.onMissed(await this.add([...this.#topics]));
    }
  }

  /** @param {readonly string[]} topics */
  async add(topics) {
    const position = await this.store.execute(() => this.#inner.add(topics));
    for (const topic of topics) {
      this.#topics.add(topic);
    }
    // What precedes the position has left the store, and arrives before the answer.
    this.#wire.deliver();
    return position;
  }

  /** @param {readonly string[]} topics */
  delete(topics) {
    for (const topic of topics) {
      this.#topics.delete(topic);
    }
    this.#inner.delete(topics);
  }

  cut() {
    this.#inner?.stop();
    this.#wire.cut();
  }

  stop() {
    this.cut();
    this.onStopped();
  }
}
