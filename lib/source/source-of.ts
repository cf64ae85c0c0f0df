import { Readable } from 'node:stream';
import { StreamError } from '../errors.js';
import { isBinary } from '../format/binary.js';
import { AsyncIterableSource, IterableSource } from './iterable.source.js';
import { ObservableSource, type Subscribable } from './observable.source.js';
import { ReadableSource } from './readable.source.js';
import { SHARED_SOURCE, type SharedSource } from './shared-source.js';
import type { Source } from './source.js';
import { ResponseSource, WebStreamSource } from './web-stream.source.js';

interface Shape {
  readonly getReader?: unknown;
  readonly subscribe?: unknown;
  readonly lift?: unknown;
  readonly pipe?: unknown;
  readonly read?: unknown;
  readonly '@@observable'?: unknown;
  readonly [SHARED_SOURCE]?: () => SharedSource;
  readonly [Symbol.asyncIterator]?: unknown;
  readonly [Symbol.iterator]?: unknown;
}

const OBSERVABLE: unknown = (Symbol as { observable?: symbol }).observable ?? '@@observable';

function refuse(value: unknown, why: string): never {
  const what = typeof value === 'object' && value !== null ? (value.constructor?.name ?? 'an object') : typeof value;
  throw new StreamError(
    'invalid-source',
    `a stream cannot be read from ${what}: ${why}. Return a generator or another iterable, an Observable, a Node.js Readable, ` +
      'a web ReadableStream or Response, a hub subscription, a string, binary, or a promise of one of these; or inject @ConnectedStream() and return nothing',
  );
}

function observableOf(value: Shape): Subscribable | undefined {
  const interop = value[OBSERVABLE as '@@observable'];
  if (typeof interop === 'function') {
    return interop.call(value) as Subscribable;
  }
  return typeof value.subscribe === 'function' && typeof value.lift === 'function'
    ? (value as Subscribable)
    : undefined;
}

/** Whether a value is an Observable, of any copy of rxjs. */
export function isObservable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && observableOf(value) !== undefined;
}

function webSource(value: object): Source | undefined {
  if (Object.prototype.toString.call(value) === '[object Response]') {
    const response = value as Response;
    if (response.type === 'error') {
      return refuse(value, 'it is a network error, which has no status');
    }
    return response.body?.locked || response.bodyUsed
      ? refuse(value, 'its body has been read already')
      : new ResponseSource(response);
  }
  if (typeof (value as Shape).getReader === 'function') {
    const stream = value as ReadableStream<unknown>;
    return stream.locked ? refuse(value, 'it is locked to another reader') : new WebStreamSource(stream);
  }
  return undefined;
}

function readableSource(value: object): Source | undefined {
  const shape: Shape = value;
  if (typeof shape.pipe !== 'function' || typeof shape.read !== 'function') {
    return undefined;
  }
  const readable = value as Readable;
  return readable.readableEnded || (readable.destroyed && !readable.errored)
    ? refuse(value, 'it has ended or was destroyed')
    : new ReadableSource(readable);
}

function iterableSource(value: object): Source | undefined {
  const shape: Shape = value;
  if (typeof shape[Symbol.asyncIterator] === 'function') {
    return new AsyncIterableSource(value as AsyncIterable<unknown>);
  }
  return typeof shape[Symbol.iterator] === 'function' ? new IterableSource(value as Iterable<unknown>) : undefined;
}

/**
 * What a method returned, its promise resolved, as a source. A string or binary is one chunk.
 *
 * @throws {StreamError} `invalid-source` when it cannot be read, or has been already
 */
export function sourceOf(value: unknown): Source {
  if (typeof value === 'string' || isBinary(value)) {
    return new IterableSource([value]);
  }
  if (typeof value !== 'object' || value === null) {
    return refuse(value, 'it is not a stream');
  }
  const found = (value as Shape)[SHARED_SOURCE]?.() ?? webSource(value) ?? readableSource(value);
  if (found) {
    return found;
  }
  const observable = observableOf(value);
  return observable ? new ObservableSource(observable) : (iterableSource(value) ?? refuse(value, 'it is not a stream'));
}

/** Releases what a method returned when nobody will read it. */
export function discard(value: unknown): unknown {
  return isStream(value) ? sourceOf(value).stop() : undefined;
}

/** Whether a value is a stream beyond doubt, and not data that could be iterated too. */
function isStream(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const shape: Shape = value;
  return (
    value instanceof Readable ||
    typeof shape.getReader === 'function' ||
    typeof shape[Symbol.asyncIterator] === 'function' ||
    Object.prototype.toString.call(value) === '[object Response]' ||
    Object.prototype.toString.call(value) === '[object Generator]'
  );
}
