import { Inject } from '@nestjs/common';

/**
 * Returns the injection token of a hub, for tests, factories and `app.get()`.
 *
 * @example
 * ```ts
 * Test.createTestingModule({ imports: [AppModule] }).overrideProvider(getHubToken('prices')).useValue(fake);
 * ```
 */
export function getHubToken(name: string): string {
  return `StreamingHub_${name}`;
}

/**
 * Injects the hub with this name. It can be registered with `StreamingModule.registerHub()` in any module of the application.
 *
 * If no module has registered it, the application does not start: Nest reports that it cannot resolve the dependency `StreamingHub_<name>`.
 * With `@Optional()`, `undefined` is injected instead.
 *
 * @example
 * ```ts
 * constructor(@InjectHub('prices') private readonly prices: Hub<Price>) {}
 * ```
 */
export function InjectHub(name: string): ParameterDecorator & PropertyDecorator {
  return Inject(getHubToken(name));
}
