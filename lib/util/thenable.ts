import { types } from 'node:util';
import { StreamError, type StreamErrorCode } from './errors.js';

export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    value !== null &&
    (typeof value === 'object' || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * Returns a promise that is awaited later. If it rejects before that, the rejection does not count as unhandled, which would end the process.
 *
 * `Promise.resolve()`, here and elsewhere, costs nothing for a native promise. For another thenable it ensures that the promise settles only once.
 */
function awaitedLater<T>(value: PromiseLike<T>): Promise<T> {
  const promise = Promise.resolve(value);
  onRejection(promise, () => undefined);
  return promise;
}

/** Returns a chunk that can wait in a queue: if it is a promise, its rejection does not count as unhandled in the meantime. */
export function queueable(chunk: unknown): unknown {
  return isThenable(chunk) ? awaitedLater(chunk) : chunk;
}

/** The maximum number of objects that are visited in one value: a value may refer to half of the application, as a request does. */
const MAX_OBJECTS = 10_000;

/**
 * Handles the rejections of all promises in a value that is read later or never, such as a chunk behind a slow hook. Otherwise, such a rejection
 * would count as unhandled, and end the process. Code that reads the value later still receives the error.
 *
 * Other thenables are not touched: those of some databases start a query when `then()` is called. It costs a fifth of `JSON.stringify()`.
 */
export function markHandled(value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    return;
  }
  // The loop also visits objects that are added to the set while it runs. As a set has no duplicates, the loop ends for a cycle.
  const found = new Set<object>([value]);
  for (const each of found) {
    try {
      markOneHandled(each, found);
    } catch {
      // A trap of a Proxy threw. It throws again when the value is read.
    }
  }
}

/** Calls {@link markHandled} for each of several chunks. */
export function markAllHandled(chunks: Iterable<unknown>): void {
  for (const chunk of chunks) {
    markHandled(chunk);
  }
}

function markOneHandled(value: object, found: Set<object>): void {
  if (types.isPromise(value)) {
    Promise.prototype.then.call(value, undefined, () => undefined);
  } else if (!ArrayBuffer.isView(value)) {
    for (const part of Array.isArray(value) ? value : fieldsOf(value)) {
      if (typeof part === 'object' && part !== null && found.size < MAX_OBJECTS) {
        found.add(part);
      }
    }
  }
}

function fieldsOf(value: object): unknown[] {
  try {
    return Object.values(value);
  } catch {
    // A getter threw. The values of the other fields are read without calling getters.
    return Object.values(Object.getOwnPropertyDescriptors(value)).map((field) => field.value);
  }
}

/** Calls back if a value is a promise and rejects. For promises that are not awaited, such as those of chunks that are not sent. */
export function onRejection(value: unknown, fail: (error: unknown) => void): void {
  if (isThenable(value)) {
    Promise.resolve(value).then(undefined, fail);
  }
}

/** Calls `run` after a promise has resolved, or immediately for any other value. Calls `fail` if the promise rejects, or if `run` then throws. */
export function after(wait: unknown, run: () => void, fail: (error: unknown) => void): void {
  if (isThenable(wait)) {
    Promise.resolve(wait).then(run).then(undefined, fail);
  } else {
    run();
  }
}

/**
 * Returns the result of a function that has to be synchronous. A promise would count as true, even if it resolved to `false`.
 * @throws {StreamError} with this code if the result is a promise
 */
export function syncResult<T>(answer: T, what: string, code: StreamErrorCode = 'invalid-option'): T {
  if (isThenable(answer)) {
    onRejection(answer, () => undefined);
    throw new StreamError(code, `${what} returned a promise: it has to answer at once`);
  }
  return answer;
}

/** A promise with the functions that settle it, like the result of `Promise.withResolvers()`, which Node.js 20 lacks. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T = void>(): Deferred<T> {
  let resolve: Deferred<T>['resolve'] = () => undefined;
  let reject: Deferred<T>['reject'] = () => undefined;
  const promise = new Promise<T>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  return { promise, resolve, reject };
}
