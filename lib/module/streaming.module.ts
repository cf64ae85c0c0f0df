import {
  type BeforeApplicationShutdown,
  ConfigurableModuleBuilder,
  type DynamicModule,
  Global,
  Inject,
  Logger,
  Module,
  type NestModule,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleInit,
} from '@nestjs/common';
import {
  ApplicationConfig,
  DiscoveryModule,
  DiscoveryService,
  HttpAdapterHost,
  ModuleRef,
  ModulesContainer,
} from '@nestjs/core';
import { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { HubOptions } from '../hub/hub.options.js';
import { describeStreams } from '../openapi/describe-streams.js';
import { validateOptions } from '../options/options-validation.js';
import type { StreamingModuleOptions } from '../options/streaming.options.js';
import { interceptSend } from '../platform/fastify.head.js';
import { closeSessions } from '../platform/fastify.sessions.js';
import { StreamRoutes, streamRoutesOf } from '../route/route-explorer.js';
import { versionParameterOf } from '../route/route-paths.js';
import type { RunsOptions } from '../run/run.options.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { useNativeWriter } from '../transport/native-writer.js';
import { StreamError } from '../util/errors.js';
import { markModule, otherCopyIn } from '../util/package-copy.js';
import { safeLogger } from '../util/stream-logger.js';
import { DEFAULT_BROKER, HubRegistrar } from './hub-registrar.js';
import { HubRegistrarModule, hubsModuleOf, runsModuleOf } from './hubs.module.js';
import { StreamingRuntime } from './streaming.runtime.js';
import { StreamingHealth } from './streaming-health.js';

/** How error messages name this module. */
const PART = 'StreamingModule.forRoot()';

const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN, OPTIONS_TYPE, ASYNC_OPTIONS_TYPE } =
  new ConfigurableModuleBuilder<StreamingModuleOptions>().setClassMethodName('forRoot').build();

function createRuntime(options: StreamingModuleOptions | undefined): StreamingRuntime {
  if (options === undefined) {
    throw new StreamError(
      'module-missing',
      'StreamingModule has no options: import StreamingModule.forRoot(), not StreamingModule. The factory of forRootAsync() must return an object',
    );
  }
  validateOptions('module', options, 'StreamingModule.forRoot()');
  return new StreamingRuntime(options, safeLogger(new Logger('StreamingModule')));
}

/**
 * The module that `@Stream()` and `@Sse()` need in every application. Import `StreamingModule.forRoot()` once, in the root module.
 *
 * When the application starts, it throws a {@link StreamError} with one of these codes:
 * - `invalid-option`: an option is unknown, has a wrong type, or contradicts another option
 * - `invalid-route`: decorators of a method contradict each other
 * - `invalid-hook`: an object in `hooks` has no hook, or a class of hooks is request-scoped
 * - `module-missing`: `websocket` is set, but the package `ws` is not installed
 * - `module-duplicate`: the module is imported twice
 *
 * @example
 * ```ts
 * @Module({ imports: [StreamingModule.forRoot({ heartbeat: 10_000 })] })
 * export class AppModule {}
 * ```
 */
@Global()
@Module({
  imports: [DiscoveryModule, HubRegistrarModule],
  providers: [
    { provide: StreamingRuntime, useFactory: createRuntime, inject: [{ token: MODULE_OPTIONS_TOKEN, optional: true }] },
    {
      provide: StreamRegistry,
      useFactory: (runtime: StreamingRuntime) => runtime.registry,
      inject: [StreamingRuntime],
    },
    {
      provide: StreamingHealth,
      useFactory: (runtime: StreamingRuntime, hubs: HubRegistrar) =>
        new StreamingHealth({ isDraining: () => runtime.isDraining(), brokers: () => hubs.brokersInUse() }),
      inject: [StreamingRuntime, HubRegistrar],
    },
    {
      provide: DEFAULT_BROKER,
      useFactory: ({ options }: StreamingRuntime) => options.broker,
      inject: [StreamingRuntime],
    },
    {
      provide: describeStreams,
      useFactory: (runtime: StreamingRuntime, discovery: DiscoveryService) =>
        describeStreams(streamRoutesOf(discovery), runtime.options),
      inject: [StreamingRuntime, DiscoveryService],
    },
  ],
  exports: [StreamRegistry, StreamingHealth, DEFAULT_BROKER],
})
export class StreamingModule
  extends ConfigurableModuleClass
  implements NestModule, OnModuleInit, OnApplicationBootstrap, BeforeApplicationShutdown, OnApplicationShutdown
{
  private routes: StreamRoutes | undefined;
  private telemetry: Telemetry | undefined;

  /** @internal */
  constructor(
    @Inject(StreamingRuntime) private readonly runtime: StreamingRuntime,
    @Inject(DiscoveryService) private readonly discovery: DiscoveryService,
    @Inject(ApplicationConfig) private readonly config: ApplicationConfig,
    @Inject(HttpAdapterHost) private readonly host: HttpAdapterHost,
    @Inject(ModuleRef) private readonly moduleRef: ModuleRef,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
    @Inject(HubRegistrar) private readonly hubs: HubRegistrar,
  ) {
    super();
    const otherCopy = otherCopyIn(modules.values(), PART);
    if (otherCopy) {
      throw otherCopy;
    }
  }

  /** Returns the module with the options of the application. For defaults, see {@link StreamingModuleOptions}. */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    return super.forRoot(options);
  }

  /** Like `forRoot()`, but the options come from a factory, a class or a provider (`useFactory`, `useClass`, `useExisting`). */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return super.forRootAsync(options);
  }

  /**
   * Returns a module that registers hubs. They can be injected with `@InjectHub()` in every module of the application.
   *
   * @throws {@link StreamError} with the code `invalid-option` if an option is wrong; `duplicate-hub` if a name is registered twice. If the two registrations are
   * in different modules, that is thrown when the application starts
   *
   * @example
   * ```ts
   * @Module({ imports: [StreamingModule.registerHub({ name: 'prices', history: { limit: 5_000 } })] })
   * export class PricesModule {}
   * ```
   */
  static registerHub(...hubs: readonly HubOptions[]): DynamicModule {
    return hubsModuleOf(hubs);
  }

  /**
   * Returns a module that registers runs: producers that outlive their client. They can be injected with `@InjectRuns()` in every module of the application.
   *
   * @throws {@link StreamError} with the code `invalid-option` if an option is wrong; `duplicate-runs` if a name is registered twice. When the application starts:
   * `duplicate-runs` if the two registrations are in different modules; `invalid-option` if the broker does not implement {@link BrokerRuns}
   *
   * @example
   * ```ts
   * @Module({ imports: [StreamingModule.registerRuns({ name: 'answers', onDisconnect: { detach: 120_000 } })] })
   * export class ChatModule {}
   * ```
   */
  static registerRuns(...runs: readonly RunsOptions[]): DynamicModule {
    return runsModuleOf(runs);
  }

  /** Called by Nest when all providers exist, before it registers the first route, so that routes can still be changed. */
  configure(): void {
    const adapter = this.host.httpAdapter;
    if (!adapter) {
      return;
    }
    const instance = adapter.getInstance<object>();
    this.runtime.plans.serve(instance);
    if (adapter.getType() === 'fastify') {
      interceptSend(instance as Parameters<typeof interceptSend>[0]);
      closeSessions(instance as Parameters<typeof closeSessions>[0]);
    }
    const routes = new StreamRoutes(this.runtime, streamRoutesOf(this.discovery));
    this.routes = routes;
    const closing = this.runtime.closeInTime(adapter.getHttpServer(), () => routes.paths(this.config, this.modules));
    if (adapter.getType() === 'fastify' && this.runtime.options.refusal !== 'status') {
      closing.dropOnClose(instance as Parameters<typeof closing.dropOnClose>[0]);
    }
    this.runtime.versionParameter = versionParameterOf(this.config.getVersioning());
    this.routes.plan();
    this.routes.intercept(this.config);
  }

  async onModuleInit(): Promise<void> {
    await this.routes?.resolve(this.moduleRef);
    const { registry } = this.runtime;
    await this.hubs.connect(registry);
    const producers = this.routes?.producers ?? [];
    if (producers.length > 0) {
      this.routes?.useRuns(await this.hubs.runs.openOfRoutes(this.runtime.options.runs, producers));
    }
    await useNativeWriter(this.runtime.services.logger);
    const paths = () => this.routes?.pathsByName(this.config, this.modules) ?? new Map<string, string>();
    this.telemetry = await Telemetry.start(registry, this.hubs, paths);
  }

  /** Called by Nest after it has registered gateways, before the server listens. */
  async onApplicationBootstrap(): Promise<void> {
    if (this.routes) {
      const paths = this.routes.paths(this.config, this.modules, ({ webSockets }) => webSockets);
      await this.runtime.webSockets?.open(this.host.httpAdapter, paths);
    }
  }

  async beforeApplicationShutdown(): Promise<void> {
    await this.runtime.shutdown(this.hubs);
  }

  onApplicationShutdown(): void {
    this.telemetry?.stop();
  }
}

markModule(StreamingModule, PART);
