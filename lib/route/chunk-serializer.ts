import { ClassSerializerInterceptor } from '@nestjs/common';
import { isBinary } from '../format/binary.js';
import type { PullSource } from '../source/source.js';
import { sourceOf } from '../source/source-of.js';
import { originalOf } from './interceptable.js';

type Serialize = (value: never, options: never) => unknown;

/** The results of stream routes that interceptors receive. */
const results = new WeakSet<object>();

let installed = false;

/** Notes the result of a stream route that interceptors receive. */
export function expectSerializer(result: unknown): void {
  if (typeof result === 'object' && result !== null) {
    results.add(result);
  }
}

/**
 * Lets Nest's `ClassSerializerInterceptor` serialize the chunks of stream routes in every version. That of Nest 12 does so itself. That of Nest 11
 * copies every object, and a copy of a generator cannot be read. Results of other routes are serialized as before.
 */
export function serializeChunks(): void {
  if (installed) {
    return;
  }
  installed = true;
  const prototype: { serialize: Serialize } = ClassSerializerInterceptor.prototype;
  const { serialize } = prototype;
  prototype.serialize = function (this: unknown, value, options) {
    if (!isResult(value)) {
      return serialize.call(this, value, options);
    }
    return isAsyncIterable(value)
      ? serializing(value, (chunk) => serialize.call(this, chunk as never, options))
      : value;
  };
}

/** Returns whether a value is the result of a stream route that a copy would destroy. Arrays and sets can be copied. */
function isResult(value: unknown): value is object {
  return (
    typeof value === 'object' &&
    value !== null &&
    results.has(value) &&
    (isAsyncIterable(value) || Object.prototype.toString.call(value) === '[object Response]')
  );
}

function isAsyncIterable(value: object): value is AsyncIterable<unknown> {
  return typeof (value as Partial<AsyncIterable<unknown>>)[Symbol.asyncIterator] === 'function';
}

/** Returns an iterator of the serialized chunks. Text and bytes are passed on. Nothing is read from the result before the iterator is. */
function serializing(
  result: AsyncIterable<unknown>,
  serialize: (chunk: unknown) => unknown,
): AsyncIterableIterator<unknown> {
  let source: PullSource | undefined;
  const open = (): PullSource => (source ??= sourceOf(originalOf(result)) as PullSource);
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: async () => {
      const step = await open().pull();
      if (step.done || typeof step.value === 'string' || isBinary(step.value)) {
        return step as IteratorResult<unknown>;
      }
      try {
        return { done: false, value: serialize(step.value) };
      } catch (error) {
        // Nobody stops an iterator that has failed.
        open().stop();
        throw error;
      }
    },
    return: async (value) => {
      await open().stop();
      return { done: true, value };
    },
  };
}
