import { type FactoryProvider, Global, Module, Scope } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { HubDirectory } from './hub-registrar.js';
import { StreamingRuntime } from './streaming.runtime.js';

const providers: FactoryProvider[] = [
  {
    provide: HubDirectory,
    useFactory: (modules: ModulesContainer, runtime?: StreamingRuntime) =>
      new HubDirectory(modules, runtime, (token) => names.get(token)),
    inject: [ModulesContainer, { token: StreamingRuntime, optional: true }],
  },
];
const exported: string[] = [];
/** The names of the hubs that tokens are for. */
const names = new Map<unknown, string>();
/** The names some application of this process has a hub for. */
const registered = new Set<string>();

/**
 * The token by which the hub of that name is injected: for tests, factories and `app.get()`.
 *
 * @example
 * ```ts
 * Test.createTestingModule({ imports: [AppModule] }).overrideProvider(getHubToken('prices')).useValue(fake);
 * ```
 */
export function getHubToken(name: string): string {
  const token = `StreamingHub_${name}`;
  if (!names.has(token)) {
    names.set(token, name);
    // Nest reads these lists when it scans the module, which is after all decorators have run. A name that is registered
    // nowhere has a provider too: it is what says so, once it is asked for. That is what transient providers wait for.
    providers.push({
      provide: token,
      useFactory: (directory: HubDirectory) => directory.open(name, registered.has(name)),
      inject: [HubDirectory],
      scope: Scope.TRANSIENT,
    });
    exported.push(token);
  }
  return token;
}

/** Has a name stand for one hub, made at start-up. */
export function registerHubToken(name: string): void {
  const token = getHubToken(name);
  registered.add(name);
  for (const provider of providers.filter(({ provide }) => provide === token)) {
    provider.scope = undefined;
  }
}

/** Provides the hubs of an application to all of its modules. */
@Global()
@Module({ providers, exports: exported })
export class HubsModule {}

/** What `registerHub()` imports. */
@Module({ imports: [HubsModule] })
export class HubRegistration {}
