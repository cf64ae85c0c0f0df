import { AssertionError } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { Broker, BrokerRetention } from '../../broker/broker.js';
import { Hub } from '../../hub/hub.js';
import type { HubOptions } from '../../hub/hub.options.js';
import type { BrokerContractSetup } from './contract-setup.js';
import { TailRecorder } from './tail-recorder.js';

/** The name of a case, and the function that runs it. */
export type Case = readonly [name: string, run: (context: ContractContext) => Promise<void>];

/** The functions of the setup that let the store stop to answer, and answer again. */
export type Freezing = Required<Pick<BrokerContractSetup, 'freeze' | 'thaw'>>;

/** Keeps every record that a case appends, for longer than the case runs. */
const KEEP_ALL: BrokerRetention = { limit: 10_000, ttl: 3_600_000 };

/** Creates brokers and hubs for one case, and closes all of them at the end of the case. */
export class ContractContext {
  /** The warnings that the hubs of the case logged. */
  readonly warnings: string[] = [];
  private readonly brokers: Broker[] = [];
  private readonly hubs: Hub[] = [];
  private readonly others: { close(): Promise<void> }[] = [];

  constructor(readonly setup: BrokerContractSetup) {}

  /** Returns a name for a log that was never used before. */
  newLog(): string {
    return `contract-${randomUUID()}`;
  }

  async broker(): Promise<Broker> {
    return this.keep(await this.setup.create());
  }

  /** Creates a broker with an open log. */
  async openLog(retention: Partial<BrokerRetention> = {}): Promise<{ broker: Broker; log: string }> {
    const broker = await this.broker();
    const log = this.newLog();
    await broker.open(log, { ...KEEP_ALL, ...retention });
    return { broker, log };
  }

  /** Returns `count` clients of one log. They are different brokers if brokers share a store; otherwise, all are the same broker. */
  async clients(count: number): Promise<{ clients: readonly Broker[]; log: string }> {
    const { broker, log } = await this.openLog();
    const clients = [broker];
    while (clients.length < count) {
      clients.push(await this.another(broker));
    }
    for (const other of new Set(clients.slice(1).filter((each) => each !== broker))) {
      await other.open(log, KEEP_ALL);
    }
    return { clients, log };
  }

  /** Returns another client of the same store, or the same broker if brokers share no store. */
  async another(broker: Broker): Promise<Broker> {
    return this.setup.shared ? this.broker() : broker;
  }

  /** Closes everything, and returns a broker of the store after a restart in which it lost its records. */
  async restarted(restart: () => Broker | Promise<Broker>): Promise<Broker> {
    await this.end();
    return this.keep(await restart());
  }

  /** Tails a log, and records everything that the listener receives. */
  async recordTail(broker: Broker, log: string): Promise<TailRecorder> {
    const recorder = new TailRecorder((promise, what) => this.within(promise, what));
    await recorder.begin(broker, log);
    return recorder;
  }

  async hub(broker: Broker, options: HubOptions): Promise<Hub> {
    const hub = await Hub.open(options, broker, (message) => this.warnings.push(message));
    this.hubs.push(hub);
    return hub;
  }

  /** Closes something at the end of the case, before the brokers. */
  closeAtEnd(other: { close(): Promise<void> }): void {
    this.others.push(other);
  }

  /**
   * Waits for a promise.
   *
   * @param what the expectation, as a sentence
   * @throws {AssertionError} after `timeout` milliseconds
   */
  async within<R>(promise: Promise<R>, what: string): Promise<R> {
    const { timeout = 5_000 } = this.setup;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new AssertionError({ message: `${what}: this did not happen within ${timeout} ms` });
      timer = setTimeout(() => reject(error), timeout);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Polls until a condition holds.
   *
   * @param what the condition, as a sentence
   * @throws {AssertionError} after `timeout` milliseconds
   */
  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + (this.setup.timeout ?? 5_000);
    while (!(await holds())) {
      if (Date.now() > end) {
        throw new AssertionError({ message: `${what}: this was not the case after ${this.setup.timeout ?? 5_000} ms` });
      }
      await pause(5);
    }
  }

  /** Waits for `settle` milliseconds, before it is checked that something did not happen. */
  settle(): Promise<void> {
    return pause(this.setup.settle ?? 20);
  }

  /** Calls a function while the store does not answer. */
  async whileFrozen<R>({ freeze, thaw }: Freezing, run: () => Promise<R>): Promise<R> {
    await freeze();
    try {
      return await run();
    } finally {
      await thaw();
    }
  }

  /** Closes everything. */
  async end(): Promise<void> {
    await Promise.all([...this.hubs.splice(0), ...this.others.splice(0)].map((each) => each.close()));
    await Promise.all(this.brokers.splice(0).map((broker) => broker.close()));
  }

  private keep(broker: Broker): Broker {
    this.brokers.push(broker);
    return broker;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Waits for `count` turns of the event loop. */
export async function turns(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
