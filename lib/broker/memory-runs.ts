import { randomBytes } from 'node:crypto';
import { LONGEST_MS } from '../util/checks.js';
import type { BrokerEntry, BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from './broker.js';
import type { BrokerCondition, BrokerRuns } from './broker-runs.js';

/** The shortest time between two searches for expired logs, in milliseconds: each search looks at all logs. */
const SWEEP_MS = 1_000;

/** The log of a run. It has all its records: the one at offset n has the index n − 1. */
interface RunLog {
  readonly epoch: string;
  readonly records: BrokerRecord[];
  /** When it expires, on the clock of `performance.now()`. */
  expires: number;
}

/** The logs of runs in the memory of this process. */
export class MemoryRuns implements BrokerRuns {
  private readonly logs = new Map<string, RunLog>();
  /** The listeners of each log that has any. The log itself may not exist. */
  private readonly listeners = new Map<string, Set<BrokerListener>>();
  /** One timer for all logs: there may be many thousands, and most are renewed before they expire. */
  private timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  private sweepAt = 0;

  async create(
    name: string,
    entries: readonly BrokerEntry[],
    ms: number,
    { after }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    const earlier = this.find(name);
    if (after ? !endsAt(earlier, after) : earlier) {
      return false;
    }
    const log = { epoch: randomBytes(8).toString('hex'), records: [], expires: Number.POSITIVE_INFINITY };
    this.logs.set(name, log);
    this.keep(log, ms);
    return this.push(name, log, entries);
  }

  async appendAll(
    name: string,
    entries: readonly BrokerEntry[],
    { after, expire }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    const log = this.find(name);
    if (!log || (after && !endsAt(log, after))) {
      return false;
    }
    if (expire !== undefined) {
      this.keep(log, expire);
    }
    return this.push(name, log, entries);
  }

  async expire(name: string, ms: number): Promise<boolean> {
    const log = this.find(name);
    if (log) {
      this.keep(log, ms);
    }
    return log !== undefined;
  }

  async drop(name: string): Promise<void> {
    this.logs.delete(name);
  }

  tail(name: string, listener: BrokerListener): BrokerTail {
    const listeners = this.listeners.get(name) ?? new Set();
    this.listeners.set(name, listeners);
    // A new function, so that the same listener can be added twice.
    const deliver: BrokerListener = (records) => listener(records);
    listeners.add(deliver);
    const stop = (): void => {
      listeners.delete(deliver);
      if (listeners.size === 0 && this.listeners.get(name) === listeners) {
        this.listeners.delete(name);
      }
    };
    return { ...endOf(this.find(name)), stop };
  }

  read(name: string, after: number, count: number): readonly BrokerRecord[] {
    return this.find(name)?.records.slice(after, after + count) ?? [];
  }

  close(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.logs.clear();
    for (const listeners of this.listeners.values()) {
      listeners.clear();
    }
    this.listeners.clear();
  }

  /** Returns a log that exists. */
  private find(name: string): RunLog | undefined {
    const log = this.logs.get(name);
    if (log && log.expires <= performance.now()) {
      this.logs.delete(name);
      return undefined;
    }
    return log;
  }

  private push(name: string, log: RunLog, entries: readonly BrokerEntry[]): BrokerPosition {
    const { epoch } = log;
    const time = Date.now();
    const first = log.records.length + 1;
    // Each property by name: copying the entry takes several times as long, and as much memory.
    const records = entries.map(
      ({ data, encoding, topic, type, key }, index): BrokerRecord => ({
        data,
        encoding,
        topic,
        type,
        key,
        epoch,
        offset: first + index,
        time,
      }),
    );
    for (const record of records) {
      log.records.push(record);
    }
    const position = endOf(log);
    const listeners = this.listeners.get(name);
    // A copy: a tail that a listener begins starts after these records.
    for (const deliver of listeners ? [...listeners] : []) {
      if (listeners?.has(deliver)) {
        deliver(records);
      }
    }
    return position;
  }

  private keep(log: RunLog, ms: number): void {
    log.expires = performance.now() + ms;
    if (this.timer === undefined || log.expires < this.sweepAt) {
      this.sweepLater(log.expires);
    }
  }

  private sweepLater(at: number): void {
    clearTimeout(this.timer);
    const now = performance.now();
    this.sweepAt = Math.max(at, now + SWEEP_MS);
    this.timer = setTimeout(() => this.sweep(), Math.min(this.sweepAt - now, LONGEST_MS)).unref();
  }

  /** Removes expired logs, which find() removes only if they are used again. */
  private sweep(): void {
    this.timer = undefined;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [name, { expires }] of this.logs) {
      if (expires <= now) {
        this.logs.delete(name);
      } else {
        next = Math.min(next, expires);
      }
    }
    if (this.logs.size > 0) {
      this.sweepLater(next);
    }
  }
}

function endOf(log: RunLog | undefined): BrokerPosition {
  return { epoch: log?.epoch ?? '', offset: log?.records.length ?? 0 };
}

function endsAt(log: RunLog | undefined, { epoch, offset }: BrokerPosition): boolean {
  return log !== undefined && log.epoch === epoch && log.records.length === offset;
}
