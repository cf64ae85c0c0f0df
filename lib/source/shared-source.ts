import type { HubEvent } from '../event/hub-event.js';
import type { StreamFormat } from '../format/format.js';
import type { SharedChunk } from '../transport/shared-chunk.js';
import type { Losses, QueueLimits } from '../util/queue-limits.js';

/** A connection as a shared source sees it. */
export interface SharedPort {
  /** The format in which the connection takes bytes that are shared with others. `undefined`: chunks go through {@link emit} one by one. */
  readonly sharedFormat: StreamFormat | undefined;
  /** Counts what is dropped. */
  readonly losses?: Losses;
  /** Whether there is room for more. If not, `resume()` is called when there is. */
  readonly ready: boolean;
  /** Writes bytes in the shared format. Returns whether there is room for more. */
  writeShared(chunk: SharedChunk): boolean;
  /**
   * Writes a chunk. Returns a promise if the next chunk has to wait for it.
   * @param bytes what it counts for in a queue
   */
  emit(chunk: HubEvent, bytes: number): void | PromiseLike<unknown>;
  /** Writes a notice of the hub. Hooks do not see it. */
  notify(notice: HubEvent): void;
  /** Sends the client its position, if the format can express it. */
  sendPosition(id: string): void;
  /** Called when the history is written: everything after it is new. */
  onCaughtUp?(): void;
  complete(): void;
  fail(error: unknown): void;
  /** Disconnects the client, because more waits for it than its queue allows. */
  overflow(): void;
}

/** A source that many connections read at the same time. It keeps, or drops, what a slow client cannot take. */
export interface SharedSource {
  readonly kind: 'shared';
  /** It never ends by itself, only when it is closed. */
  readonly endless: true;
  /** The id up to which the client has everything, if no event that was sent to it has that id. */
  readonly position: string | undefined;
  /** The limits of what may wait for one client. */
  readonly queue: QueueLimits;
  connect(port: SharedPort): void;
  /** Called when there is room: for the first time, or again. */
  resume(): void;
  /** Called when the port takes another format than before. */
  refresh(): void;
  /** Delivers what is available by now. Returns the id that the client can resume from then; `undefined` if there is none yet. */
  catchUp(): string | undefined;
  /** Stops the source, as with a pulled source. It may not have started yet. */
  stop(): void;
}

/** The key of the method that returns the {@link SharedSource} of a value that a handler returns. */
export const SHARED_SOURCE: unique symbol = Symbol('nestjs-streaming:shared-source');
