import { AssertionError } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { Broker, BrokerRecord, BrokerRetention, BrokerTail } from '../../broker/broker.js';
import { Hub } from '../../hub/hub.js';
import type { HubOptions } from '../../hub/hub.options.js';
import type { BrokerContractSetup } from './contract-setup.js';

/** What one case does, and its name. */
export type Case = readonly [name: string, run: (context: ContractContext) => Promise<void>];

/** Enough for whatever a case appends, and longer than it runs. */
const KEEP_ALL: BrokerRetention = { limit: 10_000, ttl: 3_600_000 };

/** What a case has at hand. All of it is closed when the case is over. */
export class ContractContext {
  /** What hubs had to say. */
  readonly warnings: string[] = [];
  private readonly brokers: Broker[] = [];
  private readonly hubs: Hub[] = [];

  constructor(readonly setup: BrokerContractSetup) {}

  /** A name for a log that nobody has used before. */
  newLog(): string {
    return `contract-${randomUUID()}`;
  }

  async broker(): Promise<Broker> {
    return this.keep(await this.setup.create());
  }

  /** A broker with a log that is open. */
  async openLog(retention: Partial<BrokerRetention> = {}): Promise<{ broker: Broker; log: string }> {
    const broker = await this.broker();
    const log = this.newLog();
    await broker.open(log, { ...KEEP_ALL, ...retention });
    return { broker, log };
  }

  /** So many clients of one log: of one store if the broker has such, else one for all. */
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

  /** Another client of the same store, if there may be one. */
  async another(broker: Broker): Promise<Broker> {
    return this.setup.shared ? this.broker() : broker;
  }

  /** The broker there is after the store was restarted without its data. */
  async restarted(restart: () => Broker | Promise<Broker>): Promise<Broker> {
    await this.end();
    return this.keep(await restart());
  }

  /** Listens to a log. */
  async recordTail(broker: Broker, log: string): Promise<TailRecorder> {
    const recorder = new TailRecorder(this);
    await recorder.begin(broker, log);
    return recorder;
  }

  async hub(broker: Broker, options: HubOptions): Promise<Hub> {
    const hub = await Hub.open(options, broker, (message) => this.warnings.push(message));
    this.hubs.push(hub);
    return hub;
  }

  /** Waits for what has to happen. */
  async within<R>(promise: Promise<R>, what: string): Promise<R> {
    const { timeout = 5_000 } = this.setup;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new AssertionError({ message: `${what}: not within ${timeout} ms` });
      timer = setTimeout(() => reject(error), timeout);
    });
    try {
      return await Promise.race([promise, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks until it is so. */
  async until(what: string, isSo: () => Promise<boolean>): Promise<void> {
    const end = Date.now() + (this.setup.timeout ?? 5_000);
    while (!(await isSo())) {
      if (Date.now() > end) {
        throw new AssertionError({ message: `${what}: not so after ${this.setup.timeout ?? 5_000} ms` });
      }
      await pause(5);
    }
  }

  /** Waits for what must not happen. */
  settle(): Promise<void> {
    return pause(this.setup.settle ?? 20);
  }

  /** Closes everything. */
  async end(): Promise<void> {
    await Promise.all(this.hubs.splice(0).map((hub) => hub.close()));
    await Promise.all(this.brokers.splice(0).map((broker) => broker.close()));
  }

  private keep(broker: Broker): Broker {
    this.brokers.push(broker);
    return broker;
  }
}

/** What a listener of a log was told. */
export class TailRecorder {
  readonly records: BrokerRecord[] = [];
  private tail: BrokerTail | undefined;
  private wake: (() => void) | undefined;

  constructor(private readonly context: ContractContext) {}

  /** Where it began. */
  get start(): BrokerTail {
    if (!this.tail) {
      throw new Error('The recorder has not begun');
    }
    return this.tail;
  }

  async begin(broker: Broker, log: string): Promise<void> {
    this.tail = await broker.tail(log, (records) => {
      this.records.push(...records);
      this.wake?.();
    });
  }

  /** Waits until so many were told. */
  async count(count: number): Promise<readonly BrokerRecord[]> {
    const there = new Promise<void>((resolve) => {
      this.wake = () => this.records.length >= count && resolve();
      this.wake();
    });
    await this.context.within(there, `A tail is told of ${count} records`).catch((error: Error) => {
      error.message += ` (was told of ${this.records.length})`;
      throw error;
    });
    return this.records;
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Lets the event loop go round. */
export async function turns(count = 1): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
