/** How much may wait in a queue; whichever limit is reached first counts. */
export interface QueueLimits {
  /** The largest number of items: chunks, events or messages. */
  readonly items: number;
  /**
   * About how many bytes of memory these items may take together. Each counts for more than its content: a text for 32 bytes more, an array of
   * bytes or an event of a hub for 200, a chunk that waits for a hook or a promise for 700.
   */
  readonly bytes: number;
}

/** Measured: what holds a text of one character, in an array. */
export const TEXT_COST = 32;
/** Measured: what holds an array of one byte. */
export const BYTES_COST = 200;
/** Measured: an event of a hub as long as one subscriber waits for it. */
export const EVENT_COST = 200;
/** Measured: the promises of a chunk that waits for the chunk before it. */
export const PROMISE_COST = 700;

/**
 * What happens when more waits for a client than `queue` allows.
 *
 * - `disconnect`: the client is disconnected. It can resume after the last id that it received.
 * - `drop-oldest`: the items that have waited longest are dropped until the new one fits.
 * - `drop-newest`: items that do not fit are dropped.
 */
export type OverflowPolicy = 'disconnect' | 'drop-oldest' | 'drop-newest';

/** Counts what a client was not sent because it is too slow. */
export interface Losses {
  /** The number of chunks. */
  dropped: number;
  /** The number of `lagged` events that told the client. */
  lagged: number;
}
