import type { Step } from '../util/iteration.js';
import type { SharedSource } from './shared-source.js';

/**
 * A source that is paced by the client: `pull()` is called only when there is room for the next chunk.
 * If the step is available immediately, it is returned without a promise.
 */
export interface PullSource {
  readonly kind: 'pull';
  pull(): Step | PromiseLike<Step>;
  /** Releases the underlying object. Called at most once, and not after the source has ended by itself. */
  stop(): unknown;
  /** The trace context of what produces the chunks, if that does not belong to the request: see https://www.w3.org/TR/trace-context/#traceparent-header. */
  readonly trace?: string | undefined;
}

/** A pull source whose chunks have ids, so that a client can receive it in several long polls. */
export interface ResumableSource extends PullSource {
  /** The id at which the source begins. `undefined`: it cannot be read by long polls. */
  readonly resumesAfter: string | undefined;
  /** The number of bytes for which the last chunk counts in a queue. */
  readonly weight: number;
  /** Called when there is no next chunk yet. */
  onWait: (() => void) | undefined;
}

/** Receives the chunks of a {@link PushSource}. */
export interface SourceSink {
  next(chunk: unknown): void;
  error(error: unknown): void;
  complete(): void;
  /**
   * Ends this source, but not the stream: another one follows.
   * @param next what follows: what a method may return, after its promise has resolved
   */
  detach(next: unknown): void;
}

/** A source that cannot be paced. Chunks that the client has not read yet wait in the connection's bounded queue. */
export interface PushSource {
  readonly kind: 'push';
  start(sink: SourceSink): void;
  /** See {@link PullSource.stop}. */
  stop(): unknown;
}

/** The status and headers of a source that has its own, such as a web `Response`. */
export interface SourceHead {
  /** Replaces the status that was set before. Default: that status. */
  readonly status?: number;
  /** Replace the headers of the same name that were set before. */
  readonly headers: Iterable<readonly [string, string | readonly string[]]>;
  /** Headers that are sent unless the application has set them. Names are in lower case. */
  readonly defaults?: Readonly<Record<string, string>>;
}

/** The result of a method, in a form that can be read. The bytes of a source with a head are sent as they are. */
export type Source = ((PullSource | ResumableSource | PushSource) & { readonly head?: SourceHead }) | SharedSource;

/** The key of the method that returns the {@link Source} of a value of this package, such as a subscription to a hub. */
export const SOURCE: unique symbol = Symbol('nestjs-streaming:source');
