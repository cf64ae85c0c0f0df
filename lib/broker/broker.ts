import type { Check } from '../util/checks.js';
import type { BrokerRoster } from './roster.js';

/** A published event as a broker stores it: strings only, so that any store can hold it. */
export interface BrokerEntry {
  /** The data that was published. See `encoding`. */
  readonly data: string;
  /** The form of `data`: JSON text, the published string itself, or bytes as base64. */
  readonly encoding: 'json' | 'text' | 'base64';
  /** The topic that it was published to. Absent if it has none. */
  readonly topic?: string;
  /** The type that it was published with. Absent if it has none. */
  readonly type?: string;
  /** The key that it was published with. Absent if it has none. */
  readonly key?: string;
  /**
   * Identifies the entry, so that a caller who does not know whether it was appended can append it again: see `onceWindow` of {@link Broker}.
   * It is not part of the record.
   */
  readonly once?: string;
}

/** A position in a log. */
export interface BrokerPosition {
  /**
   * Identifies the log as long as its offsets are valid: 1 to 32 characters of `A–Z a–z 0–9 _`. A log that has lost its newest records,
   * or its offset, starts a new epoch: without the records of the earlier one, and with a name that it never had before.
   */
  readonly epoch: string;
  /** Increases by one with every record of the epoch, from 1, without gaps. 0: the epoch has no record yet. */
  readonly offset: number;
}

/** An entry with its position in the log. */
export interface BrokerRecord extends Omit<BrokerEntry, 'once'>, BrokerPosition {
  /** The time at which it was appended, in milliseconds since 1970. */
  readonly time: number;
  /** Only in a log with a history for each topic: the offset of the record before it in its topic. 0: the log has none before it, or not any more. */
  readonly previous?: number;
}

/** How many records of a log are kept, and for how long, so that clients can resume. */
export interface BrokerRetention {
  /** The maximum number of records that `read()` returns; older ones are removed. 0: none. A broker may keep more, for its tails. */
  readonly limit: number;
  /** The time after which a record is removed, in milliseconds. */
  readonly ttl: number;
}

/** A running `tail()` of a log: its listener receives every record after this position. */
export interface BrokerTail extends BrokerPosition {
  /** Ends the tail. The listener receives nothing after this call. */
  stop(): Promise<void> | void;
}

/**
 * Receives the records of a log, in order.
 * @param position where the log ends now. A broker passes it, with no records, if the log ends elsewhere than after the last record that it
 * delivered: the log has begun a new epoch, or it has records that the broker did not deliver
 */
export type BrokerListener = (records: readonly BrokerRecord[], position?: BrokerPosition) => void;

/** Whether a broker can reach its store. */
export interface BrokerStatus {
  /** Whether the store can be reached. */
  readonly connected: boolean;
  /** Since when, in milliseconds since 1970. */
  readonly since: number;
  /** The age, in milliseconds, of the oldest record that is known to be in a log and was not delivered to its tails yet. 0: there is none. */
  readonly behindMs: number;
}

/**
 * Stores the logs of hubs, either in the memory of the process ({@link MemoryBroker}), or on a server that several processes share. Each hub
 * has one log, with the name of the hub.
 *
 * To write your own, implement the five required methods, and test them with `brokerContract()` of `nestjs-streaming/testing`. The guide "Write a
 * broker" says what a broker on another machine has to take care of.
 */
export interface Broker {
  /**
   * How long the broker remembers `once` of an entry, in milliseconds. If an entry has the same `once` as an earlier one of its log, the broker
   * does not append it, and `append()` resolves to the position of the earlier one, also if another process has appended that one, or if its record
   * was removed because of the retention. A log that begins a new epoch forgets them all. `undefined`: the broker cannot do this, and receives no
   * entries with `once`.
   */
  readonly onceWindow?: number;

  /** Keeps figures of every process. `undefined`: processes exchange them through a log. */
  readonly roster?: BrokerRoster;

  /**
   * Opens a log, and creates it if it does not exist. Called before any other method for this log. If the log is open, also in another process,
   * the retention of the newest call applies from now on.
   * @param log the name of the log
   */
  open(log: string, retention: BrokerRetention): Promise<void>;

  /**
   * Appends an entry, at most once. Entries of one caller keep their order, also if the caller does not wait for each promise before the next
   * call. Rejects after a time limit of the broker if its store does not answer.
   * @returns the position of the record
   * @throws `StreamError` with the code `broker-unavailable`, if the entry was not appended and will not be; `broker-busy`, at once, if too many
   * entries wait; `publish-unknown`, if the entry may or may not be appended
   */
  append(log: string, entry: BrokerEntry): Promise<BrokerPosition>;

  /**
   * Calls a listener with every record that any process appends from now on, in order and once. If a record has another epoch, or an
   * offset that is not one more than the offset before, the listener knows that it has missed records.
   *
   * If the connection to the store is lost, the tail continues once there is another, and delivers the records that were appended in between, or
   * calls the listener with the position where the log ends: without waiting for the next record, since there may be none for a long time. A tail
   * may skip records only if they were removed because of the retention when it was more than 256 records behind.
   *
   * @param listener never throws. Its return value is ignored
   * @returns the position of the last record before the first one that the listener receives
   */
  tail(log: string, listener: BrokerListener): Promise<BrokerTail>;

  /**
   * Returns the records after an offset, oldest first and without gaps: at most `count`, and at least one if there is one. If the record
   * that follows `after` was removed, the result starts with the oldest record that is kept. All records belong to the current epoch.
   */
  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]>;

  /** Releases everything: connections, timers, listeners. Called once, after all other methods. Does not wait for a store that does not answer. */
  close(): Promise<void>;

  /** Returns whether the store can be reached. Not needed for a broker without a connection. */
  status?(): BrokerStatus;
}

/** Returns the status of a broker, or `undefined` if it has none. A broker that cannot say its status is not connected. */
export function statusOf(broker: Broker): BrokerStatus | undefined {
  try {
    return broker.status?.();
  } catch {
    return { connected: false, since: Date.now(), behindMs: 0 };
  }
}

const METHODS: Readonly<Record<'open' | 'append' | 'tail' | 'read' | 'close', true>> = {
  open: true,
  append: true,
  tail: true,
  read: true,
  close: true,
};

/** Returns an error message for a value without the methods of a broker, or `undefined`. */
export const broker: Check = (value) =>
  typeof value === 'object' &&
  value !== null &&
  Object.keys(METHODS).every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
    ? undefined
    : `must be a Broker, which has the methods ${Object.keys(METHODS).join(', ')}`;
