import { type CanActivate, type ExecutionContext, ForbiddenException, type Type } from '@nestjs/common';
import { ContextIdFactory, type ModuleRef } from '@nestjs/core';
import { InvalidClassScopeException } from '@nestjs/core/errors/exceptions/invalid-class-scope.exception.js';
import { UnknownElementException } from '@nestjs/core/errors/exceptions/unknown-element.exception.js';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { REQUEST_CONTEXT_ID } from '@nestjs/core/router/request/request-constants.js';
import { isObservable, lastValueFrom } from 'rxjs';
import type { AccessCheck } from '../connection/access-check.js';
import type { StreamBehavior } from '../options/streaming.options.js';
import { stackOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import type { StreamLogger } from '../util/stream-logger.js';
import { instanceFromDI, isRequestScoped } from './instance-from-di.js';

export type ReauthorizeOptions = Exclude<NonNullable<StreamBehavior['reauthorize']>, false>;

/** The route whose streams are checked. */
export interface CheckedRoute {
  /** `Class.method` */
  readonly route: string;
  readonly controller: Type;
  readonly handler: object;
}

/** Returns a guard for one check. */
type GuardOf = (request: unknown) => CanActivate | Promise<CanActivate>;

/** How many checks of a stream in a row may fail with `onFault: 'keep'`. */
const KEPT_FAULTS = 5;
/** The shortest time between two warnings of a route, in milliseconds. */
const WARN_EVERY_MS = 60_000;

/** Calls the guards of the option `reauthorize` for the streams of a route. */
export class Reauthorizer implements AccessCheck {
  readonly every: number;
  readonly toleratedFaults: number;
  private guards: readonly GuardOf[] = [];
  /** When a fault was logged last. */
  private warnedAt = -Infinity;

  constructor(
    private readonly options: ReauthorizeOptions,
    private readonly route: CheckedRoute,
    private readonly logger: StreamLogger,
    private readonly now: () => number,
  ) {
    this.every = options.every;
    this.toleratedFaults = options.onFault === 'close' ? 0 : KEPT_FAULTS;
  }

  /**
   * Resolves the guards.
   * @param moduleRef that of the module of the route
   */
  async resolve(moduleRef: ModuleRef): Promise<void> {
    const where = `a guard in "reauthorize" of ${this.route.route}`;
    this.guards = await Promise.all(this.options.guards.map((guard) => guardOf(guard, moduleRef, where)));
  }

  async run(request: unknown, response: unknown): Promise<void> {
    const { controller, handler } = this.route;
    // The same as that of Nest, except for the function `next()` of Express, which has been called.
    const args = [request, response, () => undefined];
    const context = new ExecutionContextHost(args, controller, handler as ReturnType<ExecutionContext['getHandler']>);
    for (const guardFor of this.guards) {
      const guard = await guardFor(request);
      const result: unknown = await guard.canActivate(context);
      if (!(isObservable(result) ? await lastValueFrom(result) : result)) {
        throw new ForbiddenException('Forbidden resource');
      }
    }
  }

  logFault(error: unknown): void {
    const now = this.now();
    if (now - this.warnedAt < WARN_EVERY_MS) {
      return;
    }
    this.warnedAt = now;
    const kept = this.toleratedFaults > 0 ? `Streams are kept for ${this.toleratedFaults} checks` : 'It was closed';
    this.logger.warn(
      `${this.route.route}: whether the client of a stream may still read it could not be checked. ${kept}: ${stackOf(error)}`,
    );
  }
}

/** Returns a function that returns the guard: the same one for all checks, or a new one for each check if it depends on the request. */
async function guardOf(guard: CanActivate | Type<CanActivate>, moduleRef: ModuleRef, where: string): Promise<GuardOf> {
  if (typeof guard !== 'function') {
    return () => guard;
  }
  const instance = await instanceOf(guard, moduleRef, where);
  if (typeof instance === 'boolean') {
    return async (request) => {
      const contextId = newContextOf(request);
      moduleRef.registerRequestByContextId(contextId.getParent ? contextId.payload : request, contextId);
      return moduleRef.resolve(guard, contextId, { strict: instance });
    };
  }
  if (typeof instance.canActivate !== 'function') {
    throw new StreamError('invalid-option', `${guard.name}, ${where}, is a class without canActivate()`);
  }
  return () => instance;
}

/**
 * Returns the instance of a guard. For one that depends on the request, returns whether it belongs to the module of the route.
 * The guards of a controller belong to its module.
 */
async function instanceOf(
  guard: Type<CanActivate>,
  moduleRef: ModuleRef,
  where: string,
): Promise<CanActivate | boolean> {
  for (const strict of [true, false]) {
    try {
      const instance = moduleRef.get<CanActivate>(guard, { strict });
      // Old versions of Nest return an object that was never constructed for a guard that only injects what depends on the request.
      return isRequestScoped(guard, moduleRef) ? strict : instance;
    } catch (error) {
      if (error instanceof InvalidClassScopeException) {
        return strict;
      }
      if (!(error instanceof UnknownElementException)) {
        throw error;
      }
    }
  }
  return instanceFromDI(guard, moduleRef, {
    code: 'invalid-option',
    is: where,
    requestIn: 'the context, or list it in the providers of a module',
  });
}

/** Returns a new context for dependency injection: request-scoped providers do not return what they have read when the stream opened. */
function newContextOf(request: unknown): ReturnType<typeof ContextIdFactory.create> {
  // Nest has stored the context of the request in it. Without that one, it creates a context, with the strategy for durable providers if there is one.
  const hidden: object = Object.create(request as object, { [REQUEST_CONTEXT_ID]: { value: undefined } });
  return ContextIdFactory.getByRequest(hidden, []);
}
