/** Figures by name. */
type Figures = ReadonlyMap<string, number>;

/**
 * Keeps a few figures of every process for a limited time. `hub.count()` and `StreamRegistry.close()` use it to know what other processes have.
 *
 * A {@link Broker} may provide it as its property `roster`. If it does not, processes append their figures to a log of the broker, which costs more.
 */
export interface BrokerRoster {
  /**
   * Stores figures of a process, in addition to those that it has stored before.
   *
   * @param log the log to which the figures belong. It need not be open
   * @param process identifies the process: 1 to 32 characters of `A–Z a–z 0–9 _`
   * @param figures whole numbers, by name. A name is a text of 1 to 1100 bytes without control characters. A figure replaces the earlier one with the
   * same name, and 0 removes it. Empty if no figure has changed
   * @param ttl the time, in milliseconds, after which the process and all its figures in this log are removed, unless this method is called again
   * before. 0: they are removed now
   * @returns whether the process was in the roster of the log before the call. If not, the caller stores all its figures again, since those of earlier
   * calls are lost
   * @throws if the broker cannot store them, or cannot know whether it has
   */
  put(log: string, process: string, figures: Figures, ttl: number): Promise<boolean>;

  /**
   * Returns figures of all processes in the roster of a log, by process. The figures of a process that has none with these names are an empty map.
   * @param names the names of the figures to return
   */
  list(log: string, names: readonly string[]): Promise<ReadonlyMap<string, Figures>>;
}
