import { type DynamicModule, Global, Module } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { getHubToken } from '../decorators/inject-hub.decorator.js';
import type { HubOptions } from '../hub/hub.options.js';
import { checkHubOptions } from '../hub/hub-checks.js';
import { markModule } from '../util/package-copy.js';
import { DEFAULT_BROKER, duplicateHub, HubRegistrar, registrarOf } from './hub-registrar.js';

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
