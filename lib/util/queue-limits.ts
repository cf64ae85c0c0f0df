/** The limits of a queue. It is full when one of them is reached. */
export interface QueueLimits {
  /** The maximum number of items: chunks, events or messages. */
  readonly items: number;
  /**
   * The maximum memory of all items, in bytes. It is an estimate. In addition to its content, a string counts for 32 bytes, a byte
   * array or an event of a hub for 200 bytes, and a chunk that waits for a hook or a promise for 700 bytes.
   */
  readonly bytes: number;
}

/** The memory of a string in an array, in addition to its content. Measured, in bytes. */
export const TEXT_COST = 32;
/** The memory of a byte array, in addition to its content. Measured, in bytes. */
export const BYTES_COST = 200;
/** The memory of an event of a hub that waits for one subscriber, in addition to its content. Measured, in bytes. */
export const EVENT_COST = 200;
/** The memory of the promises of a chunk that waits for the chunk before it. Measured, in bytes. */
export const PROMISE_COST = 700;

/**
 * The policy when the queue of a client is full.
 *
 * - `disconnect`: the client is disconnected. It can resume after the last id that it received.
 * - `drop-oldest`: the items that have waited longest are dropped until the new one fits.
 * - `drop-newest`: items that do not fit are dropped.
 */
export type OverflowPolicy = 'disconnect' | 'drop-oldest' | 'drop-newest';

/** Counts the chunks that a client was not sent, because it is too slow. */
export interface Losses {
  /** The number of dropped chunks. */
  dropped: number;
  /** The number of `lagged` events that reported them to the client. */
  lagged: number;
}
