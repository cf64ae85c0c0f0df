import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';

/** The position in a log that does not exist. */
const NOWHERE: BrokerPosition = { epoch: '', offset: 0 };

/** A part of a log, as it was at one time. */
export interface LogPart {
  /** Where the log ended. */
  readonly end: BrokerPosition;
  /** Records that follow the position, or the first ones if the position is of another epoch. */
  readonly records: readonly BrokerRecord[];
  /** Records up to this offset may have been removed. */
  readonly trimmed: number;
}

/** Receives what a {@link LogTail} receives, in addition to its listeners. */
export interface LogObserver {
  /** Called with all records that were read. */
  onPart(from: BrokerPosition, part: LogPart): void;
}

/** All listeners of one log in this process, and the position up to which they have received it. */
export class LogTail {
  /** The position up to which records were delivered. `undefined` until it was found. */
  position: BrokerPosition | undefined;
  /** Since when a record is known that was not delivered, on the clock of `performance.now()`. */
  behindSince = Number.POSITIVE_INFINITY;
  /** Whether this process has learned of another epoch while the log is being read: what was read may be older, and is read again. */
  outdated = false;
  /** Receive the log by topic. */
  readonly observers = new Set<LogObserver>();
  private readonly listeners = new Set<BrokerListener>();
  /** The calls that wait until the log was read. */
  private calls = 0;

  constructor(
    /** The name of the log as it is stored. */
    readonly stored: string,
    /** Whether it is the log of a run: it may not exist, and may lose its newest records within an epoch. */
    readonly isRun: boolean,
    private readonly onUnused: () => void,
  ) {}

  get used(): boolean {
    return this.listeners.size > 0 || this.observers.size > 0 || this.calls > 0;
  }

  get at(): BrokerPosition {
    return this.position ?? NOWHERE;
  }

  /** Keeps the tail in use until a promise has settled, and a function was called with its result. */
  async during<T>(promise: Promise<unknown>, then: () => T): Promise<T> {
    this.calls++;
    try {
      await promise;
      return then();
    } finally {
      this.calls--;
      this.leave();
    }
  }

  add(listener: BrokerListener): BrokerTail {
    // A new function, so that the same listener can be added twice.
    const deliver: BrokerListener = (records, position) => listener(records, position);
    this.listeners.add(deliver);
    const stop = (): void => {
      if (this.listeners.delete(deliver)) {
        this.leave();
      }
    };
    return { ...this.at, stop };
  }

  observe(observer: LogObserver): () => void {
    this.observers.add(observer);
    return () => {
      if (this.observers.delete(observer)) {
        this.leave();
      }
    };
  }

  /** Delivers nothing more. */
  end(): void {
    this.listeners.clear();
    this.observers.clear();
  }

  /** Called with a part that was read. `undefined`: the log does not exist, or ends at the position. Returns whether there is more to read. */
  take(part: LogPart | undefined): boolean {
    const more = this.deliver(part);
    this.behindSince = more ? Math.min(this.behindSince, performance.now()) : Number.POSITIVE_INFINITY;
    return more;
  }

  private deliver(part: LogPart | undefined): boolean {
    const from = this.position;
    if (!part) {
      this.position ??= NOWHERE;
      return false;
    }
    if (!from) {
      this.position = part.end;
      return false;
    }
    const { end, records } = part;
    const last = records[records.length - 1];
    this.move(from, part);
    for (const observer of this.observers) {
      observer.onPart(from, part);
    }
    return last !== undefined && last.offset < end.offset;
  }

  private move(from: BrokerPosition, { end, records }: LogPart): void {
    const last = records[records.length - 1];
    const isOther = end.epoch !== from.epoch;
    this.position = last ? { epoch: last.epoch, offset: last.offset } : end;
    if ((isOther && !this.isRun) || (!last && (isOther || end.offset !== from.offset))) {
      this.notify([], end);
    }
    if (last) {
      this.notify(records);
    }
  }

  private notify(records: readonly BrokerRecord[], position?: BrokerPosition): void {
    for (const listener of this.listeners) {
      position ? listener(records, position) : listener(records);
    }
  }

  private leave(): void {
    if (!this.used) {
      this.onUnused();
    }
  }
}
