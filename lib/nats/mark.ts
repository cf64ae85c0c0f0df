import type { BrokerPosition } from '../broker/broker.js';

/**
 * How many sequence numbers of a stream belong to one epoch. A log that may have lost its newest records begins the next epoch: the stream is purged up to
 * the first number of it, so that lost numbers are never used again, whoever does it, and however often. Up to 2^53, there are 32 768 epochs of 275 billion records.
 */
const EPOCH_LENGTH = 2 ** 38;

/** A place in a stream. */
export interface Mark {
  /** Identifies the stream, from its creation until it is deleted. */
  readonly id: string;
  /** A sequence number. */
  readonly seq: number;
}

/** Returns the sequence number after which the epoch of a message begins. */
export function startOf(seq: number): number {
  return seq - (seq % EPOCH_LENGTH);
}

/** Returns the sequence number after which the next epoch begins. */
export function nextStart(seq: number): number {
  return startOf(seq) + EPOCH_LENGTH;
}

export function isSameEpoch(a: Mark, b: Mark): boolean {
  return a.id === b.id && startOf(a.seq) === startOf(b.seq);
}

export function positionOf({ id, seq }: Mark): BrokerPosition {
  const start = startOf(seq);
  return { epoch: `${id}_${(start / EPOCH_LENGTH).toString(36)}`, offset: seq - start };
}
