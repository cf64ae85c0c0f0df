import { inspect } from 'node:util';
import { StreamError } from '../util/errors.js';

/** An event: Nest's own `MessageEvent`, with any JSON value as `data`. Create one with {@link event}. */
export interface StreamEvent<T = unknown> {
  /** The payload. A string is sent as it is, binary data as base64, any other value as JSON. */
  data?: T;
  /** Becomes the client's `Last-Event-ID`. It must not contain CR, LF or NUL. */
  id?: string;
  /** The name of the event, for which clients add listeners. It must not contain CR or LF. Default: `message`. */
  type?: string;
  /** How long the client waits before it reconnects, in milliseconds. */
  retry?: number;
  /** Text that clients ignore. */
  comment?: string;
}

/**
 * Which values are events; all others are data.
 * - `shape`: the objects that {@link event} returns, and every object that looks like Nest's `MessageEvent`
 * - `explicit`: only the objects that {@link event} returns
 */
export type EventsMode = 'shape' | 'explicit';

const FIELDS: Readonly<Record<string, true>> = { data: true, id: true, type: true, retry: true, comment: true };

/** The key that marks an event. A string, because copies made with `Object.keys()` keep it. */
export const MARK = 'nestjs-streaming';
/**
 * The value of the mark. As JSON has no symbols, an object that a client has sent can never be mistaken for an event. All copies of the
 * package share this symbol.
 */
export const EVENT: unique symbol = Symbol.for('nestjs-streaming:event');

interface Marked extends StreamEvent {
  readonly [MARK]?: unknown;
}

/**
 * Creates an event, to be yielded, sent, or returned from a hook. It is an event on every route, also on those where plain objects are
 * always data (`events: 'explicit'`). Formats without fields send only its `data`.
 *
 * A copy of it (`{ ...event, data }`) is an event too.
 *
 * Do not use the types `reset`, `lagged`, `position`, `members` and `shutdown`: the package sends events of these types itself, and clients could not
 * distinguish yours from them. They are accepted here, because Nest's `@Sse()` accepts them. `hub.publish()` refuses them.
 *
 * @throws {@link StreamError} with the code `invalid-event` if a field is unknown, or if `data`, `id`, `retry` and `comment` are all missing, since
 * clients ignore an event that has only a type
 *
 * @example
 * ```ts
 * @Stream('prices')
 * async *prices(@LastEventId() after?: string) {
 *   for await (const price of this.prices.since(after)) yield event({ id: price.id, type: 'price', data: price });
 * }
 * ```
 */
export function event<T = unknown>(fields: StreamEvent<T>): StreamEvent<T> {
  if (typeof fields !== 'object' || fields === null) {
    throw new StreamError(
      'invalid-event',
      `event() takes an object with ${Object.keys(FIELDS).join(', ')}, not ${display(fields)}`,
    );
  }
  demandKnown(fields, 'event()');
  const { data, id, type, retry, comment } = fields;
  if (data === undefined && !isSet(id) && !isSet(retry) && !isSet(comment)) {
    throw new StreamError(
      'invalid-event',
      'event() needs data, id, retry or comment: clients ignore a type alone. If the event has no data, send data: null',
    );
  }
  const made: Marked = { [MARK]: EVENT, data, id, type, retry, comment };
  return made as StreamEvent<T>;
}

/**
 * Returns the value as an event, or `undefined` if it is data. Each field of the event is to be read only once.
 * @throws {@link StreamError} with the code `invalid-event` for a copy of an event with a key that events do not have
 */
export function eventIn(value: unknown, mode: EventsMode): StreamEvent | undefined {
  if (typeof value !== 'object' || value === null) {
    return undefined;
  }
  if ((value as Marked)[MARK] === EVENT) {
    demandKnown(value, 'an event');
    return value;
  }
  return mode === 'shape' && !Array.isArray(value) ? shapedEvent(value) : undefined;
}

/**
 * Returns the fields of an object that looks like Nest's `MessageEvent`, or `undefined`. Each field is read only once. Such an object either
 * - inherits `data`, like the `MessageEvent` of the DOM and instances of classes with a getter: its own keys are then ignored, as private fields
 * - or has only keys of an event, at least one of which is `data`, `comment` or `retry`
 *
 * An object that inherits both `data` and `toJSON()`, such as a document of a database, is data.
 */
function shapedEvent(value: StreamEvent): StreamEvent | undefined {
  const hasData = 'data' in value;
  const inherits = hasData && !Object.hasOwn(value, 'data');
  if (inherits ? 'toJSON' in value : foreignKey(value) !== undefined) {
    return undefined;
  }
  const { data, id, type, retry, comment } = value;
  // A method named `data` is not a field.
  const isEvent = hasData ? !inherits || typeof data !== 'function' : isSet(comment) || isSet(retry);
  return isEvent ? { data, id, type, retry, comment } : undefined;
}

/** Returns a key that is no field of an event, or `undefined`. Keys with the value `undefined` are ignored, as in JSON. */
function foreignKey(value: object): string | undefined {
  for (const key in value) {
    if (FIELDS[key] !== true && key !== MARK && (value as Record<string, unknown>)[key] !== undefined) {
      return key;
    }
  }
  return undefined;
}

function demandKnown(value: object, what: string): void {
  const key = foreignKey(value);
  if (key !== undefined) {
    throw new StreamError(
      'invalid-event',
      `${what} has no field "${key}", only ${Object.keys(FIELDS).join(', ')}: put it in data`,
    );
  }
}

/** Returns whether a field has a value. A method does not count as a value. */
function isSet(field: unknown): boolean {
  return field !== undefined && field !== null && typeof field !== 'function';
}

const DIGITS = /^\d+$/;

/**
 * Returns `retry` as text.
 * @throws {@link StreamError} with the code `invalid-event` unless it consists of digits: clients ignore any other text
 */
export function retryText(retry: unknown): string {
  const text = typeof retry === 'number' ? String(retry) : retry;
  if (typeof text !== 'string' || !DIGITS.test(text)) {
    throw new StreamError(
      'invalid-event',
      `The retry of an event is a whole number of milliseconds, not ${display(retry)}`,
    );
  }
  return text;
}

/** Returns a type or an id as text; `undefined` if it is neither a string nor a number. */
export function fieldText(field: unknown): string | undefined {
  switch (typeof field) {
    case 'string':
      return field;
    case 'number':
    case 'bigint':
      return String(field);
    default:
      return undefined;
  }
}

/** Returns a value as it is shown in an error message. */
export function display(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 0, customInspect: false });
}

/** The type of an event that carries only an id, so that the client knows its position. */
export const POSITION = 'position';

/** Returns whether a field of an event is not set. */
export function isAbsent(field: unknown): field is undefined | null {
  return field === undefined || field === null;
}

/** Returns whether an event has an id, and neither data nor a type. It is sent with the type {@link POSITION} and the data `{}`. */
export function isPosition({ data, id, type }: StreamEvent): boolean {
  return data === undefined && !isAbsent(id) && (isAbsent(type) || type === '');
}
