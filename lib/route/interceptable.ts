import { SOURCE } from '../source/source.js';

/** Maps the views that interceptors receive to the original results of handlers. */
const originals = new WeakMap<object, object>();

/**
 * Returns the value that interceptors receive for the result of a handler. Some interceptors, such as Nest's own `ClassSerializerInterceptor`,
 * copy every object that they do not recognize as a stream. For two kinds of results, they receive a view that they do not copy:
 *
 * - For a hub subscription, the view is a function, since no interceptor copies functions. A copy would be read event by event, and would not
 *   share the bytes of other subscribers. As published data is serialized already, a serializer has nothing to do.
 * - For a sync iterable, the view has an async iterator too, and so it is read chunk by chunk, like an async generator. A copy would have no
 *   iterator.
 *
 * Views can still be read, wrapped, and tested with `instanceof`. {@link originalOf} returns the original result.
 */
export function interceptable(result: unknown): unknown {
  if (typeof result !== 'object' || result === null) {
    return result;
  }
  const { [Symbol.iterator]: iterate, [Symbol.asyncIterator]: iterateLater } = result as Partial<
    Iterable<unknown> & AsyncIterable<unknown>
  >;
  if (SOURCE in result) {
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

/** Returns the original result of the handler if the value is its view, and any other value unchanged. */
export function originalOf(value: unknown): unknown {
  const isView = (typeof value === 'object' || typeof value === 'function') && value !== null;
  return (isView ? originals.get(value) : undefined) ?? value;
}

/** Returns an object that inherits all members of the original, except for those in `members`, which only work on the original itself. */
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
