import type { Step } from '../util/iteration.js';
import type { SharedSource } from './shared-source.js';

/**
 * A source the client paces: it is asked for the next chunk only when there is room for it.
 * A step that needs no waiting is answered without a promise.
 */
export interface PullSource {
  readonly kind: 'pull';
  pull(): Step | PromiseLike<Step>;
  /** Releases what it reads from. Called at most once, and only before it has ended by itself. */
  stop(): unknown;
}

/** Receives the chunks of a {@link PushSource}. */
export interface SourceSink {
  next(chunk: unknown): void;
  error(error: unknown): void;
  complete(): void;
  /** Ends this source, but not the stream: another one follows. */
  detach(): void;
}

/** A source that cannot be paced. Chunks that the client has not read yet wait in the connection's bounded queue. */
export interface PushSource {
  readonly kind: 'push';
  start(sink: SourceSink): void;
  /** As in {@link PullSource}. */
  stop(): unknown;
}

/** The status and headers of a source that has its own, such as a web `Response`. */
export interface SourceHead {
  /** Wins over the status set before. Default: that one. */
  readonly status?: number;
  /** They win over those set before. */
  readonly headers: Iterable<readonly [string, string | readonly string[]]>;
  /** Sent where none of that name is set. Names are in lower case. */
  readonly defaults?: Readonly<Record<string, string>>;
}

/** Anything a method may return, read in one way. Bytes of a source with a head are sent as they are. */
export type Source = ((PullSource | PushSource) & { readonly head?: SourceHead }) | SharedSource;
