/**
 * The value that `flush()` returns. If it is yielded or sent, the chunks before it are sent immediately. It is not a chunk itself.
 *
 * An interface, because the declaration files of an application could not name the type of a symbol.
 */
export interface FlushMark {
  readonly description: 'nestjs-streaming:flush';
}

/** It is a symbol, because some interceptors copy objects. All copies of the package share it. */
const FLUSH: unknown = Symbol.for('nestjs-streaming:flush');

/**
 * Returns a mark which, when it is yielded or sent, sends all chunks before it immediately, with any flush policy.
 *
 * @example
 * ```ts
 * @Stream('report', { flush: { bytes: 65_536, ms: 1_000 } })
 * async *report() {
 *   yield 'Working on it…\n';
 *   yield flush();
 *   yield* this.rows();
 * }
 * ```
 */
export function flush(): FlushMark {
  return FLUSH as FlushMark;
}

export function isFlushMark(value: unknown): value is FlushMark {
  return value === FLUSH;
}
