import { Inject } from '@nestjs/common';
import { getHubToken } from '../module/hubs.module.js';

/**
 * Injects the hub of that name, which `StreamingModule.registerHub()` has registered anywhere in the application.
 *
 * The application does not start when there is none: `StreamError` `unknown-hub`, which names those there are.
 *
 * @example
 * ```ts
 * constructor(@InjectHub('prices') private readonly prices: Hub<Price>) {}
 * ```
 */
export function InjectHub(name: string): ParameterDecorator & PropertyDecorator {
  return Inject(getHubToken(name));
}
