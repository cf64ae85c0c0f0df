import { type DynamicModule, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { StreamRegistry } from '../connection/registry/stream-registry.js';
import { HubRegistrar } from '../module/hub-registrar.js';
import { StreamError } from '../util/errors.js';
import { consoleControllerAt } from './console.controller.js';
import { CONSOLE_OPTIONS } from './console.guard.js';
import { ConsoleFeed } from './console-feed.js';
import { checkConsoleOptions, type StreamingConsoleOptions } from './streaming-console.options.js';

/**
 * Serves a page with the open streams of the application, its hubs, and a button that closes a stream. Import it beside
 * `StreamingModule.forRoot()`. It costs nothing while the page is not open.
 *
 * @throws {StreamError} at start-up: `invalid-option` for an option that is not valid, and for a console without a guard outside of development;
 * `module-missing` without `StreamingModule.forRoot()`
 *
 * @example
 * ```ts
 * @Module({ imports: [StreamingModule.forRoot(), StreamingConsoleModule.forRoot({ path: 'admin/streams', guard: AdminGuard })] })
 * export class AppModule {}
 * ```
 */
@Module({})
export class StreamingConsoleModule implements OnApplicationShutdown {
  /** @internal */
  constructor(@Inject(ConsoleFeed) private readonly feed: ConsoleFeed) {}

  /** Serves the console. Default: at `console`, without a guard, where `NODE_ENV` is `development`; see {@link StreamingConsoleOptions}. */
  static forRoot(options: StreamingConsoleOptions = {}): DynamicModule {
    const { path } = options;
    return {
      module: StreamingConsoleModule,
      controllers: [consoleControllerAt(typeof path === 'string' ? path : 'console')],
      providers: [
        { provide: CONSOLE_OPTIONS, useFactory: () => checkConsoleOptions(options) },
        {
          provide: ConsoleFeed,
          useFactory: createFeed,
          inject: [
            { token: StreamRegistry, optional: true },
            { token: HubRegistrar, optional: true },
          ],
        },
      ],
    };
  }

  onApplicationShutdown(): void {
    this.feed.rest();
  }
}

function createFeed(streams: StreamRegistry | undefined, hubs: HubRegistrar | undefined): ConsoleFeed {
  if (!streams || !hubs) {
    throw new StreamError(
      'module-missing',
      'StreamingConsoleModule.forRoot() needs StreamingModule.forRoot() among the imports of the application',
    );
  }
  return new ConsoleFeed(streams, hubs);
}
