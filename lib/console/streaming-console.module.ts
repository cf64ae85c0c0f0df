import { type DynamicModule, Inject, Module, type OnApplicationShutdown } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { StreamRegistry } from '../connection/registry/stream-registry.js';
import { HubRegistrar } from '../module/hub-registrar.js';
import { StreamError } from '../util/errors.js';
import { markModule, otherCopyIn } from '../util/package-copy.js';
import { ConsoleActions, consoleControllerAt } from './console.controller.js';
import { CONSOLE_OPTIONS } from './console.guard.js';
import { ConsoleFeed } from './console-feed.js';
import { ConsoleRuns } from './console-runs.js';
import { checkConsoleOptions, type StreamingConsoleOptions } from './streaming-console.options.js';

/** How error messages name this module. */
const PART = 'StreamingConsoleModule.forRoot()';

/**
 * Serves a web page that shows the open streams of the application, streams that ended and why, errors, slow clients, hubs and runs, and can close
 * streams and stop runs. Import it in addition to `StreamingModule.forRoot()`. While no browser shows the page, it only records the last streams that ended.
 *
 * When the application starts, it throws a {@link StreamError} with one of these codes:
 * - `invalid-option`: an option is invalid, or the console has no guard outside of development
 * - `module-missing`: the application does not import `StreamingModule.forRoot()`
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

  /** Returns the module with its options. Without options, it serves the page at `console`, if `NODE_ENV` is `development`; see {@link StreamingConsoleOptions}. */
  static forRoot(options: StreamingConsoleOptions = {}): DynamicModule {
    const { path } = options;
    return {
      module: StreamingConsoleModule,
      controllers: [consoleControllerAt(typeof path === 'string' ? path : 'console')],
      providers: [
        ConsoleActions,
        { provide: CONSOLE_OPTIONS, useFactory: () => checkConsoleOptions(options) },
        {
          provide: ConsoleFeed,
          useFactory: createFeed,
          inject: [
            { token: StreamRegistry, optional: true },
            { token: HubRegistrar, optional: true },
            ModulesContainer,
          ],
        },
      ],
    };
  }

  onApplicationShutdown(): void {
    this.feed.stop();
  }
}

markModule(StreamingConsoleModule, PART);

function createFeed(
  streams: StreamRegistry | undefined,
  hubs: HubRegistrar | undefined,
  modules: ModulesContainer,
): ConsoleFeed {
  if (!streams || !hubs) {
    const otherCopy = otherCopyIn(modules.values(), PART);
    throw (
      otherCopy ??
      new StreamError(
        'module-missing',
        'StreamingConsoleModule.forRoot() needs StreamingModule.forRoot() among the imports of the application',
      )
    );
  }
  return new ConsoleFeed(streams, hubs, new ConsoleRuns(hubs.runs));
}
