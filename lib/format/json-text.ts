import { StreamError } from '../errors.js';
import { isBinary, toBytes } from './binary.js';
import { SerializedJson } from './serialized-json.js';
import { unserializablePart } from './unserializable.js';

/**
 * A value as JSON text (RFC 8259). Binary becomes a base64 string, as JSON has no bytes.
 * Throws what `JSON.stringify` throws, and for `undefined`, functions and symbols, which it drops silently.
 *
 * @throws {StreamError} `not-serializable`, with the path to a BigInt or a cycle
 */
export function jsonText(value: unknown): string {
  if (value instanceof SerializedJson) {
    return value.text;
  }
  const text = stringified(isBinary(value) ? toBytes(value).toString('base64') : value);
  if (text === undefined) {
    throw noJson(value);
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
