import { isThenable, shelter, shelterAll } from '../util/thenable.js';
import type { StreamCloseReason } from './close-reason.js';
import type { StreamConnection } from './stream-connection.js';

/**
 * What happens around a stream, in this order. Every method is optional and is called in the
 * `AsyncLocalStorage` context of the request.
 *
 * Given per application (`forRoot({ hooks })`), per class or method (`@UseStreamHooks()`) or per
 * connection (`stream.hooks()`); run outermost first. A hook that throws is treated as the stream failing.
 *
 * @example
 * ```ts
 * @Injectable()
 * export class Metering implements StreamHooks {
 *   onClose(stream: StreamConnection, reason: StreamCloseReason) {
 *     this.meter.record(stream.route, reason.code);
 *   }
 * }
 * ```
 */
export interface StreamHooks<T = unknown> {
  /** The status and headers are settled; nothing has been sent yet. What it sends comes first. May return a promise: chunks wait for it. */
  onOpen?(stream: StreamConnection<T>): unknown;
  /**
   * Every chunk, before it is encoded. Return it, another one, an array of several, or nothing to drop it;
   * a promise of these, or of one in the array, makes the next chunk wait. To replace a chunk by one that is an array,
   * return `[array]`.
   *
   * A chunk that is a promise has been awaited. The `data` of an event has not: if it is a promise, the hook receives that promise.
   */
  beforeChunk?(chunk: T, stream: StreamConnection<T>): unknown;
  /** The stream is about to end well, and may still send. May return a promise. */
  beforeClose?(stream: StreamConnection<T>): unknown;
  /**
   * The stream failed. May return a last chunk, sent before the format's own error record; before the first
   * byte it is not sent, as an exception filter answers.
   */
  onError?(error: unknown, stream: StreamConnection<T>): unknown;
  /** The application is shutting down. May return a farewell chunk. */
  onShutdown?(stream: StreamConnection<T>): unknown;
  /** The stream is over, whatever ended it. Exactly once for every stream whose handler was called. What it throws is logged. */
  onClose?(stream: StreamConnection<T>, reason: StreamCloseReason): unknown;
}

export const HOOK_NAMES = ['onOpen', 'beforeChunk', 'beforeClose', 'onError', 'onShutdown', 'onClose'] as const;

/** The hooks of a stream, outermost first. */
export type HookChain = readonly StreamHooks[];

/** The same, with those left out that have no such hook: an empty list costs nothing per chunk. */
export function having(chain: HookChain, name: keyof StreamHooks): HookChain {
  return chain.filter((hooks) => typeof hooks[name] === 'function');
}

/** Runs one after the other, waiting where one returns a promise. A promise is returned only if one was. */
export function inTurn<T>(items: readonly T[], run: (item: T) => unknown, from = 0): void | PromiseLike<void> {
  for (let i = from; i < items.length; i++) {
    const wait = run(items[i] as T);
    if (isThenable(wait)) {
      return Promise.resolve(wait).then(() => inTurn(items, run, i + 1));
    }
  }
}

/** Sends a chunk through the `beforeChunk` of every link, and what comes out of the last one to `emit`. */
export function throughChunkHooks(
  chain: HookChain,
  chunk: unknown,
  stream: StreamConnection,
  emit: (chunk: unknown) => unknown,
  from = 0,
): void | PromiseLike<void> {
  const pass = (next: unknown): void | PromiseLike<void> => throughChunkHooks(chain, next, stream, emit, from + 1);
  const onwards = (result: unknown): void | PromiseLike<void> => {
    if (Array.isArray(result) && result !== chunk) {
      shelterAll(result);
      return inTurn(result, (next) => (isThenable(next) ? Promise.resolve(next).then(pass) : pass(next)));
    }
    return result === undefined ? undefined : pass(result);
  };
  const hooks = chain[from];
  if (hooks === undefined) {
    return emit(chunk) as void | PromiseLike<void>;
  }
  const result = hooks.beforeChunk?.(chunk, stream);
  if (!isThenable(result)) {
    return onwards(result);
  }
  shelter(chunk);
  return Promise.resolve(result).then(onwards);
}
