import { Readable } from 'node:stream';
import { isBinary } from '../format/binary.js';
import { kindOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { markHandled } from '../util/thenable.js';
import { type FileLike, FileSource } from './file.source.js';
import { AsyncIterableSource, IterableSource } from './iterable.source.js';
import { ObservableSource, type Subscribable } from './observable.source.js';
import { ReadableSource } from './readable.source.js';
import { type ResponseLike, ResponseSource } from './response.source.js';
import { type PullSource, SOURCE, type Source } from './source.js';
import { WebStreamSource } from './web-stream.source.js';

interface Shape {
  readonly getReader?: unknown;
  readonly subscribe?: unknown;
  readonly lift?: unknown;
  readonly pipe?: unknown;
  readonly read?: unknown;
  readonly getStream?: unknown;
  readonly getHeaders?: unknown;
  readonly '@@observable'?: unknown;
  readonly [SOURCE]?: () => Source;
  readonly [Symbol.asyncIterator]?: unknown;
  readonly [Symbol.iterator]?: unknown;
}

const OBSERVABLE: unknown = (Symbol as { observable?: symbol }).observable ?? '@@observable';

/** Iterators and Node.js streams that are or were read. Web streams and subscriptions keep track of that themselves. */
const taken = new WeakSet<object>();

function refuse(value: unknown, why: string): never {
  throw new StreamError(
    'invalid-source',
    `a stream cannot be read from ${kindOf(value)}: ${why}. Return a generator or another iterable, an Observable, a Node.js Readable, ` +
      'a web ReadableStream or Response, a StreamableFile, a hub subscription, a view of a run, a string, binary, or a promise of one of these; or inject ' +
      '@ConnectedStream() and return nothing. If the method returns one of these, an interceptor has replaced it',
  );
}

/** Throws if an object is read a second time. Two readers would each receive a part of its chunks, as if it were complete. */
function take<T extends object>(reading: T, value: object): T {
  if (taken.has(reading)) {
    return refuse(value, 'it was read before: create a new one for every request');
  }
  taken.add(reading);
  return reading;
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

/** Returns whether a value is an Observable of any copy of rxjs. */
export function isObservable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && observableOf(value) !== undefined;
}

function isResponse(value: object): value is ResponseLike {
  return Object.prototype.toString.call(value) === '[object Response]';
}

function responseSource(response: ResponseLike): Source {
  const { type, bodyUsed, body } = response;
  if (type === 'error') {
    return refuse(response, 'it is a network error, which has no status');
  }
  if (bodyUsed || (body as ReadableStream | null)?.locked) {
    return refuse(response, 'its body has been read already');
  }
  const source = body ? (webSource(body) ?? readableSource(body)) : undefined;
  return body && !source ? refuse(response, 'its body is no stream') : new ResponseSource(response, source);
}

function webSource(value: object): PullSource | undefined {
  if (typeof (value as Shape).getReader !== 'function') {
    return undefined;
  }
  const stream = value as ReadableStream<unknown>;
  return stream.locked ? refuse(value, 'it is locked to another reader') : new WebStreamSource(stream);
}

function readableSource(value: object): PullSource | undefined {
  const shape: Shape = value;
  if (typeof shape.pipe !== 'function' || typeof shape.read !== 'function') {
    return undefined;
  }
  const readable = value as Readable;
  return readable.readableEnded || (readable.destroyed && !readable.errored)
    ? refuse(value, 'it has ended or was destroyed')
    : new ReadableSource(take(readable, value));
}

function isFile(value: object): value is FileLike {
  const { getStream, getHeaders }: Shape = value;
  return typeof getStream === 'function' && typeof getHeaders === 'function';
}

function fileSource(file: FileLike): Source {
  const source = readableSource(file.getStream());
  return source ? new FileSource(file, source) : refuse(file, 'it has no Node.js stream');
}

function iterableSource(value: object): Source | undefined {
  const shape: Shape = value;
  if (Array.isArray(value) || value instanceof Set) {
    return IterableSource.of(value);
  }
  if (typeof shape[Symbol.asyncIterator] === 'function') {
    return new AsyncIterableSource(iteratorOf((value as AsyncIterable<unknown>)[Symbol.asyncIterator](), value));
  }
  return typeof shape[Symbol.iterator] === 'function'
    ? new IterableSource(iteratorOf((value as Iterable<unknown>)[Symbol.iterator](), value))
    : undefined;
}

/** Returns an iterator that was not read before. A generator is its own iterator: if it were returned again, two streams would share its chunks. */
function iteratorOf<T>(iterator: T, value: object): T {
  return typeof iterator === 'object' && iterator !== null
    ? take(iterator, value)
    : refuse(value, `its iterator is not an object, but ${kindOf(iterator)}`);
}

/**
 * Returns the source for the result of a method, after its promise has resolved. A string or binary data is one chunk.
 *
 * @throws {StreamError} `invalid-source` if the value cannot be read, or was read already
 */
export function sourceOf(value: unknown): Source {
  if (typeof value === 'string' || isBinary(value)) {
    return IterableSource.of([value]);
  }
  if (typeof value !== 'object' || value === null) {
    return refuse(value, 'it is not a stream');
  }
  const own = (value as Shape)[SOURCE]?.();
  if (own) {
    return own;
  }
  if (isResponse(value)) {
    return responseSource(value);
  }
  const observable = observableOf(value);
  return (
    (isFile(value) ? fileSource(value) : undefined) ??
    webSource(value) ??
    readableSource(value) ??
    (observable ? new ObservableSource(observable) : iterableSource(value)) ??
    refuse(value, 'it is not a stream')
  );
}

/** Releases the result of a method that will not be read. */
export function discard(value: unknown): unknown {
  return isStream(value) ? sourceOf(value).stop() : markHandled(value);
}

/** Returns whether a value is certainly a stream, and not data that is iterable. */
function isStream(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) {
    return false;
  }
  const shape: Shape = value;
  return (
    value instanceof Readable ||
    isResponse(value) ||
    isFile(value) ||
    typeof shape.getReader === 'function' ||
    typeof shape[Symbol.asyncIterator] === 'function' ||
    Object.prototype.toString.call(value) === '[object Generator]'
  );
}
