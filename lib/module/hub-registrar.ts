import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import type { Broker } from '../broker/broker.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { Cluster } from '../cluster/cluster.js';
import { ClusterMembers } from '../cluster/members.js';
import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import { Hub } from '../hub/hub.js';
import type { HubOptions } from '../hub/hub.options.js';
import { atMost } from '../util/at-most.js';
import { stackOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { RunRegistrar } from './run-registrar.js';

/** The broker of `StreamingModule.forRoot()`, if it has one. */
export const DEFAULT_BROKER = Symbol('nestjs-streaming:default-broker');

/** How long a broker may take to close, in milliseconds. */
const BROKER_CLOSE_TIMEOUT_MS = 5_000;

/** The number of applications in this process that use a broker. The last one closes it. */
const applications = new WeakMap<Broker, number>();

/** The hubs and runs of one application, in the order in which they are registered, and the brokers that they use. */
export class HubRegistrar implements OnApplicationShutdown {
  readonly runs: RunRegistrar;
  private readonly logger = new Logger('Hub');
  /** The hubs by name. `undefined` while a hub is being opened. */
  private readonly hubs = new Map<string, Hub | undefined>();
  private readonly brokers = new Set<Broker>();
  /** The other processes that share a broker, by the broker. A broker in memory has none. */
  private readonly clusters = new Map<Broker, Promise<Cluster>>();
  /** The members of the hubs of each broker. */
  private readonly members = new Map<Broker, ClusterMembers>();
  private closed: Promise<void> | undefined;

  constructor(private readonly defaultBroker: Broker = new MemoryBroker()) {
    this.use(defaultBroker);
    this.runs = new RunRegistrar((broker = defaultBroker) => {
      this.use(broker);
      return broker;
    });
  }

  /**
   * Opens a hub. Resolves when it receives events.
   * @throws {StreamError} `duplicate-hub` if the name is registered already. An error of the broker is passed on
   */
  async open(options: HubOptions): Promise<Hub> {
    const { name, broker = this.defaultBroker } = options;
    if (this.hubs.has(name)) {
      throw duplicateHub(name);
    }
    this.hubs.set(name, undefined);
    this.use(broker);
    const [hub, cluster] = await Promise.all([Hub.open(options, broker, this.warn), this.clusterOf(broker)]);
    if (cluster) {
      hub.countElsewhere = (topic) => cluster.countElsewhere(name, topic);
    }
    hub.localMembers.directory = this.membersOf(broker).of(name);
    this.hubs.set(name, hub);
    return hub;
  }

  /** Makes the streams of this application closeable by other processes, and theirs by this one. */
  async connect(registry: StreamRegistry): Promise<void> {
    const cluster = await this.clusterOf(this.defaultBroker);
    if (cluster) {
      cluster.closeStreams = (labels, code, age) => registry.closeLabelled(labels, code, age).length;
      registry.closeElsewhere = (labels, code) => cluster.closeElsewhere(labels, code);
    }
  }

  *[Symbol.iterator](): Iterator<Hub> {
    for (const hub of this.hubs.values()) {
      if (hub) {
        yield hub;
      }
    }
  }

  /** Returns the brokers that are used, with the names of their hubs. */
  brokersInUse(): ReadonlyMap<Broker, readonly string[]> {
    const hubsOf = (broker: Broker): string[] =>
      [...this]
        .filter((hub) => hub.uses(broker))
        .map(({ name }) => name)
        .sort();
    return new Map([...this.brokers].map((broker) => [broker, hubsOf(broker)]));
  }

  /** Resolves when the published events are delivered to all live subscribers, or wait in their backlogs. */
  settled(): Promise<unknown> {
    return Promise.all([...this].map((hub) => hub.settled()));
  }

  /** Ends all subscriptions. The hubs can still publish, to other processes, until they are closed. */
  endSubscriptions(): void {
    for (const hub of this) {
      void hub.endSubscriptions();
    }
  }

  onApplicationShutdown(): Promise<void> {
    this.closed ??= this.close();
    return this.closed;
  }

  private async close(): Promise<void> {
    const clusters = (await Promise.allSettled(this.clusters.values())).flatMap((joined) =>
      joined.status === 'fulfilled' ? [joined.value] : [],
    );
    await this.runs.close();
    // The hubs still publish which members have left.
    const members = [...this.members.values()];
    await this.closeAll('list of members', members, (each) => each.leave());
    await Promise.all([
      this.closeAll('hub', [...this], (hub) => hub.close()),
      this.closeAll('roster', clusters, (cluster) => cluster.leave()),
      this.closeAll('list of members', members, (each) => each.close()),
    ]);
    await this.closeAll('broker', [...this.brokers].filter(release), (broker) => this.closeBroker(broker));
  }

  /** Closes all items, even if one of them fails. */
  private async closeAll<T>(what: string, items: readonly T[], close: (item: T) => Promise<void>): Promise<void> {
    for (const outcome of await Promise.allSettled(items.map(close))) {
      if (outcome.status === 'rejected') {
        this.logger.error(`A ${what} could not be closed`, stackOf(outcome.reason));
      }
    }
  }

  private async closeBroker(broker: Broker): Promise<void> {
    if (!(await atMost(BROKER_CLOSE_TIMEOUT_MS, broker.close()))) {
      const { name } = broker.constructor;
      this.logger.warn(`${name} was not closed in time: its close() took more than ${BROKER_CLOSE_TIMEOUT_MS} ms`);
    }
  }

  private readonly warn = (message: string, error?: unknown): void => {
    this.logger.warn(error === undefined ? message : `${message}: ${stackOf(error)}`);
  };

  private clusterOf(broker: Broker): Promise<Cluster> | undefined {
    if (broker instanceof MemoryBroker) {
      return undefined;
    }
    const known = this.clusters.get(broker);
    if (known) {
      return known;
    }
    const joined = Cluster.join(broker, this.hubsOf(broker), this.warn);
    this.clusters.set(broker, joined);
    return joined;
  }

  private membersOf(broker: Broker): ClusterMembers {
    const known = this.members.get(broker) ?? new ClusterMembers(broker, this.hubsOf(broker), this.warn);
    this.members.set(broker, known);
    return known;
  }

  /** Returns a function that finds the hubs of a broker by their names. */
  private hubsOf(broker: Broker): (name: string) => Hub | undefined {
    return (name) => {
      const hub = this.hubs.get(name);
      return hub?.uses(broker) ? hub : undefined;
    };
  }

  private use(broker: Broker): void {
    if (!this.brokers.has(broker)) {
      this.brokers.add(broker);
      applications.set(broker, (applications.get(broker) ?? 0) + 1);
    }
  }
}

/** The registrars of the applications in this process, by the modules of the application. */
const registrars = new WeakMap<object, HubRegistrar>();

/** Returns the registrar of an application. Some versions of Nest 11 create a module again for a module that is loaded later. */
export function registrarOf(modules: object, defaultBroker: Broker | undefined): HubRegistrar {
  const registrar = registrars.get(modules) ?? new HubRegistrar(defaultBroker);
  registrars.set(modules, registrar);
  return registrar;
}

/** Returns the error for a name that is registered twice. */
export function duplicateHub(name: string): StreamError {
  return new StreamError(
    'duplicate-hub',
    `The hub "${name}" is registered twice: register it once, and inject it wherever it is needed`,
  );
}

/** Counts one application less for a broker. Returns whether no other application uses it. */
function release(broker: Broker): boolean {
  const others = (applications.get(broker) ?? 1) - 1;
  applications.set(broker, others);
  return others === 0;
}
