/** See {@link FlushMark}. A symbol, as interceptors that copy chunks copy objects, and the same in every copy of the package. */
const FLUSH: unique symbol = Symbol.for('nestjs-streaming:flush');

/** The value that `flush()` returns. If it is yielded or sent, the chunks before it are sent at once. It is not a chunk itself. */
export type FlushMark = typeof FLUSH;

/**
 * Makes everything yielded so far leave at once, whatever the flush policy: `yield flush()`.
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
  return FLUSH;
}

export function isFlushMark(value: unknown): value is FlushMark {
  return value === FLUSH;
}
