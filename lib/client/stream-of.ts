type Primitive = string | number | boolean | null;
/** What `JSON.stringify` leaves out of objects, and sends as `null` in arrays. */
type Omitted = undefined | void | symbol | ((...args: never) => unknown) | (abstract new (...args: never) => unknown);
type IsAny<T> = 0 extends 1 & T ? true : false;

/**
 * The type of a value after `JSON.stringify` and `JSON.parse`: a `Date` is a string, methods are missing, and a field that may be `undefined` is optional.
 * `never` for what cannot be sent, such as a `bigint`.
 */
export type Jsonified<T> = unknown extends T
  ? T
  : T extends Primitive
    ? T
    : T extends { toJSON(...args: never): infer R }
      ? JsonifiedResult<R>
      : JsonifiedResult<T>;

/** The same for the result of `toJSON()`, which is not called again. */
type JsonifiedResult<T> = unknown extends T
  ? T
  : T extends Primitive
    ? T
    : T extends Omitted | bigint | PromiseLike<unknown>
      ? never
      : T extends ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>
        ? Record<string, never>
        : T extends readonly unknown[]
          ? JsonifiedArray<T>
          : T extends { readonly BYTES_PER_ELEMENT: number }
            ? Record<string, number>
            : [keyof T] extends [never]
              ? T
              : JsonifiedObject<T>;

/** Arrays are no mapped types: those would not be deferred in recursive types. */
type JsonifiedArray<T extends readonly unknown[]> = readonly T[number][] extends T
  ? readonly JsonifiedElement<T[number]>[]
  : T[number][] extends T
    ? JsonifiedElement<T[number]>[]
    : { [K in keyof T]: JsonifiedElement<T[K]> };

type JsonifiedElement<T> = unknown extends T ? T : T extends Omitted ? null : Jsonified<T>;

type JsonifiedObject<T> = Flat<
  { [K in keyof T as FieldKey<K, T[K], false>]: Jsonified<T[K]> } & {
    [K in keyof T as FieldKey<K, T[K], true>]?: Jsonified<T[K]>;
  }
>;

type Flat<T> = { [K in keyof T]: T[K] };

/** The key of a field, if it may be missing because of its value, or if it is always there. */
type FieldKey<K, V, Missing> = K extends symbol
  ? never
  : unknown extends V
    ? Missing extends true
      ? never
      : K
    : [Exclude<V, Omitted>] extends [never]
      ? never
      : [Extract<V, Omitted>] extends [never]
        ? Missing extends true
          ? never
          : K
        : Missing extends true
          ? K
          : never;

/** The chunks of what a method returns. `never` for what is no stream. The shapes are enough: the types of Nest and RxJS are not needed. */
type ChunkOf<R> = unknown extends R
  ? R
  : R extends Binary | string
    ? R
    : R extends Primitive | Omitted | bigint
      ? never
      : R extends { readonly readableObjectMode: boolean }
        ? unknown // A Node.js stream. The declared type of its chunks is `any`.
        : R extends AsyncIterable<infer T> | Iterable<infer T>
          ? T
          : R extends { forEach(next: (value: infer T) => void): Promise<void> }
            ? T // An Observable.
            : R extends { getStream: unknown; getHeaders: unknown }
              ? Uint8Array // A StreamableFile.
              : unknown;

/** The chunks that a method sends with its parameter of the type `StreamConnection<T>`. */
type SentWith<P> =
  IsAny<P> extends true
    ? never
    : P extends {
          readonly lastEventId: string | undefined;
          readonly bufferedAmount: number;
          send(chunk: infer C): Promise<void>;
        }
      ? C
      : never;

type Binary = ArrayBufferLike | { readonly buffer: ArrayBufferLike; readonly byteLength: number };
interface FlushMark {
  readonly description: 'nestjs-streaming:flush';
}

type EventKey = 'data' | 'id' | 'type' | 'retry' | 'comment';
/** An event of a hub or of a run. */
interface HubEventLike {
  readonly id: string;
  readonly type: string | undefined;
  readonly data: unknown;
  readonly topic: string | undefined;
  readonly key: string | undefined;
}

/** Whether an object is an event on every route: one of a hub, of a run, or of `event()`, which has all keys, and needs none. */
type IsMarked<T> = T extends HubEventLike
  ? true
  : [EventKey, keyof T, object] extends [keyof T, EventKey, T]
    ? true
    : false;

/** Whether an object has no other keys than an event. */
type IsShaped<T, Key extends EventKey> = [keyof T & (string | number)] extends [EventKey]
  ? [Extract<keyof T, Key>] extends [never]
    ? false
    : true
  : false;

type IsEvent<T, Events> =
  IsMarked<T> extends true
    ? true
    : Events extends 'explicit'
      ? false
      : IsShaped<T, Events extends 'shape' ? 'data' | 'comment' | 'retry' : 'data'>;

/** What is sent of a chunk: the data of an event, or the chunk. */
type DataOf<T, Events> = unknown extends T
  ? T
  : T extends FlushMark
    ? never
    : T extends Primitive | Binary
      ? T
      : IsEvent<T, Events> extends true
        ? T extends { readonly data?: infer D }
          ? D
          : never
        : T;

/** Formats of text send binary data as base64. */
type Sent<T> = unknown extends T ? T : T extends Binary ? string : Jsonified<T>;

/**
 * The type of the data that a client receives of a stream method of a controller. It imports types alone: the controller is not part of the client.
 *
 * An object with `data`, and with no keys but those of an event, is an event, as on routes with `@Sse()`. All other objects are data. A route decides this by its option
 * `events`, which types cannot see: set `Events` to the same value if the result is wrong. Objects of `event()`, of hubs and of runs are always events.
 *
 * @typeParam C the class of the controller, such as `typeof Feed`
 * @typeParam M the name of the method. If it is overloaded, its last signature counts
 * @typeParam Events `explicit`: objects are data, as on routes that are not Server-Sent Events alone. `shape`: objects with `comment` or `retry` alone are events too
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
  Events extends 'auto' | 'explicit' | 'shape' = 'auto',
> = InstanceType<C>[M] extends (...args: infer P) => infer R
  ? Sent<DataOf<Awaited<ChunkOf<Awaited<R>> | Pushed<Awaited<R>, P>>, Events>>
  : never;

/** The chunks of a method that may return nothing, and sends them itself. */
type Pushed<R, P extends unknown[]> = unknown extends R
  ? never
  : [Extract<R, void | undefined>] extends [never]
    ? never
    : SentWith<P[number]>;
