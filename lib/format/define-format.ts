import { types } from 'node:util';
import { StreamError } from '../errors.js';
import { kindOf } from '../util/error-text.js';
import type { StreamFormat } from './format.js';

// token = 1*tchar (RFC 9110 §5.6.2); media-type without parameters (§8.3.1)
const MEDIA_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/;
// parameter = token "=" ( token / quoted-string ), several apart by ";" (§5.6.6)
const PARAMETERS = /^(?:(?:^|; *)[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"[ !#-[\]-~]*"))+$/;
const KEYS = new Set([
  'name',
  'mediaTypes',
  'parameters',
  'encode',
  'fields',
  'events',
  'open',
  'separator',
  'close',
  'heartbeat',
  'lagged',
  'reset',
  'position',
  'error',
]);

function refuse(name: unknown, problem: string): never {
  throw new StreamError('invalid-option', `defineFormat(${JSON.stringify(name)}): ${problem}`);
}

/**
 * Makes a format of your own, to be given as the `format` of a route or of the application.
 *
 * @throws {StreamError} `invalid-option` when a field is missing, unknown or of a wrong type.
 *
 * @example
 * ```ts
 * const csv = defineFormat({
 *   name: 'csv',
 *   mediaTypes: ['text/csv'],
 *   parameters: 'charset=utf-8',
 *   open: 'id,price\r\n',
 *   encode: (row: Row) => `${row.id},${row.price}\r\n`,
 * });
 *
 * @Stream('prices', { format: [csv, 'ndjson'] })
 * ```
 */
export function defineFormat<T = unknown>(
  format: Omit<StreamFormat, 'encode'> & { encode(value: T): string | Uint8Array },
): StreamFormat {
  if (typeof format !== 'object' || format === null) {
    return refuse(undefined, 'a format is an object');
  }
  const { name, mediaTypes, parameters, fields, events } = format;
  for (const key of Object.keys(format)) {
    if (!KEYS.has(key)) {
      refuse(name, `unknown field "${key}". Known: ${[...KEYS].join(', ')}`);
    }
  }
  if (typeof name !== 'string' || name === '') {
    refuse(name, 'name must be a string that is not empty');
  }
  if (!Array.isArray(mediaTypes) || mediaTypes.length === 0 || !mediaTypes.every((type) => MEDIA_TYPE.test(type))) {
    refuse(name, 'mediaTypes must list at least one media type without parameters, such as "text/csv"');
  }
  for (const key of ['encode', 'lagged', 'reset', 'position', 'error'] as const) {
    if (typeof format[key] !== 'function' && (key === 'encode' || format[key] !== undefined)) {
      refuse(name, `${key} must be a function`);
    }
  }
  for (const key of ['parameters', 'open', 'separator', 'close', 'heartbeat'] as const) {
    if (format[key] !== undefined && typeof format[key] !== 'string') {
      refuse(name, `${key} must be a string`);
    }
  }
  if (parameters !== undefined && !PARAMETERS.test(parameters)) {
    refuse(name, 'parameters must be those of a media type, such as "charset=utf-8"');
  }
  if (fields !== undefined && typeof fields !== 'boolean') {
    refuse(name, 'fields must be a boolean');
  }
  if (events !== undefined && events !== false) {
    refuse(name, 'events must be false, or left out');
  }
  return Object.freeze({ ...format, encode: (value: unknown) => encodedBy(name, format.encode(value as T)) });
}

/** What `encode` of a format returned, if that can be sent. */
function encodedBy(name: string, encoded: unknown): string | Uint8Array {
  if (typeof encoded === 'string' || types.isUint8Array(encoded)) {
    return encoded;
  }
  if (types.isPromise(encoded)) {
    // Its error would end the process, and the stream fails anyway.
    encoded.catch(() => undefined);
  }
  throw new StreamError(
    'not-serializable',
    `encode() of the format ${JSON.stringify(name)} returned ${kindOf(encoded)}: it has to return a string or a Uint8Array, at once`,
  );
}
