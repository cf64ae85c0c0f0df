import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../../lib/index.js';
import { type SharedStore, SharedStoreBroker } from '../contract/shared-store.js';

/** Whether it is a log of the package itself, and not that of a hub. */
function isInternal(log: string): boolean {
  return log.startsWith('~');
}

/** The broker of one process, whose connection to its store a test controls. */
export class RemoteBroker extends SharedStoreBroker {
  /** The number of calls of `read()`, and of `tail()`. */
  reads = 0;
  tails = 0;
  /** Whether reads, and all but the first tail, are answered, fail, or are not answered. */
  reading: 'answered' | 'refused' | 'unanswered' = 'answered';
  /** Whether records reach the listeners of tails, are lost on the way, or wait until a test delivers them. */
  telling: 'at once' | 'never' | 'late' = 'at once';
  private readonly late: (() => void)[] = [];
  private readonly listeners: BrokerListener[] = [];

  constructor(protected readonly server: SharedStore) {
    super(server);
  }

  override tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    if (isInternal(log)) {
      return super.tail(log, listener);
    }
    this.tails++;
    if (this.tails > 1 && this.reading !== 'answered') {
      return this.away();
    }
    this.listeners.push(listener);
    return super.tail(log, (records) => {
      if (this.telling === 'at once') {
        listener(records);
      } else if (this.telling === 'late') {
        this.late.push(() => listener(records));
      }
    });
  }

  override read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    if (isInternal(log)) {
      return super.read(log, after, count);
    }
    this.reads++;
    return this.reading === 'answered' ? super.read(log, after, count) : this.away();
  }

  /** Delivers the records that wait, and later ones at once. */
  catchUp(): void {
    this.telling = 'at once';
    for (const deliver of this.late.splice(0)) {
      deliver();
    }
  }

  /** Tells the first tail where the log ends. */
  announce(position: BrokerPosition): void {
    this.listeners[0]?.([], position);
  }

  /** The position at which a log ends in the store. */
  end(log: string): BrokerPosition {
    const { epoch, last } = this.server.log(log);
    return { epoch, offset: last };
  }

  private away(): Promise<never> {
    return this.reading === 'refused' ? Promise.reject(new Error('The store is away')) : new Promise(() => undefined);
  }
}
