import { StreamError } from '../util/errors.js';
import { isBinary, toBytes } from './binary.js';
import { isPromise, unserializablePart } from './unserializable.js';

/** A value that is JSON text already: formats that write JSON take the text over. */
export class SerializedJson {
  constructor(readonly text: string) {}

  toJSON(): unknown {
    return JSON.parse(this.text);
  }
}

/**
 * A value as JSON text (RFC 8259). Binary becomes a base64 string, as JSON has no bytes.
 * Throws what `JSON.stringify` throws, and for `undefined`, functions and symbols, which it drops silently.
 *
 * @throws {StreamError} `not-serializable`, with the path to a BigInt, a cycle or a promise
 */
export function jsonText(value: unknown): string {
  if (value instanceof SerializedJson) {
    return value.text;
  }
  const text = stringified(isBinary(value) ? toBytes(value).toString('base64') : value);
  if (text === undefined) {
    throw noJson(value);
  }
  // Only then can a promise be in it. To look for one brace first is faster: rows that are flat have no second one.
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

/** The error of a value that JSON would drop silently. */
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
    // Its error would end the process, and the stream fails anyway.
    Promise.resolve(item).catch(() => undefined);
    return undefined;
  });
  if (found) {
    throw new StreamError('not-serializable', unserializablePart(value) ?? 'a promise has no JSON form');
  }
}
