import type { StreamCloseReason } from '../util/close-reason.js';
import type { Losses } from '../util/queue-limits.js';
import type { StreamConnection } from './stream-connection.js';

/** An open stream: the members that the application uses besides the public ones. Times are in milliseconds, on the clock of the streams. */
export interface OpenStream extends StreamConnection {
  /** When the handler was called. */
  readonly beganAt: number;
  /** When the head was sent; `undefined` before. */
  readonly openedAt: number | undefined;
  readonly body: { readonly chunks: number; readonly bytes: number; readonly lost: Readonly<Losses> | undefined };
  /** The reader of its source. `lastId` is the id of the last event that the client received, if it is known. */
  readonly reader: { readonly lastId?: string | undefined } | undefined;
  /** Whether it never ends by itself. */
  readonly endless: boolean;
  /**
   * Does what is due. The clock calls it with every tick.
   * @param now the time without gaps
   * @param clock the time with them
   * @param gap how long the process did not run before this tick
   */
  tick(now: number, clock: number, gap: number): void;
  /** Ends the stream well. Resolves once it is over. */
  end(reason: StreamCloseReason): Promise<void>;
  /** Drops the client at once. */
  cut(reason: StreamCloseReason): void;
  /** Sends what tells the client that the application is closing. */
  announceShutdown(retry: number | undefined): void;
}

/** The registry of an application, as its streams see it. */
export interface RegistryPort {
  readonly clock: {
    /** Returns the time of the last tick, without gaps. */
    now(): number;
    /** Reads the time. */
    read(): number;
    /** Makes ticks fine enough for a duration. */
    observe(duration: number): void;
  };
  /** The handler is about to be called. */
  add(stream: OpenStream): void;
  /** The head was sent. Returns the time. */
  opened(stream: OpenStream): number;
  /** The stream is over. */
  delete(stream: OpenStream, reason: StreamCloseReason): void;
}
