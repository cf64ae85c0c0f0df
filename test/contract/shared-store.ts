import { randomBytes } from 'node:crypto';
import type {
  Broker,
  BrokerEntry,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from '../../lib/index.js';

type Listening = (records: readonly BrokerRecord[]) => void;

interface StoredLog {
  epoch: string;
  last: number;
  records: BrokerRecord[];
  readonly retention: BrokerRetention;
  readonly listeners: Set<Listening>;
}

/** Simulates a server that several processes share: every operation takes at least a turn of the event loop. */
export class SharedStore {
  private readonly logs = new Map<string, StoredLog>();

  open(name: string, retention: BrokerRetention): void {
    if (!this.logs.has(name)) {
      this.logs.set(name, { epoch: newEpoch(), last: 0, records: [], retention, listeners: new Set() });
    }
  }

  log(name: string): StoredLog {
    const log = this.logs.get(name);
    if (!log) {
      throw new Error(`No log "${name}"`);
    }
    log.records = log.records.slice(Math.max(0, log.records.length - log.retention.limit));
    log.records = log.records.filter(({ time }) => time > Date.now() - log.retention.ttl);
    return log;
  }

  append(name: string, entry: BrokerEntry): BrokerPosition {
    const log = this.log(name);
    const record = { ...entry, epoch: log.epoch, offset: ++log.last, time: Date.now() };
    log.records.push(record);
    for (const notify of log.listeners) {
      notify([record]);
    }
    return { epoch: record.epoch, offset: record.offset };
  }

  /** Deletes a log that clients have open. */
  lose(name: string): void {
    Object.assign(this.log(name), { epoch: newEpoch(), last: 0, records: [] });
  }
}

/** The broker of one process, on a {@link SharedStore}. */
export class SharedStoreBroker implements Broker {
  private last: Promise<unknown> = Promise.resolve();
  private readonly stops = new Set<() => void>();

  constructor(private readonly store: SharedStore) {}

  open(log: string, retention: BrokerRetention): Promise<void> {
    return this.inTurn(() => this.store.open(log, retention));
  }

  append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.inTurn(() => this.store.append(log, entry));
  }

  tail(log: string, listener: Listening): Promise<BrokerTail> {
    return this.inTurn(() => {
      const { listeners, epoch, last } = this.store.log(log);
      let waiting: BrokerRecord[] = [];
      let stopped = false;
      const receive: Listening = (records) => {
        if (waiting.push(...records) === records.length) {
          setImmediate(() => {
            const records = waiting;
            waiting = [];
            if (!stopped) {
              listener(records);
            }
          });
        }
      };
      const stop = (): void => {
        stopped = true;
        listeners.delete(receive);
      };
      listeners.add(receive);
      this.stops.add(stop);
      return { epoch, offset: last, stop };
    });
  }

  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.inTurn(() =>
      this.store
        .log(log)
        .records.filter(({ offset }) => offset > after)
        .slice(0, Math.min(count, 100)),
    );
  }

  async close(): Promise<void> {
    for (const stop of this.stops) {
      stop();
    }
  }

  /** Runs the operations of one process in order, and not at once. */
  private inTurn<R>(run: () => R): Promise<R> {
    const done = this.last.then(() => new Promise<void>((resolve) => setImmediate(resolve))).then(run);
    this.last = done.catch(() => undefined);
    return done;
  }
}

function newEpoch(): string {
  return randomBytes(4).toString('hex');
}
