import { Inject } from '@nestjs/common';

/**
 * Returns the token by which a hub is injected: for tests, factories and `app.get()`.
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
 * Injects the hub of that name, which any module of the application may have registered with `StreamingModule.registerHub()`.
 *
 * If no module has, the application does not start: Nest reports that it cannot resolve the dependency `StreamingHub_` and the name.
 * With `@Optional()`, `undefined` is injected.
 *
 * @example
 * ```ts
 * constructor(@InjectHub('prices') private readonly prices: Hub<Price>) {}
 * ```
 */
export function InjectHub(name: string): ParameterDecorator & PropertyDecorator {
  return Inject(getHubToken(name));
}
