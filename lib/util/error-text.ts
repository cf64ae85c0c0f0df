import { inspect, types } from 'node:util';

const INDESCRIBABLE = 'a value that cannot be described';

// Any value can be thrown: undefined, an object without toString(), an error whose getters throw, a revoked Proxy. The functions here
// never throw for such a value, since errors are often described at the end of a stream, where no caller could catch another error.

function attempt(describe: () => unknown): string | undefined {
  try {
    const text = describe();
    return typeof text === 'string' ? text : undefined;
  } catch {
    return undefined;
  }
}

/** Returns whether a thrown value is an error, also one of another realm: in Jest, those of Node.js are not instances of the `Error` of the tests. */
export function isError(thrown: unknown): thrown is Error {
  try {
    return thrown instanceof Error || types.isNativeError(thrown);
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

/** Returns the kind of a value for a message: the class of an object, or the type. */
export function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') {
    return value === null ? 'null' : typeof value;
  }
  return attempt(() => value.constructor?.name) || 'an object';
}

/**
 * Returns whether an import failed because the package is not installed, and not because the package is broken. The caller has the `import()` in a
 * `try` block, with the literal name of the package, since bundlers treat only such an import as optional.
 */
export function isNotInstalled(name: string, error: unknown): boolean {
  const { code, message } = error as NodeJS.ErrnoException;
  return code?.endsWith('MODULE_NOT_FOUND') === true && message.includes(`'${name}'`);
}
