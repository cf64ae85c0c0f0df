import type { Check } from '../util/checks.js';

/** What is published, as a broker keeps it: short strings only, so that any store can hold it. */
export interface BrokerEntry {
  /** What was published. See `encoding`. */
  readonly data: string;
  /** What `data` is: JSON text, a string as it was published, or the base64 of bytes. */
  readonly encoding: 'json' | 'text' | 'base64';
  readonly topic?: string;
  readonly type?: string;
  readonly key?: string;
}

/** A place in a log. */
export interface BrokerPosition {
  /**
   * The life of the log: 1 to 32 characters of `A–Z a–z 0–9 _`. A log that has lost its newest records, or its count,
   * begins another one.
   */
  readonly epoch: string;
  /** Counts up by one from 1, without gaps, as long as the epoch lasts. 0: nothing was ever appended. */
  readonly offset: number;
}

/** An entry with its place in the log. */
export interface BrokerRecord extends BrokerEntry, BrokerPosition {
  /** When it was appended, in milliseconds since 1970. */
  readonly time: number;
}

/** What is kept of a log for those who come back. */
export interface BrokerRetention {
  /** At most so many of the newest records. 0: none. */
  readonly limit: number;
  /** Only records younger than this, in milliseconds. */
  readonly ttl: number;
}

/** A listener at the end of a log: it is told of every record after this position. */
export interface BrokerTail extends BrokerPosition {
  /** Ends it. No record is told any more as soon as it is called. */
  stop(): Promise<void> | void;
}

/**
 * Where the logs of hubs live: in the memory of the process ({@link MemoryBroker}), or on a server that several processes
 * share. A log has the name of its hub.
 *
 * To make your own, implement these five methods and run `brokerContract()` of `nestjs-streaming/testing` over it.
 */
export interface Broker {
  /** Opens a log, making it if it is not there; does nothing for one that is open. Called before any other method. */
  open(log: string, retention: BrokerRetention): Promise<void>;

  /**
   * Appends an entry. Entries of one caller keep their order, also when it does not wait in between.
   * @returns where it stands
   * @throws when it is not in the log, or cannot be known to be
   */
  append(log: string, entry: BrokerEntry): Promise<BrokerPosition>;

  /**
   * Has a listener told of every record that is appended from now on, by whomever, in order and once. A listener that is
   * told of an offset which does not follow the one before, or of another epoch, knows that it has missed something.
   *
   * @param listener does not throw, and nobody waits for it
   * @returns where it begins
   */
  tail(log: string, listener: (records: readonly BrokerRecord[]) => void): Promise<BrokerTail>;

  /**
   * The records after an offset, oldest first and without gaps: at most `count`, and at least one if there is any. Where
   * the one that follows `after` was evicted, it begins with the oldest there is.
   */
  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]>;

  /** Lets go of everything: connections, timers, listeners. Called once, after anything else. */
  close(): Promise<void>;
}

const METHODS: Readonly<Record<keyof Broker, true>> = { open: true, append: true, tail: true, read: true, close: true };

/** Checks that a value has the methods of a broker. */
export const broker: Check = (value) =>
  typeof value === 'object' &&
  value !== null &&
  Object.keys(METHODS).every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
    ? undefined
    : `must be a Broker, which has the methods ${Object.keys(METHODS).join(', ')}`;
