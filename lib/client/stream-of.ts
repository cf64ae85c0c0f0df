/** The type of a value after it was sent as JSON: a `Date` is a string, and functions are missing. */
export type Jsonified<T> = unknown extends T
  ? T
  : T extends { toJSON(...args: never): infer R }
    ? R extends T
      ? R
      : Jsonified<R>
    : T extends string | number | boolean | null
      ? T
      : T extends undefined | symbol | bigint | ((...args: never) => unknown)
        ? never
        : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
          ? Record<string, never>
          : T extends readonly unknown[]
            ? { [K in keyof T]: JsonifiedElement<T[K]> }
            : { [K in keyof T as JsonKey<K, T[K]>]: Jsonified<T[K]> };

type JsonifiedElement<T> = Jsonified<T> extends never ? null : Jsonified<T>;
type JsonKey<K, V> = K extends string | number ? ([Jsonified<V>] extends [never] ? never : K) : never;

/** What is in one of the things that a method may return. */
type Produced<R> = R extends string
  ? string
  : R extends AsyncIterable<infer T>
    ? T
    : R extends Iterable<infer T>
      ? T
      : R extends { forEach(next: (value: infer T) => void): Promise<void> }
        ? T
        : R;

/** The keys of an event. */
type EventKey = 'data' | 'id' | 'type' | 'retry' | 'comment' | 'topic' | 'key';

/** The data of an event, or the chunk itself. */
type DataOf<T> = T extends { readonly data?: infer D } ? (keyof T extends EventKey ? Exclude<D, undefined> : T) : T;

/** What binary data is sent as: base64 where the format is text. */
type Sent<T> = T extends Uint8Array | ArrayBuffer ? string : Jsonified<T>;

/**
 * The type of the data that a client receives of a stream method of a controller. It imports types alone: the controller is not part of the client.
 *
 * @typeParam C the class of the controller, such as `typeof Feed`
 * @typeParam M the name of the method
 *
 * @example
 * ```ts
 * import type { Feed } from '../server/feed.controller';
 *
 * for await (const { data } of connect<StreamOf<typeof Feed, 'watch'>>('/prices/ACME')) show(data);
 * ```
 */
export type StreamOf<
  C extends abstract new (
    ...args: never
  ) => unknown,
  M extends keyof InstanceType<C>,
> = InstanceType<C>[M] extends (...args: never) => infer R ? Sent<DataOf<Produced<Awaited<R>>>> : never;
