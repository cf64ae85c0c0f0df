import { SHARED_SOURCE } from '../source/shared-source.js';

/** The results of handlers, by what interceptors have in their place. */
const originals = new WeakMap<object, object>();

/**
 * Returns what interceptors get for the result of a handler. Some copy every object that is not a stream to them, Nest's own
 * `ClassSerializerInterceptor` among them, so two kinds of results need a form that they do not copy:
 *
 * - A hub subscription would be read event by event, and lose its place in the fan-out. What is published has been serialized
 *   already, so nothing is lost if a function takes its place. No interceptor copies functions.
 * - A sync iterable would become an object without an iterator. With an async iterator it is read chunk by chunk, as an async
 *   generator is.
 *
 * Both can still be read, wrapped and asked for their class. {@link originalOf} returns the result again.
 */
export function interceptable(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) {
    return result;
  }
  const { [Symbol.iterator]: iterate, [Symbol.asyncIterator]: iterateLater } = result as Partial<
    Iterable<unknown> & AsyncIterable<unknown>
  >;
  if (SHARED_SOURCE in result) {
    return view(() => undefined, result, { [Symbol.asyncIterator]: iterateLater?.bind(result) });
  }
  const isSync = typeof iterate === 'function' && typeof iterateLater !== 'function';
  if (!isSync || Array.isArray(result) || result instanceof Set || ArrayBuffer.isView(result)) {
    return result;
  }
  const iterable = result as Iterable<unknown>;
  const { next, return: stop, throw: fail } = result as Partial<Generator<unknown>>;
  return view({}, result, {
    [Symbol.iterator]: iterate.bind(iterable),
    [Symbol.asyncIterator]: async function* () {
      yield* iterable;
    },
    next: next?.bind(iterable),
    return: stop?.bind(iterable),
    throw: fail?.bind(iterable),
  });
}

/** Returns the result of the handler where interceptors have passed on what stands for it, and any other value as it is. */
export function originalOf(value: unknown): unknown {
  const isView = (typeof value === 'object' || typeof value === 'function') && value !== null;
  return (isView ? originals.get(value) : undefined) ?? value;
}

/** Looks like the original, but for the members that only work when they are called on it. */
function view(base: object, original: object, members: Readonly<Record<PropertyKey, unknown>>): object {
  Object.setPrototypeOf(base, original);
  for (const key of Reflect.ownKeys(members)) {
    if (members[key as string] !== undefined) {
      Object.defineProperty(base, key, { value: members[key as string] });
    }
  }
  originals.set(base, original);
  return base;
}
