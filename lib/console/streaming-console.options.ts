import type { CanActivate, Type } from '@nestjs/common';
import { type Check, demand, keys } from '../util/checks.js';
import { StreamError } from '../util/errors.js';

/** Options of `StreamingConsoleModule.forRoot()`. */
export interface StreamingConsoleOptions {
  /** The path of the page, below the global prefix and without a version. Default: `console`. */
  readonly path?: string;
  /**
   * Decides who may see the console and close streams: a guard, or a class of guards that is resolved through dependency injection. It guards
   * the page, its feed and its button. Default: none, which is allowed in development only.
   */
  readonly guard?: CanActivate | Type<CanActivate>;
  /**
   * Whether the console works without a guard. Then only requests from the same machine are answered. Default: whether `NODE_ENV` is
   * `development`.
   */
  readonly development?: boolean;
}

/** Returns whether a value is a guard. Whether a class is one is known once there is an instance of it. */
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

/** Throws for options that are not valid, and for a console that everybody could use. */
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
