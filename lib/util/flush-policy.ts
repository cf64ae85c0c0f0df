import { type Check, count, flag, keys, LONGEST_MS, milliseconds } from './checks.js';

/** Chunks are gathered for one write. */
export interface GatheringPolicy {
  /** Gathered chunks are sent once they have this number of bytes. */
  readonly bytes: number;
  /** Gathered chunks are sent at the latest after this number of milliseconds. */
  readonly ms: number;
  /**
   * Whether a chunk that follows a pause of at least `ms` is sent at once, as with `auto`. Only the chunks within `ms` after a write are gathered
   * then. Default: `false`, every chunk waits for others.
   */
  readonly leading?: boolean;
}

/** When gathered chunks are sent. */
export type FlushPolicy = 'auto' | 'each' | GatheringPolicy;

const leading: Check = (value) => (value === undefined ? undefined : flag(value));
const gathering = keys<GatheringPolicy>({ bytes: count, ms: milliseconds, leading }, true);

export const flushPolicy: Check = (value) =>
  value === 'auto' || value === 'each' || gathering(value) === undefined
    ? undefined
    : `must be "auto", "each" or { bytes, ms }, both above 0, "ms" at most ${LONGEST_MS} (24.8 days), perhaps with "leading: true"`;
