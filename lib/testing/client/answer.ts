import type { EventFields } from './body/streamed-event.js';

/** Whoever reads an answer. */
export interface AnswerListener {
  onEvents(events: readonly EventFields[]): void;
  /** `failure`: why no more can be read. */
  onEnd(how: 'complete' | 'truncated', failure?: Error): void;
}

/** What a request was answered with, whatever the protocol. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Starts to read. */
  listen(listener: AnswerListener): void;
  /** Stops and goes on reading from the socket. */
  pause(): void;
  resume(): void;
  /** Breaks the connection off, without a word. */
  destroy(): void;
}
