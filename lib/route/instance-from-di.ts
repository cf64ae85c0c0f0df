import 'reflect-metadata';
import { Scope, type ScopeOptions, type Type } from '@nestjs/common';
import { SCOPE_OPTIONS_METADATA } from '@nestjs/common/constants.js';
import type { ModuleRef } from '@nestjs/core';
import { UnknownElementException } from '@nestjs/core/errors/exceptions/unknown-element.exception.js';
import { StreamError, type StreamErrorCode } from '../util/errors.js';

/** How an error message names the role of a class. */
interface Role {
  readonly code: StreamErrorCode;
  /** A description of the role, such as "a hook of Feed.prices". */
  readonly is: string;
  /** The expression by which an instance can read the current request, such as "stream.request". */
  readonly requestIn: string;
}

/**
 * Returns the provider of a class if a module has one, and otherwise a new instance with its dependencies injected.
 *
 * @throws {StreamError} with the code of the role if the class is request-scoped: one instance serves all requests
 */
export async function instanceFromDI<T>(type: Type<T>, moduleRef: ModuleRef, role: Role): Promise<T> {
  if (isRequestScoped(type, moduleRef)) {
    throw new StreamError(
      role.code,
      `${type.name}, ${role.is}, is request-scoped, but serves all requests: take what you need from ${role.requestIn}`,
    );
  }
  try {
    return moduleRef.get(type, { strict: false });
  } catch (error) {
    if (error instanceof UnknownElementException) {
      return moduleRef.create(type);
    }
    throw error;
  }
}

/** Returns whether each request has its own instance of a class, because of its scope, or because of what it injects. */
export function isRequestScoped(type: Type, moduleRef: ModuleRef): boolean {
  try {
    return moduleRef.introspect(type).scope === Scope.REQUEST;
  } catch {
    // No module has it.
    const options = Reflect.getMetadata(SCOPE_OPTIONS_METADATA, type) as ScopeOptions | undefined;
    return options?.scope === Scope.REQUEST;
  }
}
