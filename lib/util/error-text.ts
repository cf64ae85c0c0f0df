import { inspect } from 'node:util';

const INDESCRIBABLE = 'a value that cannot be described';

// Anything can be thrown: undefined, an object without toString(), an error whose getters throw, a revoked Proxy. Nothing here
// throws for such a value: an error is often described as the last act of a stream, where no caller could catch another error.

function attempt(describe: () => unknown): string | undefined {
  try {
    const text = describe();
    return typeof text === 'string' ? text : undefined;
  } catch {
    return undefined;
  }
}

/** Returns whether a thrown value is an error. */
export function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error;
  } catch {
    return false;
  }
}

/** Returns the message of an error, or any other thrown value as text. */
export function textOf(thrown: unknown): string {
  if (typeof thrown === 'string') {
    return thrown;
  }
  return (
    (isError(thrown) ? attempt(() => thrown.message) : undefined) ?? attempt(() => inspect(thrown)) ?? INDESCRIBABLE
  );
}

/** Returns the stack of an error, with its message, or any other thrown value as text. */
export function stackOf(thrown: unknown): string {
  return (isError(thrown) ? attempt(() => thrown.stack) : undefined) ?? textOf(thrown);
}

/** Returns the kind of a value, as a message names it: the class of an object, or a type. */
export function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') {
    return value === null ? 'null' : typeof value;
  }
  return attempt(() => value.constructor?.name) || 'an object';
}

/**
 * Returns whether an import failed because the package is not installed, and not because the package is broken. Where it is needed, the
 * import itself stands in a `try` with the literal name of the package: only there do bundlers treat it as optional.
 */
export function isNotInstalled(name: string, error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code?.endsWith('MODULE_NOT_FOUND') === true && message.includes(`'${name}'`);
}
