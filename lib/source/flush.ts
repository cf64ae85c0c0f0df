/** What `flush()` returns: yielded or sent, it is not a chunk but the wish that those before it leave now. */
export interface FlushMark {
  readonly flush: true;
}

const MARK: FlushMark = Object.freeze({ flush: true });

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
  return MARK;
}

export function isFlushMark(value: unknown): value is FlushMark {
  return value === MARK;
}
