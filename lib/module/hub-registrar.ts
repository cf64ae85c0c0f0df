import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import {
  OPTIONAL_DEPS_METADATA,
  OPTIONAL_PROPERTY_DEPS_METADATA,
  PROPERTY_DEPS_METADATA,
  SELF_DECLARED_DEPS_METADATA,
} from '@nestjs/common/constants.js';
import type { ModulesContainer } from '@nestjs/core';
import type { Broker } from '../broker/broker.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { StreamError } from '../errors.js';
import { Hub } from '../hub/hub.js';
import type { HubOptions } from '../hub/hub.options.js';
import { atMost } from '../util/at-most.js';
import { stackOf } from '../util/error-text.js';
import type { StreamingRuntime } from './streaming.runtime.js';

/** What a `registerHub()` contributes, as the provider of this token. */
export const HUB_DEFINITIONS = Symbol('nestjs-streaming:hub-definitions');

/** How long a broker may take to close, in milliseconds. */
const BROKER_CLOSE_TIMEOUT_MS = 5_000;

/** How many applications of this process use a broker: the last of them closes it. */
const users = new WeakMap<Broker, number>();

/** Anything Nest makes: a provider, a controller, or a guard and its like. */
interface Wrapper {
  readonly name: unknown;
  readonly token: unknown;
  readonly metatype: unknown;
  readonly instance: unknown;
  readonly inject?: readonly unknown[] | null;
}

/** The hubs of an application, whichever of its modules has registered them. */
export class HubDirectory implements OnApplicationShutdown {
  private readonly logger = new Logger('Hub');
  private readonly definitions = new Map<string, HubOptions>();
  private readonly hubs: Hub[] = [];
  private readonly brokers = new Set<Broker>();
  private readonly wrappers: readonly Wrapper[];
  private readonly broker: Broker;

  /** @param nameOf the name of the hub a token is for, if it is one */
  constructor(
    modules: ModulesContainer,
    runtime: StreamingRuntime | undefined,
    private readonly nameOf: (token: unknown) => string | undefined,
  ) {
    // Of every module, as all have been scanned before anything is made.
    this.wrappers = [...modules.values()].flatMap(({ providers, controllers, injectables }) => [
      ...providers.values(),
      ...controllers.values(),
      ...injectables.values(),
    ]);
    for (const { token, instance } of this.wrappers) {
      for (const options of token === HUB_DEFINITIONS ? (instance as readonly HubOptions[]) : []) {
        this.define(options);
      }
    }
    this.refuseUnknown();
    this.broker = runtime?.options.broker ?? new MemoryBroker();
    this.use(this.broker);
    if (runtime) {
      runtime.hubs = this;
    }
  }

  /**
   * The hub of a name, listening.
   * @param elsewhere whether another application of this process has one: then it is asked for also where nobody needs it
   */
  async open(name: string, elsewhere: boolean): Promise<Hub> {
    const options = this.definitions.get(name);
    if (!options) {
      if (elsewhere) {
        return this.placeholder(name);
      }
      throw this.unknown(name, 'Something injects');
    }
    const broker = options.broker ?? this.broker;
    this.use(broker);
    const hub = await Hub.open(options, broker, (message, error) =>
      this.logger.warn(error === undefined ? message : `${message}: ${stackOf(error)}`),
    );
    this.hubs.push(hub);
    return hub;
  }

  [Symbol.iterator](): Iterator<Hub> {
    return this.hubs[Symbol.iterator]();
  }

  settled(): Promise<unknown> {
    return Promise.all(this.hubs.map((hub) => hub.settled()));
  }

  endSubscriptions(): void {
    for (const hub of this.hubs) {
      void hub.endSubscriptions();
    }
  }

  async onApplicationShutdown(): Promise<void> {
    await this.all('hub', this.hubs, (hub) => hub.close());
    await this.all(
      'broker',
      [...this.brokers].filter((broker) => release(broker)),
      (broker) => this.closeBroker(broker),
    );
  }

  /** Closes all, whatever becomes of one. */
  private async all<T>(what: string, closing: readonly T[], close: (each: T) => Promise<void>): Promise<void> {
    for (const outcome of await Promise.allSettled(closing.map(close))) {
      if (outcome.status === 'rejected') {
        this.logger.error(`A ${what} could not be closed`, stackOf(outcome.reason));
      }
    }
  }

  private async closeBroker(broker: Broker): Promise<void> {
    if (!(await atMost(BROKER_CLOSE_TIMEOUT_MS, broker.close()))) {
      const { name } = broker.constructor;
      this.logger.warn(`${name} was given up: its close() took more than ${BROKER_CLOSE_TIMEOUT_MS} ms`);
    }
  }

  private use(broker: Broker): void {
    if (!this.brokers.has(broker)) {
      this.brokers.add(broker);
      users.set(broker, (users.get(broker) ?? 0) + 1);
    }
  }

  private define(options: HubOptions): void {
    if (this.definitions.has(options.name)) {
      throw new StreamError(
        'duplicate-hub',
        `The hub "${options.name}" is registered twice: register it once, and inject it wherever it is needed`,
      );
    }
    this.definitions.set(options.name, options);
  }

  /** Refuses what is seen to inject an unknown hub, also when it is made later. */
  private refuseUnknown(): void {
    for (const wrapper of this.wrappers) {
      for (const token of tokensInjectedInto(wrapper)) {
        const name = this.nameOf(token);
        if (name !== undefined && !this.definitions.has(name)) {
          throw this.unknown(name, `${String(wrapper.name)} injects`);
        }
      }
    }
  }

  /** In place of a hub that only another application of this process has. Nobody should have it: whoever does cannot use it. */
  private placeholder(name: string): Hub {
    const refuse = (): never => {
      throw this.unknown(name, 'Something uses');
    };
    const members = ['name', 'presence', 'publish', 'subscribe', 'size', 'topics', 'close'];
    return Object.defineProperties({}, Object.fromEntries(members.map((key) => [key, { get: refuse }]))) as Hub;
  }

  private unknown(name: string, who: string): StreamError {
    const known = [...this.definitions.keys()].map((each) => `"${each}"`).join(', ');
    return new StreamError(
      'unknown-hub',
      `${who} the hub "${name}", which is not registered. Registered with StreamingModule.registerHub(): ${known || 'none'}`,
    );
  }
}

/** Whether nobody else uses it. */
function release(broker: Broker): boolean {
  const others = (users.get(broker) ?? 1) - 1;
  users.set(broker, others);
  return others === 0;
}

/** What has to be there for it to be made. */
function tokensInjectedInto({ inject, metatype }: Wrapper): readonly unknown[] {
  if (inject) {
    return (inject as readonly { token?: unknown; optional?: boolean }[])
      .filter((each) => each?.optional !== true)
      .map((each) => each?.token ?? each);
  }
  if (typeof metatype !== 'function') {
    return [];
  }
  const noted = <T>(key: string): T[] => (Reflect.getMetadata(key, metatype) as T[] | undefined) ?? [];
  const optional = new Set([...noted(OPTIONAL_DEPS_METADATA), ...noted(OPTIONAL_PROPERTY_DEPS_METADATA)]);
  return [
    ...noted<{ index: number; param: unknown }>(SELF_DECLARED_DEPS_METADATA)
      .filter(({ index }) => !optional.has(index))
      .map(({ param }) => param),
    ...noted<{ key: string | symbol; type: unknown }>(PROPERTY_DEPS_METADATA)
      .filter(({ key }) => !optional.has(key))
      .map(({ type }) => type),
  ];
}
