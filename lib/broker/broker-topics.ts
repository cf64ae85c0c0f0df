import type { Broker, BrokerPosition, BrokerRecord, BrokerRetention } from './broker.js';

/** How many records of each topic of a log are kept, and for how long. */
export interface TopicRetention extends BrokerRetention {
  /** Whether the log is also kept as a whole, with the same `limit` and `ttl`, for `tail()` and `read()`. */
  readonly all: boolean;
}

/** Which records of a topic a caller wants to read. */
export interface TopicRequest {
  readonly topic: string;
  /** The records with a higher offset are wanted. */
  readonly after: number;
}

/** Records of a topic. */
export interface TopicRecords {
  /** Oldest first, without gaps, and each with `previous`. The oldest ones may be missing: see `completeAfter`. */
  readonly records: readonly BrokerRecord[];
  /** Every record of the topic with a higher offset than this is still in the log. It may be higher than the smallest such offset. */
  readonly completeAfter: number;
  /** Whether the topic has records after these, so that they have to be read with another call. */
  readonly more: boolean;
}

/** The answer to {@link BrokerTopics.readTopics}. */
export interface TopicPage {
  /** Where the log ended when it was read. */
  readonly position: BrokerPosition;
  /** An element for each request, in the order of the requests. All records belong to the epoch of `position`. */
  readonly topics: readonly TopicRecords[];
}

/** Receives what a {@link BrokerTopicTail} delivers. Its methods never throw. */
export interface BrokerTopicListener {
  /**
   * Called with records of the topics that were added, each with `previous`. All calls together deliver them in the order of their offsets, each once.
   */
  onRecords(records: readonly BrokerRecord[]): void;
  /**
   * Called with a position up to which all records of the added topics were delivered. While any process appends to the log, it is called at least
   * once a second; and within 5 seconds after the last record, with the position of that record.
   */
  onReached(position: BrokerPosition): void;
  /**
   * Called when records up to a position may not have been delivered, because the connection to the store was lost, or because the log has begun a
   * new epoch. The caller reads the records up to it. All records after it are delivered, without another call of `add()`, and none of them before this
   * call. A record whose `previous` was not delivered has the same meaning for its topic.
   */
  onMissed(position: BrokerPosition): void;
}

/** A running `tailTopics()`. Its position is the one at which it began. */
export interface BrokerTopicTail extends BrokerPosition {
  /**
   * Adds topics. A topic that was added already stays.
   *
   * @returns a position. When the promise resolves, the listener has received all records up to it of the topics that were added before. It will receive
   * all records after it, of the new topics too. It may receive some records of the new topics that precede it
   * @throws `StreamError` with the code `broker-unavailable`. The call can be repeated
   */
  add(topics: readonly string[]): Promise<BrokerPosition>;
  /** Removes topics. Their records are not delivered any more, and cost this process nothing. */
  delete(topics: readonly string[]): void;
  /** Ends the tail. The listener receives nothing after this call. */
  stop(): Promise<void> | void;
}

/**
 * What a broker needs beyond {@link Broker}, so that hubs can have a history for each topic (`history: { per: 'topic' }`). Its methods stand beside those
 * of `Broker`, in the same object.
 *
 * The log has one sequence of offsets for all topics, which increase, and may have gaps. Its records are kept by topic: each topic has the newest `limit`
 * records, each for `ttl` milliseconds. Every record names the record before it in its topic (`previous`), so that a missing one is noticed. A topic
 * needs no declaration. A topic without records, and a topic that no process tails, costs nothing.
 *
 * - `append()` of the broker appends to such a log too, and every entry has a topic. `once` works as in any other log.
 * - A log that has lost its newest records of any topic begins a new epoch.
 * - `tail()` and `read()` of the broker are used for such a log only if it was opened with `all`. There, offsets have no gaps.
 */
export interface BrokerTopics {
  /**
   * Opens a log, and creates it if it does not exist. Called before any other method for this log, instead of `open()`. If the log is open, the retention
   * of the newest call applies from now on.
   */
  openTopics(log: string, retention: TopicRetention): Promise<void>;

  /** Starts to receive records of topics, of none at first. */
  tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail>;

  /**
   * Reads records of topics, in one step for all requests: what is read is the state of the log at `position`. For each request, it returns the records
   * after an offset: at most `count`, and at least one if there is one. An empty list of requests asks only for the position.
   * @throws `StreamError` with the code `broker-unavailable`. The call can be repeated
   */
  readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage>;
}

const METHODS: Readonly<Record<keyof BrokerTopics, true>> = { openTopics: true, tailTopics: true, readTopics: true };

/** Returns whether a broker can keep a history for each topic. */
export function hasTopics(broker: Broker): broker is Broker & BrokerTopics {
  return Object.keys(METHODS).every(
    (name) => typeof (broker as Partial<BrokerTopics>)[name as keyof BrokerTopics] === 'function',
  );
}
