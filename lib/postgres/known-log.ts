import type { BrokerPosition, BrokerRetention } from '../broker/broker.js';

const LONGEST = Number.MAX_SAFE_INTEGER;

/** What this process knows of the log of a hub that it has opened. */
export class KnownLog {
  /** The newest position that is known. */
  newest: BrokerPosition = { epoch: '', offset: 0 };

  constructor(
    readonly name: string,
    /** The name as it is stored. */
    readonly stored: string,
    public retention: BrokerRetention,
    /** Whether it has a history for each topic. */
    public topics: boolean,
  ) {}

  get keep(): number {
    return Math.min(this.retention.limit, LONGEST);
  }

  /** The age up to which records are kept, in whole milliseconds. */
  get ttl(): number {
    return Math.min(Math.ceil(this.retention.ttl), LONGEST);
  }

  /** Called with every position that Postgres returns. They may come in another order than Postgres has sent them, on several connections. */
  saw(position: BrokerPosition): void {
    if (position.epoch !== this.newest.epoch || position.offset > this.newest.offset) {
      this.newest = position;
    }
  }
}
