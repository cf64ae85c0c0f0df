import { type DynamicModule, Global, Module } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { getHubToken } from '../decorators/inject-hub.decorator.js';
import { getRunsToken } from '../decorators/inject-runs.decorator.js';
import type { HubOptions } from '../hub/hub.options.js';
import { checkHubOptions } from '../hub/hub-checks.js';
import type { RunsOptions } from '../run/run.options.js';
import { checkRunsOptions } from '../run/run-checks.js';
import { markModule } from '../util/package-copy.js';
import { DEFAULT_BROKER, duplicateHub, HubRegistrar, registrarOf } from './hub-registrar.js';
import { duplicateRuns } from './run-registrar.js';

/** Provides the registrar for all hubs of an application. */
@Global()
@Module({
  providers: [
    {
      provide: HubRegistrar,
      useFactory: registrarOf,
      inject: [ModulesContainer, { token: DEFAULT_BROKER, optional: true }],
    },
  ],
  exports: [HubRegistrar],
})
export class HubRegistrarModule {}

/** Provides the hubs of one call of `registerHub()`. */
@Module({ imports: [HubRegistrarModule] })
class HubsModule {}

markModule(HubsModule, 'StreamingModule.registerHub()');

/** Provides the runs of one call of `registerRuns()`. */
@Module({ imports: [HubRegistrarModule] })
class RunsModule {}

markModule(RunsModule, 'StreamingModule.registerRuns()');

/** Returns a module that opens runs when the application starts, and provides them to all modules. */
export function runsModuleOf(runs: readonly RunsOptions[]): DynamicModule {
  const names = new Set<string>();
  for (const options of runs) {
    checkRunsOptions(options);
    if (names.has(options.name)) {
      throw duplicateRuns(options.name);
    }
    names.add(options.name);
  }
  return {
    module: RunsModule,
    global: true,
    providers: runs.map((options) => ({
      provide: getRunsToken(options.name),
      useFactory: (registrar: HubRegistrar) => registrar.runs.open(options),
      inject: [HubRegistrar],
    })),
    exports: [...names].map(getRunsToken),
  };
}

/** Returns a module that opens hubs when the application starts, and provides them to all modules. */
export function hubsModuleOf(hubs: readonly HubOptions[]): DynamicModule {
  const names = new Set<string>();
  for (const options of hubs) {
    checkHubOptions(options);
    if (names.has(options.name)) {
      throw duplicateHub(options.name);
    }
    names.add(options.name);
  }
  return {
    module: HubsModule,
    global: true,
    providers: hubs.map((options) => ({
      provide: getHubToken(options.name),
      useFactory: (registrar: HubRegistrar) => registrar.open(options),
      inject: [HubRegistrar],
    })),
    exports: [...names].map(getHubToken),
  };
}
