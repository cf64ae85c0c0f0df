import type { Broker, BrokerEntry, BrokerPosition } from './broker.js';

/** The condition of {@link BrokerRuns.create} and {@link BrokerRuns.appendAll}. */
export interface BrokerCondition {
  /** The position of the last record that the log must have. Default: no condition. */
  readonly after?: BrokerPosition;
  /**
   * Only for `appendAll()`: if the entries are appended, the log expires that number of milliseconds later, as after `expire()`. Default: it expires when it would
   * have before.
   */
  readonly expire?: number;
}

/**
 * What a broker needs beyond {@link Broker}, so that runs can be registered: logs that are created once, and that expire. Its methods stand beside
 * those of `Broker`, in the same object.
 *
 * A log of a run exists from `create()` until it is dropped, expires, or is lost by the store. It needs no `open()`, has no retention, and keeps all its
 * records. Any process may use it, also while another one does. Its name begins with `~`, as no name of a hub does, and ends with `/` and the key of
 * the run: a store that is spread over several servers can keep the logs together that have the same text before the last `/`.
 *
 * - `read()` of a log that does not exist returns no records.
 * - `tail()` of a log that does not exist resolves to the offset 0 and an empty epoch. Its listener receives the records of the log once it is created.
 * - A listener is not called when its log is dropped or expires. If the log is created again, it has a new epoch: the listener receives its records,
 *   from offset 1 on. So it does when the log is replaced.
 * - If the store has lost the newest records of a log, the log ends at a lower offset, in the same epoch. A caller of `appendAll()` finds out by its
 *   condition. A listener that has received records which are lost is called with the position where the log ends, at the latest when the
 *   broker has connected again, and then with the records that follow this position.
 * - `append()` is not used.
 */
export interface BrokerRuns {
  /**
   * Creates a log with its first records. Of several calls at the same time, in any process, one succeeds.
   *
   * @param entries at least one
   * @param ms the time after which the log expires, in milliseconds, from now on
   * @param condition `after`: the log must exist, and end at this position. It is replaced: its records are removed, and it begins a new epoch. Without a
   * condition, it must not exist
   * @returns the position of the last record, or `false` if the condition is not met. Nothing is changed then
   * @throws `StreamError` as `append()` of a broker does
   */
  create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    condition?: BrokerCondition,
  ): Promise<BrokerPosition | false>;

  /**
   * Appends all entries, one after the other and without others between them, or none. Calls of one caller keep their order, also if the caller does
   * not wait for each promise before the next call.
   *
   * @param entries at least one
   * @param condition `after`: the log must end at this position. `expire`: sets the time after which the log expires, in the same step. Between two calls, the log might be
   * replaced by another process
   * @returns the position of the last record, or `false` if the log does not exist, or the condition is not met. Nothing is appended then
   * @throws `StreamError` as `append()` of a broker does
   */
  appendAll(log: string, entries: readonly BrokerEntry[], condition?: BrokerCondition): Promise<BrokerPosition | false>;

  /**
   * Sets the time after which a log expires, in milliseconds from now on. An expired log does not exist any more.
   * @returns whether the log exists
   * @throws `StreamError` with the code `broker-unavailable`. The call can be repeated
   */
  expire(log: string, ms: number): Promise<boolean>;

  /**
   * Removes a log. Does nothing if it does not exist.
   * @throws `StreamError` with the code `broker-unavailable`. The call can be repeated
   */
  drop(log: string): Promise<void>;
}

const METHODS: Readonly<Record<keyof BrokerRuns, true>> = { create: true, appendAll: true, expire: true, drop: true };

/** Returns whether a broker can have runs. */
export function hasRuns(broker: Broker): broker is Broker & BrokerRuns {
  return Object.keys(METHODS).every(
    (name) => typeof (broker as Partial<BrokerRuns>)[name as keyof BrokerRuns] === 'function',
  );
}
