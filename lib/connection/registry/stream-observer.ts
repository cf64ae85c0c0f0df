import type { StreamCloseReason } from '../../util/close-reason.js';
import type { StreamLabels } from '../../util/labels.js';
import type { MeteredStream } from './stream-tally.js';

export interface ObservedStream extends MeteredStream {
  readonly id: string;
  readonly request: unknown;
  readonly labels: StreamLabels;
  /** The trace context of the run that the stream shows. */
  readonly trace: string | undefined;
}

/** Is notified about streams. */
export interface StreamObserver {
  /** Called before the handler is called, in the async context of the request. */
  began(stream: ObservedStream): void;
  /** Called when the head is sent. `timeToFirstByte` is the time since the handler was called, in milliseconds. */
  opened?(stream: ObservedStream, timeToFirstByte: number): void;
  /** Called when the stream has ended. `duration` is the time since the handler was called, in milliseconds. */
  ended(stream: ObservedStream, reason: StreamCloseReason, duration: number): void;
}
