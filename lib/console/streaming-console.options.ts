import type { CanActivate, Type } from '@nestjs/common';
import { StreamError } from '../errors.js';
import { type Check, demand, keys } from '../util/checks.js';

/** Options of `StreamingConsoleModule.forRoot()`. */
export interface StreamingConsoleOptions {
  /** Where the page is, below the global prefix and without a version. Default: `console`. */
  readonly path?: string;
  /**
   * Who may see the console and close streams: a guard, or a class of one. It is resolved through DI, and has the page, its feed and its
   * button. Default: none, which is for development only.
   */
  readonly guard?: CanActivate | Type<CanActivate>;
  /** Whether it may go without a guard; then only clients of this machine are answered. Default: whether `NODE_ENV` is `development`. */
  readonly development?: boolean;
}

/** Whether it is a guard. Of a class that is known when there is one of it. */
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

/** Refuses options that are wrong, and a console that anybody could use. */
export function checkConsoleOptions(given: StreamingConsoleOptions): StreamingConsoleOptions {
  demand(options, given, 'StreamingConsoleModule.forRoot()');
  const { development = process.env.NODE_ENV === 'development' } = given;
  if (!given.guard && !development) {
    throw new StreamError(
      'invalid-option',
      'StreamingConsoleModule.forRoot(): the console shows who is connected, and closes streams. Give it a "guard". Without one it is for ' +
        'development only: NODE_ENV=development, or { development: true }',
    );
  }
  return given;
}
