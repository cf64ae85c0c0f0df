import type { Broker } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { RunLog } from './run-log.js';

/** How long a log stays open that is not used any more, in milliseconds: whoever has started or joined a run is about to read it. */
const LINGER_MS = 1_000;

interface OpenLog {
  readonly log: Promise<RunLog>;
  uses: number;
  timer: NodeJS.Timeout | undefined;
}

/** The logs that this process uses. Each is open once. */
export class RunLogs {
  private readonly open = new Map<string, OpenLog>();

  /** @param tagOf returns the first part of the ids of the chunks in a log */
  constructor(
    private readonly broker: Broker & BrokerRuns,
    private readonly tagOf: (log: string) => string,
  ) {}

  /** Opens a log, unless it is open. Each call has to be followed by {@link release}, unless it rejects. */
  async acquire(name: string): Promise<RunLog> {
    const entry = this.open.get(name) ?? this.add(name);
    entry.uses++;
    clearTimeout(entry.timer);
    try {
      return await entry.log;
    } catch (error) {
      entry.uses--;
      if (this.open.get(name) === entry) {
        this.open.delete(name);
      }
      throw error;
    }
  }

  /** Counts one use less. The log is closed some time after its last use. */
  release(name: string): void {
    const entry = this.open.get(name);
    if (entry && --entry.uses === 0) {
      entry.timer = setTimeout(() => this.close(name, entry), LINGER_MS);
      entry.timer.unref();
    }
  }

  /** Calls a function with a log, as it is now. */
  async use<R>(name: string, call: (log: RunLog) => Promise<R>): Promise<R> {
    const wasOpen = this.open.has(name);
    const log = await this.acquire(name);
    try {
      if (wasOpen) {
        // Another process may have changed it just now. And a log that is open here is not told that it has expired.
        await log.sync();
      }
      return await call(log);
    } finally {
      this.release(name);
    }
  }

  /** @param before is called with each log before it is closed */
  async closeAll(before: (log: RunLog) => Promise<void>): Promise<void> {
    await Promise.all(
      [...this.open].map(async ([name, entry]) => {
        await entry.log.then(before).catch(() => undefined);
        this.close(name, entry);
      }),
    );
  }

  private add(name: string): OpenLog {
    const entry: OpenLog = { log: RunLog.open(name, this.broker, this.tagOf(name)), uses: 0, timer: undefined };
    this.open.set(name, entry);
    return entry;
  }

  private close(name: string, entry: OpenLog): void {
    clearTimeout(entry.timer);
    this.open.delete(name);
    entry.log.then(
      (log) => log.close(),
      () => undefined,
    );
  }
}
