import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import type { KnownLog } from './known-log.js';
import { isLater } from './stream-id.js';

/** One listener, and the position that it starts after. */
interface Listening {
  readonly listener: BrokerListener;
  readonly start: BrokerPosition;
}

/** Receives the records of several logs. */
export interface Tails {
  /** Whether records can arrive. */
  readonly connected: boolean;
  /**
   * Starts to receive a log, after the position of its tail. Resolves when its records arrive. Rejects if Redis refuses the connection or the subscription;
   * another failure is repeated.
   */
  add(tail: LogTail): Promise<void>;
  remove(tail: LogTail): void;
  /** Called every few seconds, after the positions of the logs were found on another connection. */
  check(): void;
  close(): void;
}

/** All tails of one log in this process, and the position up to which they have received it. */
export class LogTail {
  private readonly listening = new Set<Listening>();

  constructor(
    readonly log: KnownLog,
    /** The position up to which records were delivered. */
    public position: BrokerPosition,
    /** Called when the last listener has left. */
    private readonly onEmpty: () => void,
  ) {
    log.reached(position);
  }

  /** Adds a listener. @param found where the log ended a moment ago */
  add(listener: BrokerListener, found: BrokerPosition): BrokerTail {
    this.announce(found);
    const { epoch, offset } = this.position;
    // Records up to the later of both are delivered to the other listeners only.
    const start = found.epoch === epoch && found.offset > offset ? found : this.position;
    const listening = { listener, start };
    this.listening.add(listening);
    return { epoch: start.epoch, offset: start.offset, stop: () => this.remove(listening) };
  }

  /** Called with the position at which the log was found. Tells the listeners if the log has begun another epoch. */
  announce(found: BrokerPosition): void {
    this.log.saw(found);
    if (isLater(found.epoch, this.position.epoch)) {
      this.moveTo({ epoch: found.epoch, offset: 0 });
      this.notify([], found);
    }
  }

  /** Delivers records. Those that were delivered before are left out. */
  deliver(records: readonly BrokerRecord[]): void {
    const fresh = this.fresh(records);
    const last = fresh[fresh.length - 1];
    if (last) {
      this.moveTo({ epoch: last.epoch, offset: last.offset });
      this.notify(fresh);
    }
  }

  private fresh(records: readonly BrokerRecord[]): readonly BrokerRecord[] {
    const { epoch, offset } = this.position;
    const isFresh = (record: BrokerRecord): boolean =>
      record.epoch === epoch ? record.offset > offset : isLater(record.epoch, epoch);
    // All are, nearly always.
    const [first] = records;
    return first === undefined || isFresh(first) ? records : records.filter(isFresh);
  }

  private notify(records: readonly BrokerRecord[], position?: BrokerPosition): void {
    for (const { listener, start } of this.listening) {
      const isOwn = ({ epoch, offset }: BrokerRecord): boolean => epoch !== start.epoch || offset > start.offset;
      const [first] = records;
      // All are, nearly always.
      const own = first === undefined || isOwn(first) ? records : records.filter(isOwn);
      if (own.length > 0 || position) {
        position ? listener(own, position) : listener(own);
      }
    }
  }

  private moveTo(position: BrokerPosition): void {
    this.position = position;
    this.log.reached(position);
  }

  private remove(listening: Listening): void {
    if (this.listening.delete(listening) && this.listening.size === 0) {
      this.log.reached(undefined);
      this.onEmpty();
    }
  }
}
