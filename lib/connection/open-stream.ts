import type { ServerCloseCode, StreamCloseReason } from '../util/close-reason.js';
import type { StreamLabels } from '../util/labels.js';
import type { Losses } from '../util/queue-limits.js';
import type { StreamConnection } from './stream-connection.js';

/** An open stream, with the members that are not public. Times are in milliseconds, on the clock of the streams. */
export interface OpenStream extends StreamConnection {
  /** When the handler was called. */
  readonly beganAt: number;
  /** When the head was sent; `undefined` before. */
  readonly openedAt: number | undefined;
  readonly body: {
    readonly chunks: number;
    readonly bytes: number;
    readonly lost: Readonly<Losses> | undefined;
    /** Whether the client can take no more. */
    readonly blocked: boolean;
    /** When the client was last seen to take something, on the clock without gaps. */
    readonly progressAt: number;
  };
  /** The reader of its source. `lastId` is the id of the last event that the client received, if it is known. */
  readonly reader: { readonly lastId?: string | undefined } | undefined;
  /** The trace context of the run that the stream shows. */
  readonly trace: string | undefined;
  /** Whether the stream never ends by itself. */
  readonly endless: boolean;
  /** Its place in the clock, which sets it. */
  place: number;
  /**
   * Handles timeouts and heartbeats. Called by the clock at a tick.
   * @param now the time without gaps
   * @param clock the time with gaps
   * @param gap how long the process was suspended before this tick
   * @param share how early a heartbeat may be sent, from 0 (in time) to 1, so that those of many streams are not all due at one tick
   * @returns the time, without gaps, before which it need not be called again, unless the process is suspended, or `clock.wake()` is called with the stream
   */
  tick(now: number, clock: number, gap: number, share: number): number;
  /** Ends the stream cleanly. Resolves once it has ended. */
  end(reason: StreamCloseReason): Promise<void>;
  /** Disconnects the client immediately. */
  cut(reason: StreamCloseReason): void;
  /** Informs the client that the application is closing: sends the event `shutdown`, and calls `onShutdown` hooks. */
  announceShutdown(retry: number | undefined): void;
}

/** A close of all streams with certain labels. */
export interface LabelClose {
  readonly code: ServerCloseCode;
  /** Whether it was so short a time ago that a request may have passed its guard before. */
  readonly isNew: boolean;
}

/** The interface of the registry of an application to its streams. */
export interface RegistryPort {
  readonly clock: {
    /** Returns the time of the last tick, without gaps. */
    now(): number;
    /** Reads the time. */
    read(): number;
    /** Reads the time of day, in milliseconds since the epoch. */
    date(): number;
    /** Makes the clock tick often enough for a duration. */
    observe(duration: number): void;
    /** Calls `tick()` of a stream at the next tick, since something may be due earlier than it has returned. */
    wake(stream: Pick<OpenStream, 'place'>): void;
  };
  /** Returns whether a new stream with these labels is refused, because such streams were just closed. */
  refuses(labels: StreamLabels): boolean;
  /** Called before the handler is called. */
  add(stream: OpenStream): void;
  /** Returns the newest close of the streams with these labels, if there was one in the last minute. */
  closeOf(labels: StreamLabels): LabelClose | undefined;
  /** Called when the head is fixed. Returns the time. */
  opened(stream: OpenStream): number;
  /** Called when the stream has ended. */
  delete(stream: OpenStream, reason: StreamCloseReason): void;
}
