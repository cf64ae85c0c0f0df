import type { ObservedStream, StreamObserver } from '../connection/registry/stream-observer.js';
import { describeError } from '../route/error-body.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import { kindOf, textOf } from '../util/error-text.js';
import { ErrorLog } from './error-log.js';
import { clientOf } from './incoming.js';
import { descriptionOf, type StreamDescription, short } from './stream-description.js';

const KEPT = 50;
/** The lowest status of errors that the client has not caused. */
const SERVER_ERROR = 500;

/** A stream that has ended, as the page shows it. */
export interface EndedStream extends StreamDescription {
  /** Counts the streams that have ended, from 1. */
  readonly n: number;
  /** When it ended, in milliseconds since 1970. */
  readonly at: number;
  /** In milliseconds. */
  readonly duration: number;
  readonly chunks: number;
  readonly bytes: number;
  readonly code: StreamCloseReason['code'];
  /** The class and message of the error, if there was one. */
  readonly error: string;
}

/** Keeps the streams that ended last, and the errors of streams. It does so without a viewer too: people look when something has happened. */
export class RecentStreams implements StreamObserver {
  readonly errors = new ErrorLog();
  private readonly kept: EndedStream[] = [];
  /** The addresses of open clients: a socket that is closed may not know it any more. */
  private readonly clients = new Map<ObservedStream, string>();
  private count = 0;

  /** @param isOwn whether a stream is a feed of the console, which is not listed */
  constructor(private readonly isOwn: (stream: ObservedStream) => boolean) {}

  /** Returns the streams that ended last. The newest is the last. */
  newest(): readonly EndedStream[] {
    return [...this.kept];
  }

  began(stream: ObservedStream): void {
    this.clients.set(stream, clientOf(stream.request));
  }

  ended(stream: ObservedStream, { code, error }: StreamCloseReason, duration: number): void {
    const client = this.clients.get(stream) ?? '';
    this.clients.delete(stream);
    if (this.isOwn(stream)) {
      return;
    }
    if (code === 'error' && describeError(error).statusCode >= SERVER_ERROR) {
      this.errors.add(stream.route, error);
    }
    this.count++;
    this.kept.push({
      n: this.count,
      ...descriptionOf(stream, client),
      at: Date.now(),
      duration: Math.max(0, Math.round(duration)),
      chunks: stream.body.chunks,
      bytes: stream.body.bytes,
      code,
      error: error === undefined ? '' : short(`${kindOf(error)}: ${textOf(error)}`),
    });
    if (this.kept.length > KEPT) {
      this.kept.shift();
    }
  }
}
