import { types } from 'node:util';
import { StreamError } from './errors.js';

export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return (
    value !== null &&
    (typeof value === 'object' || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * A promise that somebody awaits later. Until then its rejection does not count as unhandled, which would end the process.
 *
 * The `Promise.resolve()` here and elsewhere costs nothing for a promise of Node.js, and settles once whatever other thenables do.
 */
function awaitedLater<T>(value: PromiseLike<T>): Promise<T> {
  const promise = Promise.resolve(value);
  onRejection(promise, () => undefined);
  return promise;
}

/** Returns a chunk that may have to wait for its turn. If it is a promise, its rejection is not unhandled then. */
export function queued(chunk: unknown): unknown {
  return isThenable(chunk) ? awaitedLater(chunk) : chunk;
}

/** How many objects of one value are looked at: it may hang together with half of the application, as a request does. */
const MOST_OBJECTS = 10_000;

/**
 * Handles the rejection of every promise in a value that is read later or never, such as a chunk behind a slow hook. Until somebody reads it,
 * such a rejection would count as unhandled and end the process. Whoever reads the value still gets the error.
 *
 * Other thenables are left alone: they begin when they are asked, as the queries of some databases do. Costs a fifth of what JSON does.
 */
export function shelter(value: unknown): void {
  if (typeof value !== 'object' || value === null) {
    return;
  }
  // A set goes on with what is added to it, and ends a cycle.
  const found = new Set<object>([value]);
  for (const each of found) {
    try {
      shelterOne(each, found);
    } catch {
      // A Proxy whose traps throw: they throw again when it is read.
    }
  }
}

/** As {@link shelter}, for each of a list of chunks. */
export function shelterAll(chunks: Iterable<unknown>): void {
  for (const chunk of chunks) {
    shelter(chunk);
  }
}

function shelterOne(value: object, found: Set<object>): void {
  if (types.isPromise(value)) {
    Promise.prototype.then.call(value, undefined, () => undefined);
  } else if (!ArrayBuffer.isView(value)) {
    for (const part of Array.isArray(value) ? value : fieldsOf(value)) {
      if (typeof part === 'object' && part !== null && found.size < MOST_OBJECTS) {
        found.add(part);
      }
    }
  }
}

function fieldsOf(value: object): unknown[] {
  try {
    return Object.values(value);
  } catch {
    // A getter threw: the other fields are there without one.
    return Object.values(Object.getOwnPropertyDescriptors(value)).map((field) => field.value);
  }
}

/** Passes the error of a promise on that is not awaited, as the chunk that it stands for is not sent. */
export function onRejection(value: unknown, fail: (error: unknown) => void): void {
  if (isThenable(value)) {
    Promise.resolve(value).then(undefined, fail);
  }
}

/** Runs when a wait is over, at once if there is none; what goes wrong is for `fail`. */
export function after(wait: unknown, run: () => void, fail: (error: unknown) => void): void {
  if (isThenable(wait)) {
    Promise.resolve(wait).then(run).then(undefined, fail);
  } else {
    run();
  }
}

/**
 * Returns the answer of a function that has to answer at once: a promise would be true, whatever it resolves to.
 * @throws {StreamError} `invalid-option` for a promise
 */
export function answered<T>(answer: T, what: string): T {
  if (isThenable(answer)) {
    onRejection(answer, () => undefined);
    throw new StreamError('invalid-option', `${what} returned a promise: it has to answer at once`);
  }
  return answer;
}

/** A promise with the functions that settle it, as of `Promise.withResolvers()`, which Node.js 20 does not have. */
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
