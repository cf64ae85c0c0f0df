import { types } from 'node:util';
import type { Check } from '../util/checks.js';
import { kindOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { flushPolicy } from '../util/flush-policy.js';
import type { Encoded, StreamFormat, StreamFormatState } from './format.js';

// token = 1*tchar (RFC 9110 §5.6.2); media-type without parameters (§8.3.1)
const MEDIA_TYPE = /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+$/;
// parameter = token "=" ( token / quoted-string ), separated by ";" (§5.6.6)
const PARAMETERS = /^(?:(?:^|; *)[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"[ !#-[\]-~]*"))+$/;
// field-name = token (§5.1); field-value without obs-text (§5.5)
const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/;
const HEADER_VALUE = /^[\t -~]*$/;
/** Headers that a format cannot set: `mediaTypes` sets the type, and the server frames the body. */
const NOT_OURS = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'keep-alive',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** The statuses of a successful response that may have a body: not 204 and 205 (RFC 9110 §15). */
const SUCCESS = { least: 200, most: 299, withoutBody: new Set([204, 205]) };

const boolean: Check = (value) => (typeof value === 'boolean' ? undefined : 'must be a boolean');
const text: Check = (value) => (typeof value === 'string' ? undefined : 'must be a string');
const callable: Check = (value) => (typeof value === 'function' ? undefined : 'must be a function');

const FIELDS: Readonly<Record<keyof StreamFormat, Check>> = {
  name: (value) => (typeof value === 'string' && value !== '' ? undefined : 'must be a string that is not empty'),
  mediaTypes: (value) =>
    Array.isArray(value) && value.length > 0 && value.every((type) => MEDIA_TYPE.test(type))
      ? undefined
      : 'must list at least one media type without parameters, such as "text/csv"',
  parameters: (value) =>
    text(value) ??
    (PARAMETERS.test(value as string) ? undefined : 'must be parameters of a media type, such as "charset=utf-8"'),
  headers: (value) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.entries(value).map(headerProblem).find(Boolean)
      : 'must be an object of names and values',
  status: (value) =>
    Number.isInteger(value) &&
    (value as number) >= SUCCESS.least &&
    (value as number) <= SUCCESS.most &&
    !SUCCESS.withoutBody.has(value as number)
      ? undefined
      : 'must be a status from 200 to 299 that has a body',
  encode: callable,
  fields: boolean,
  events: (value) => (value === false ? undefined : 'must be false, or left out'),
  open: text,
  separator: text,
  close: text,
  heartbeat: (value) =>
    typeof value === 'string' || typeof value === 'function' || value === false
      ? undefined
      : 'must be a string, a function or false',
  lagged: callable,
  reset: callable,
  position: callable,
  error: callable,
  truncate: boolean,
  flush: flushPolicy,
  messages: (value) =>
    isFormat(value) && value.messages === undefined
      ? undefined
      : 'must be a format of defineFormat() that has no "messages" itself',
  perStream: callable,
};

const STATE: Readonly<Record<keyof StreamFormatState, Check>> = {
  encode: callable,
  open: callable,
  close: callable,
  error: callable,
};

function isFormat(value: unknown): value is StreamFormat {
  return typeof value === 'object' && value !== null && 'encode' in value && Object.isFrozen(value);
}

function headerProblem([name, value]: [string, unknown]): string | undefined {
  if (!HEADER_NAME.test(name) || typeof value !== 'string' || !HEADER_VALUE.test(value)) {
    return `must have names and values that HTTP allows, not ${JSON.stringify(name)}: ${JSON.stringify(value)}`;
  }
  return NOT_OURS.has(name.toLowerCase()) ? `cannot have "${name}": a format does not set this header` : undefined;
}

function refuse(name: unknown, problem: string): never {
  throw new StreamError('invalid-format', `defineFormat(${JSON.stringify(name)}): ${problem}`);
}

/** Throws for a field that is unknown or has a wrong type. */
function demand(name: unknown, checks: Readonly<Record<string, Check>>, given: object, where = ''): void {
  for (const [key, value] of Object.entries(given)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
    if (!check) {
      refuse(name, `unknown field "${where}${key}". Known: ${Object.keys(checks).join(', ')}`);
    }
    const problem = value === undefined ? undefined : check(value);
    if (problem) {
      refuse(name, `${where}${key} ${problem}`);
    }
  }
}

/** Returns the state of a stream, if it is valid. The state may be an instance of a class: unknown fields are then allowed. */
function checkedState(name: unknown, state: unknown): StreamFormatState {
  if (typeof state !== 'object' || state === null) {
    return refuse(name, 'perStream must return an object');
  }
  const { encode, open, close, error }: StreamFormatState = state;
  const plain = Object.getPrototypeOf(state) === Object.prototype;
  demand(name, STATE, { ...(plain && state), encode, open, close, error }, 'perStream().');
  return state;
}

/** The definition of a format. */
type FormatDefinition<T> = Omit<StreamFormat, 'encode' | 'perStream'> & {
  encode?(value: T, hasIds?: boolean): Encoded;
  perStream?(): StreamFormatState<T>;
};

/**
 * Defines a format of your own. Pass it as the `format` of a route or of the application.
 *
 * `encode` may be left out if the object that `perStream` returns has it. `perStream` is called once when the format is defined, to check its result.
 *
 * @param format the fields of the format: see {@link StreamFormat}
 * @returns the format, which cannot be changed any more
 * @throws {@link StreamError} with the code `invalid-format` if a field is missing, unknown or of a wrong type.
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
export function defineFormat<T = unknown>(format: FormatDefinition<T>): StreamFormat {
  if (typeof format !== 'object' || format === null) {
    return refuse(undefined, 'a format is an object');
  }
  const { name, mediaTypes, truncate } = format;
  demand(name, FIELDS, { ...format, name: name ?? null, mediaTypes: mediaTypes ?? null });
  const state: StreamFormatState = format.perStream ? checkedState(name, format.perStream()) : {};
  const encode = format.encode?.bind(format) ?? state.encode?.bind(state);
  if (encode === undefined) {
    return refuse(name, 'encode must be a function, in the format or in the object that perStream returns');
  }
  if (truncate === false && format.error === undefined && state.error === undefined) {
    return refuse(name, '"truncate: false" needs an error record: add "error"');
  }
  const { perStream } = format;
  return Object.freeze({
    ...format,
    ...(format.headers && { headers: lowerCased(format.headers) }),
    encode: (value: unknown, hasIds?: boolean) => encodedBy(name, encode(value as T, hasIds)),
    ...(perStream && { perStream: () => safeState(name, perStream.call(format)) }),
  });
}

/** Returns the headers with their names in lower case, which transports expect. */
function lowerCased(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

/** Returns the state of one stream, with an `encode` whose result is checked as that of a format without state. */
function safeState<T>(name: string, state: StreamFormatState<T>): StreamFormatState {
  return {
    encode: state.encode && ((value) => encodedBy(name, state.encode?.(value as T))),
    open: state.open?.bind(state),
    close: state.close?.bind(state),
    error: state.error?.bind(state),
  };
}

/** Returns the result of `encode` if it can be sent, and throws otherwise. */
function encodedBy(name: string, encoded: unknown): Encoded {
  if (typeof encoded === 'string' || types.isUint8Array(encoded)) {
    return encoded;
  }
  if (types.isPromise(encoded)) {
    // If the promise rejects, its error must not end the process: the stream fails in any case.
    encoded.catch(() => undefined);
  }
  throw new StreamError(
    'not-serializable',
    `encode() of the format ${JSON.stringify(name)} returned ${kindOf(encoded)}: it must return a string or a Uint8Array, and not a promise of one`,
  );
}
