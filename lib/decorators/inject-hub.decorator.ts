import { Inject } from '@nestjs/common';
import { getHubToken } from '../module/hubs.module.js';

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
