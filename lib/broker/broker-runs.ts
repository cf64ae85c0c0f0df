import type { Broker, BrokerEntry, BrokerPosition } from './broker.js';

/** The condition of {@link BrokerRuns.create} and {@link BrokerRuns.appendAll}. */
export interface BrokerCondition {
  /** The position of the last record that the log must have. Default: no condition. */
  readonly after?: BrokerPosition;
}

/**
 * What a broker needs beyond {@link Broker}, so that runs can be registered: logs that are created once, and that expire. Its methods stand beside
 * those of `Broker`, in the same object.
 *
 * A log of a run exists from `create()` until it is dropped or expires. It needs no `open()`, has no retention, and keeps all its records. Any
 * process may use it, also while another one does:
 * - `read()` of a log that does not exist returns no records.
 * - `tail()` of a log that does not exist resolves to the offset 0 and an empty epoch. Its listener receives the records of the log once it is created, or
 *   the position where it ends.
 * - A log that is created again has a new epoch. Its tails continue with it.
 * - `append()` is not used.
 */
export interface BrokerRuns {
  /**
   * Creates a log with its first records. Of several calls at the same time, in any process, one succeeds.
   *
   * @param entries at least one
   * @param ms the time after which the log expires, in milliseconds, from now on
   * @param condition `after`: the log must exist, and end at this position. It is replaced. Without a condition, it must not exist
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
   * Appends all entries, one after the other and without others between them, or none. Calls of one caller keep their order.
   *
   * @param condition `after`: the log must end at this position
   * @returns the position of the last record, or `false` if the log does not exist, or the condition is not met. Nothing is appended then
   * @throws `StreamError` as `append()` of a broker does
   */
  appendAll(log: string, entries: readonly BrokerEntry[], condition?: BrokerCondition): Promise<BrokerPosition | false>;

  /**
   * Sets the time after which a log expires, in milliseconds from now on. An expired log does not exist any more.
   * @returns whether the log exists
   */
  expire(log: string, ms: number): Promise<boolean>;

  /** Removes a log. Does nothing if it does not exist. */
  drop(log: string): Promise<void>;
}

const METHODS: Readonly<Record<keyof BrokerRuns, true>> = { create: true, appendAll: true, expire: true, drop: true };

/** Returns whether a broker can have runs. */
export function hasRuns(broker: Broker): broker is Broker & BrokerRuns {
  return Object.keys(METHODS).every(
    (name) => typeof (broker as Partial<BrokerRuns>)[name as keyof BrokerRuns] === 'function',
  );
}
