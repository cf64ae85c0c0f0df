import { Global, Logger, Module, type OnApplicationShutdown, type Provider } from '@nestjs/common';
import { PROPERTY_DEPS_METADATA, SELF_DECLARED_DEPS_METADATA } from '@nestjs/common/constants.js';
import { DiscoveryModule, DiscoveryService } from '@nestjs/core';
import type { Broker } from './broker/broker.js';
import { MemoryBroker } from './broker/memory.broker.js';
import { StreamError } from './errors.js';
import { Hub } from './hub/hub.js';
import type { HubOptions } from './hub/hub.options.js';
import { StreamingRuntime } from './streaming.runtime.js';

/** What a `registerHub()` contributes, as the provider of this token. */
export const HUB_DEFINITIONS = Symbol('nestjs-streaming:hub-definitions');

/** How Nest notes a token that was given to `@Inject()`. */
interface Injected {
  readonly param?: unknown;
  readonly type?: unknown;
}

type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

/** The hubs of an application, whichever of its modules has registered them. */
class HubDirectory implements OnApplicationShutdown {
  private readonly logger = new Logger('Hub');
  private readonly definitions = new Map<string, HubOptions>();
  private readonly hubs: Hub[] = [];
  private readonly brokers = new Set<Broker>();
  private memory: Broker | undefined;

  constructor(
    private readonly discovery: DiscoveryService,
    private readonly runtime: StreamingRuntime | undefined,
  ) {
    // Of every module, as all have been scanned before anything is made.
    for (const { token, instance } of discovery.getProviders()) {
      for (const options of token === HUB_DEFINITIONS ? (instance as readonly HubOptions[]) : []) {
        this.define(options);
      }
    }
  }

  /** The hub of a name; nothing when there is none and none is injected. */
  async open(name: string): Promise<Hub | undefined> {
    const options = this.definitions.get(name);
    if (!options) {
      this.refuseUse(name);
      return undefined;
    }
    const broker = options.broker ?? this.runtime?.options.broker ?? this.inMemory();
    this.brokers.add(broker);
    const hub = new Hub(options, broker, (message, error) =>
      this.logger.warn(error instanceof Error ? `${message}: ${error.stack}` : message),
    );
    await hub.open();
    this.hubs.push(hub);
    return hub;
  }

  async onApplicationShutdown(): Promise<void> {
    await Promise.all(this.hubs.map((hub) => hub.close()));
    await Promise.all([...this.brokers].map((broker) => broker.close()));
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

  private inMemory(): Broker {
    this.memory ??= new MemoryBroker();
    return this.memory;
  }

  private refuseUse(name: string): void {
    const token = getHubToken(name);
    const user = [...this.discovery.getProviders(), ...this.discovery.getControllers()].find((each) =>
      injects(each, token),
    );
    if (user) {
      const names = [...this.definitions.keys()].map((each) => `"${each}"`).join(', ');
      throw new StreamError(
        'unknown-hub',
        `${user.name} injects the hub "${name}", which is not registered. ` +
          `Registered with StreamingModule.registerHub(): ${names || 'none'}`,
      );
    }
  }
}

function injects({ inject, metatype }: Wrapper, token: string): boolean {
  if (inject?.some((each) => each === token || (each as { readonly token?: unknown }).token === token)) {
    return true;
  }
  return [SELF_DECLARED_DEPS_METADATA, PROPERTY_DEPS_METADATA].some((key) => {
    const injected =
      typeof metatype === 'function' ? (Reflect.getMetadata(key, metatype) as Injected[] | undefined) : [];
    return injected?.some(({ param, type }) => param === token || type === token);
  });
}

const tokens = new Map<string, string>();
const providers: Provider[] = [
  {
    provide: HubDirectory,
    useFactory: (discovery: DiscoveryService, runtime?: StreamingRuntime) => new HubDirectory(discovery, runtime),
    inject: [DiscoveryService, { token: StreamingRuntime, optional: true }],
  },
];
const exported: string[] = [];

/**
 * The token by which the hub of that name is injected: for tests, factories and `app.get()`.
 *
 * @example
 * ```ts
 * Test.createTestingModule({ imports: [AppModule] }).overrideProvider(getHubToken('prices')).useValue(fake);
 * ```
 */
export function getHubToken(name: string): string {
  const known = tokens.get(name);
  if (known !== undefined) {
    return known;
  }
  const token = `StreamingHub_${name}`;
  tokens.set(name, token);
  // Nest reads these lists when it scans the module, which is after all decorators have run. A name that is registered nowhere
  // has a provider too: it is what says so.
  providers.push({
    provide: token,
    useFactory: (directory: HubDirectory) => directory.open(name),
    inject: [HubDirectory],
  });
  exported.push(token);
  return token;
}

/** Provides the hubs of an application to all of its modules. */
@Global()
@Module({ imports: [DiscoveryModule], providers, exports: exported })
export class HubsModule {}

/** What `registerHub()` imports. */
@Module({ imports: [HubsModule] })
export class HubRegistration {}
