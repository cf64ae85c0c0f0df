import type { CanActivate, Type } from '@nestjs/common';
import { type Check, demand, keys } from '../util/checks.js';
import { StreamError } from '../util/errors.js';

/** Options of `StreamingConsoleModule.forRoot()`. */
export interface StreamingConsoleOptions {
  /** The path of the page. It is below the global prefix of the application, and has no version. Default: `console`. */
  readonly path?: string;
  /**
   * The guard that decides who may see the console and close streams: an object, or a class that is resolved through dependency injection. It
   * protects all requests of the console. Default: none, which is only allowed in development.
   */
  readonly guard?: CanActivate | Type<CanActivate>;
  /**
   * Whether the console may have no guard. It then refuses all requests that do not come from the same machine. Default: `true` if `NODE_ENV`
   * is `development`, otherwise `false`.
   */
  readonly development?: boolean;
}

/** Returns whether a value is a guard. For a class, this is only known once it has an instance. */
export function isGuard(value: unknown): value is CanActivate {
  return typeof (value as CanActivate | null | undefined)?.canActivate === 'function';
}

const guard: Check = (value) =>
  typeof value === 'function' || isGuard(value) ? undefined : 'must be a guard, or a class of one';

const path: Check = (value) =>
  typeof value === 'string' && /^\/?[\w~.-]+(\/[\w~.-]+)*\/?$/.test(value)
    ? undefined
    : 'must be a path such as "console" or "admin/streams"';

const options = keys<StreamingConsoleOptions>({
  path,
  guard,
  development: (value) => (typeof value === 'boolean' ? undefined : 'must be true or false'),
});

/** Throws for invalid options, and for a console that anyone could use. */
export function checkConsoleOptions(given: StreamingConsoleOptions): StreamingConsoleOptions {
  demand(options, given, 'StreamingConsoleModule.forRoot()');
  const { development = process.env.NODE_ENV === 'development' } = given;
  if (!given.guard && !development) {
    throw new StreamError(
      'invalid-option',
      'StreamingConsoleModule.forRoot(): the console shows who is connected, and closes streams. Give it a "guard". Without a guard it works in ' +
        'development only: set NODE_ENV=development, or { development: true }',
    );
  }
  return given;
}
