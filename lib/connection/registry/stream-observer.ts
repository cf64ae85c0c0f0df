import type { StreamCloseReason } from '../../util/close-reason.js';
import type { MeteredStream } from './stream-tally.js';

export interface ObservedStream extends MeteredStream {
  readonly id: string;
}

/** Who is told what becomes of streams. */
export interface StreamObserver {
  /** The handler is about to be called: in the context of the request. */
  began(stream: ObservedStream): void;
  /** The head is on its way, so many milliseconds later. */
  opened(stream: ObservedStream, timeToFirstByte: number): void;
  /** It is over, so many milliseconds after it began. */
  ended(stream: ObservedStream, reason: StreamCloseReason, duration: number): void;
}
