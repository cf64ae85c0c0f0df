import type { OpenStream } from '../connection/open-stream.js';
import { highest } from './highest.js';
import { descriptionOf, type StreamDescription } from './stream-description.js';

const SHOWN = 5;
/** A client that reads takes something more often than this, in milliseconds. The clock of the streams is exact to a second. */
const SLOW_MS = 2_000;
/** Less than this, in bytes, waits also for a client that reads. */
const LATE_BYTES = 131_072;

/** A client that does not keep up, as the page shows it. */
export interface SlowClient extends StreamDescription {
  /** In bytes. */
  readonly queue: number;
  /** How long the client has taken nothing although something waits, in seconds. */
  readonly stalled: number;
  /** The number of chunks that were dropped because the client is slow. */
  readonly dropped: number;
}

/** Returns the number of clients that do not keep up, and the slowest of them. */
export function slowClientsOf(
  streams: readonly OpenStream[],
  now: number,
): { readonly count: number; readonly slowest: readonly SlowClient[] } {
  const stalledFor = ({ body }: OpenStream): number => (body.blocked ? Math.max(0, now - body.progressAt) : 0);
  const droppedFor = ({ body }: OpenStream): number => body.lost?.dropped ?? 0;
  const slow = streams.filter(
    (stream) => stalledFor(stream) >= SLOW_MS || stream.bufferedAmount >= LATE_BYTES || droppedFor(stream) > 0,
  );
  const slowest = highest(slow, SHOWN, stalledFor, ({ bufferedAmount }) => bufferedAmount).map((stream) => ({
    ...descriptionOf(stream),
    queue: stream.bufferedAmount,
    stalled: Math.floor(stalledFor(stream) / 1000),
    dropped: droppedFor(stream),
  }));
  return { count: slow.length, slowest };
}
