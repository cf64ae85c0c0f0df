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
import { markModule } from '../route/module-check.js';
import { StreamRoutes, streamRoutesOf } from '../route/route-explorer.js';
import { versionParameterOf } from '../route/route-paths.js';
import { Telemetry } from '../telemetry/telemetry.js';
import { StreamError } from '../util/errors.js';
import { safeLogger } from '../util/stream-logger.js';
import { DEFAULT_BROKER, HubRegistrar } from './hub-registrar.js';
import { HubRegistrarModule, hubsModuleOf } from './hubs.module.js';
import { StreamingRuntime } from './streaming.runtime.js';

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
 * Makes `@Stream()` and `@Sse()` work in every controller of an application. Import it once, in the root module.
 *
 * @throws {StreamError} at start-up: `invalid-option` for an option that is unknown, has a wrong type or contradicts another, `invalid-route`
 * for a method whose decorators contradict each other, `invalid-hook` for an object without hooks, `module-duplicate` if it is imported twice
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
  exports: [StreamRegistry, DEFAULT_BROKER],
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
  }

  /** Configures all streams of the application. Defaults: see {@link StreamingModuleOptions}. */
  static override forRoot(options: typeof OPTIONS_TYPE = {}): DynamicModule {
    return super.forRoot(options);
  }

  /** Like `forRoot()`, but gets the options from a factory, a class or a provider (`useFactory`, `useClass`, `useExisting`). */
  static override forRootAsync(options: typeof ASYNC_OPTIONS_TYPE): DynamicModule {
    return super.forRootAsync(options);
  }

  /**
   * Registers hubs, to be injected with `@InjectHub()` in any module of the application.
   *
   * An unknown name is Nest's own error at start-up, "Nest can't resolve dependencies", which names who injects it.
   *
   * @throws {StreamError} `invalid-option`; `duplicate-hub` for a name that is registered twice, here or at start-up
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

  /** Nest calls it when all providers exist, and before it registers the first route: routes can still be prepared. */
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
    await this.routes?.resolveHooks(this.moduleRef);
    const { registry } = this.runtime;
    const paths = () => this.routes?.pathsByName(this.config, this.modules) ?? new Map<string, string>();
    this.telemetry = await Telemetry.start(registry, () => this.hubs, paths);
  }

  /** Nest calls it after it has registered gateways, and before the server listens. */
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

markModule(StreamingModule);
