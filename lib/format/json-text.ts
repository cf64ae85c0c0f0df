import { StreamError } from '../util/errors.js';
import { isBinary, toBytes } from './binary.js';
import { isPromise, unserializablePart } from './unserializable.js';

/** A value that is JSON text already. Formats that write JSON send the text unchanged. */
export class SerializedJson {
  constructor(readonly text: string) {}

  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

/**
 * Returns a value as JSON text (RFC 8259). Binary data becomes a base64 string, as JSON has no bytes.
 * Errors of a getter or a `toJSON()` are passed on.
 *
 * @throws {StreamError} `not-serializable` for a value that contains a BigInt, a cycle or a promise, with its path; and for `undefined`, a
 * function or a symbol, for which `JSON.stringify` returns nothing
 */
export function jsonText(value: unknown): string {
  if (value instanceof SerializedJson) {
    return value.text;
  }
  const text = stringified(isBinary(value) ? toBytes(value).toString('base64') : value);
  if (text === undefined) {
    throw noJson(value);
  }
  // Only a value with `{}` in its JSON can contain a promise. Searching for a second brace first is faster, as flat rows have only one.
  if (text === '{}' || (text.indexOf('{', 1) > 0 && text.includes('{}'))) {
    refusePromises(value);
  }
  return text;
}

function stringified(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    const part = unserializablePart(value);
    throw part === undefined ? cause : new StreamError('not-serializable', part, { cause });
  }
}

/** Returns the error for a value that `JSON.stringify` leaves out silently. */
export function noJson(value: unknown): StreamError {
  return new StreamError('not-serializable', `${typeof value} has no JSON form: send null, or nothing at all`);
}

/** @throws {StreamError} `not-serializable`, with the path to the first promise in a value */
function refusePromises(value: unknown): void {
  let found = false;
  JSON.stringify(value, (_key, item: unknown) => {
    if (!isPromise(item)) {
      return item;
    }
    found = true;
    // If the promise rejects, its error must not end the process: the stream fails in any case.
    Promise.resolve(item).catch(() => undefined);
    return undefined;
  });
  if (found) {
    throw new StreamError('not-serializable', unserializablePart(value) ?? 'a promise has no JSON form');
  }
}
