import type { HubEvent } from '../event/hub-event.js';
import type { StreamFormat } from '../format/format.js';
import type { SharedChunk } from '../transport/shared-chunk.js';
import type { QueueLimits } from '../util/queue-limits.js';

/** What a client was not given, because it is too slow. */
export interface Losses {
  /** How many chunks. */
  dropped: number;
  /** How often it was told. */
  lagged: number;
}

/** What a source that many connections read at once needs of each of them. */
export interface SharedPort {
  /** The format in which everyone can be given the same bytes. Nothing: chunks go through {@link emit} one by one. */
  readonly sharedFormat: StreamFormat | undefined;
  /** Where to count what is dropped. */
  readonly losses?: Losses;
  /** Whether there is room. When it comes, `resume()` is called. */
  readonly ready: boolean;
  /** Accepts bytes in the shared format. Whether there is still room. */
  writeShared(chunk: SharedChunk): boolean;
  /**
   * Takes a chunk; a promise when the next one has to wait for it.
   * @param bytes what it counts for in a queue
   */
  emit(chunk: HubEvent, bytes: number): void | PromiseLike<unknown>;
  /** Takes what the hub has to say itself, past the hooks. */
  tell(notice: HubEvent): void;
  /** Has the client remember where it is, if its format can say so. */
  mark(id: string): void;
  /** Hears that it was given what had happened before: what comes now is new. */
  caughtUp?(): void;
  complete(): void;
  fail(error: unknown): void;
  /** Gives up a client for which more waits than may. */
  overflow(): void;
}

/** A source that many connections read at once. It holds back, or drops, what a slow client cannot take. */
export interface SharedSource {
  readonly kind: 'shared';
  /** It ends when it is closed, and not by itself. */
  readonly endless: true;
  /** The id its client is at, if no event that was sent tells it. */
  readonly position: string | undefined;
  /** How much may wait for one client. */
  readonly queue: QueueLimits;
  connect(port: SharedPort): void;
  /** There is room: for the first time, or again. */
  resume(): void;
  /** What the port can take has changed. */
  refresh(): void;
  /** Gives what there is by now. The id its client is at then; nothing, if it has none to go on with yet. */
  catchUp(): string | undefined;
  /** As of a pulled source; also before it has begun. */
  stop(): void;
}

/** Makes a value that may be returned from a handler a {@link SharedSource}. */
export const SHARED_SOURCE: unique symbol = Symbol('nestjs-streaming:shared-source');
