import type { Socket } from 'node:net';
import type { HubEvent } from '../event/hub-event.js';
import type { StreamFormat } from '../format/format.js';
import type { DirectTotals, SharedChunk } from '../transport/shared-chunk.js';
import type { Losses, QueueLimits } from '../util/queue-limits.js';

/** The part of a connection that allows a shared source to write framed bytes to its socket directly, without a call for every chunk. */
export interface DirectPort {
  /** The clock of the streams. */
  readonly clock: { now(): number };
  /** The socket, if it may be written to directly now: nothing waits to be sent, and there is room. */
  readonly socket: Socket | undefined;
  /** Called before the source writes to the socket directly. From then on, the connection adds {@link SharedSource.sent} to its own figures, and subtracts `sent`, which is the total at this time. */
  beginDirect(sent: DirectTotals): void;
  /** Called when the source writes no longer to the socket directly. `sent` is what was sent by then. */
  endDirect(sent: DirectTotals): void;
  /** Called after {@link endDirect}, if the source has filled the socket. */
  onFull(): void;
}

/** The interface of a connection to a shared source. */
export interface SharedPort {
  /** The format in which the connection accepts shared bytes. `undefined` if each chunk has to be passed to {@link emit}. */
  readonly sharedFormat: StreamFormat | undefined;
  /** Counts the dropped chunks. */
  readonly losses?: Losses;
  /** Whether there is room for more. If not, `resume()` of the source is called when there is. */
  readonly ready: boolean;
  /** For connections with a socket of their own. */
  readonly direct?: DirectPort;
  /** Writes bytes in the shared format. Returns whether there is room for more. */
  writeShared(chunk: SharedChunk): boolean;
  /**
   * Writes a chunk. Returns a promise if the next chunk has to wait for it.
   * @param bytes the number of bytes for which it counts in a queue
   */
  emit(chunk: HubEvent, bytes: number): void | PromiseLike<unknown>;
  /** Writes a notice of the hub. Hooks do not see it. */
  notify(notice: HubEvent): void;
  /** Sends the client its position, if the format can express it. */
  sendPosition(id: string): void;
  /** Called when the history is written, and only new events follow. */
  onCaughtUp?(): void;
  complete(): void;
  fail(error: unknown): void;
  /** Disconnects the client, because more events wait for it than its queue allows. */
  overflow(): void;
}

/** A source whose chunks are shared by many connections, such as a subscription to a hub. It queues or drops chunks for slow clients itself. */
export interface SharedSource {
  readonly kind: 'shared';
  /** The source never ends by itself, only when it is closed. */
  readonly endless: true;
  /** The id up to which the client has received all events, if it is newer than the id of the last event that it was sent. */
  readonly position: string | undefined;
  /** The limits of the queue for one client. */
  readonly queue: QueueLimits;
  /** What it has written to the socket directly, if it does at present. */
  readonly sent?: DirectTotals | undefined;
  connect(port: SharedPort): void;
  /** Called when the port has room, for the first time or again. */
  resume(): void;
  /** Called when `sharedFormat` of the port has changed. */
  refresh(): void;
  /** Called before the connection itself writes something. The source then no longer writes to the socket directly. */
  endDirect?(): void;
  /** Delivers the events that are available now. Returns the id from which the client can then resume, or `undefined` if there is none yet. */
  catchUp(): string | undefined;
  /** Stops the source, which may not have started yet. See {@link PullSource.stop}. */
  stop(): void;
}
