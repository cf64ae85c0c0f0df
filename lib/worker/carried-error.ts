import { isError, textOf } from '../util/error-text.js';
import { StreamCloseError, StreamError, StreamStateError } from '../util/errors.js';

/**
 * A thrown value in a form that can be cloned. A clone of an error itself would lose its `code` and other fields, and one field that cannot be cloned
 * would fail the whole error.
 */
export type Carried = { readonly value: unknown } | CarriedError;

interface CarriedError {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** The own fields that can be cloned. */
  readonly fields: Record<string, unknown>;
  readonly cause?: Carried;
  /** The errors of an `AggregateError`. */
  readonly errors?: readonly Carried[];
}

/** Causes that are nested deeper are left out. */
const MAX_DEPTH = 8;
const STANDARD = new Set(['name', 'message', 'stack', 'cause', 'errors']);
/** Fields of errors that may be inherited, such as the code of a `DOMException`. */
const INHERITED = ['code', 'statusCode'];

type Create = (message: string, fields: Record<string, unknown>, name: string) => Error;

/** The classes that an error has again on the other side, by its name. Others become an `Error` with the same name. */
const CLASSES: Record<string, Create> = {
  AggregateError: (message) => new AggregateError([], message),
  EvalError: (message) => new EvalError(message),
  RangeError: (message) => new RangeError(message),
  ReferenceError: (message) => new ReferenceError(message),
  SyntaxError: (message) => new SyntaxError(message),
  TypeError: (message) => new TypeError(message),
  URIError: (message) => new URIError(message),
  StreamError: (message, { code }) => new StreamError(code as StreamError['code'], message),
  StreamStateError: (message) => new StreamStateError(message),
  StreamCloseError: (message, { code }) => new StreamCloseError(code as StreamCloseError['code'], message),
};

function cloneable(value: unknown): { readonly value: unknown } | undefined {
  try {
    return { value: structuredClone(value) };
  } catch {
    return undefined;
  }
}

function fieldsOf(error: Error): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const key of new Set([...Object.keys(error), ...INHERITED])) {
    if (!STANDARD.has(key)) {
      const found = cloneable((error as unknown as Record<string, unknown>)[key]);
      if (found?.value !== undefined) {
        fields[key] = found.value;
      }
    }
  }
  // An HTTP exception of Nest keeps its status behind a method. Exception filters of Nest read this field too.
  const { getStatus } = error as { getStatus?: unknown };
  const status: unknown = typeof getStatus === 'function' ? getStatus.call(error) : undefined;
  return typeof status === 'number' ? { ...fields, statusCode: status } : fields;
}

function described(error: Error, depth: number): CarriedError {
  const { cause, errors } = error as { cause?: unknown; errors?: unknown };
  return {
    name: String(error.name),
    message: String(error.message),
    stack: typeof error.stack === 'string' ? error.stack : undefined,
    fields: fieldsOf(error),
    ...(cause === undefined ? {} : { cause: carry(cause, depth + 1) }),
    ...(Array.isArray(errors) ? { errors: errors.map((each) => carry(each, depth + 1)) } : {}),
  };
}

/** Returns a thrown value in a form that can be cloned. Never throws. */
export function carry(thrown: unknown, depth = 0): Carried {
  if (depth < MAX_DEPTH && isError(thrown)) {
    try {
      return described(thrown, depth);
    } catch {
      // A getter of the error threw.
    }
  }
  return (isError(thrown) ? undefined : cloneable(thrown)) ?? { value: textOf(thrown) };
}

/** Returns the value that was thrown on the other side: an error with the same name, message, stack, cause and fields. */
export function thrownBy(carried: Carried): unknown {
  if ('value' in carried) {
    return carried.value;
  }
  const { name, message, stack, fields, cause, errors } = carried;
  // A name is any text, such as "toString", which each object inherits.
  const create: Create = (Object.hasOwn(CLASSES, name) && CLASSES[name]) || ((text) => new Error(text));
  const error = create(message, fields, name);
  Object.assign(error, fields);
  const hidden = (key: string, value: unknown) =>
    Object.defineProperty(error, key, { value, writable: true, configurable: true });
  if (error.name !== name) {
    hidden('name', name);
  }
  hidden('stack', stack ?? `${name}: ${message}`);
  if (cause !== undefined) {
    hidden('cause', thrownBy(cause));
  }
  if (errors !== undefined) {
    hidden('errors', errors.map(thrownBy));
  }
  return error;
}
