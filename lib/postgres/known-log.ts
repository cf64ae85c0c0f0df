import type { BrokerPosition, BrokerRetention } from '../broker/broker.js';
import type { TopicRetention } from '../broker/broker-topics.js';

/** How much of a log is kept. `all` is an option of a log with a history for each topic: `false` means that every event needs a topic. */
export type KeptRecords = BrokerRetention & Partial<Pick<TopicRetention, 'all'>>;

const LONGEST = Number.MAX_SAFE_INTEGER;

/** What this process knows of the log of a hub that it has opened. */
export class KnownLog {
  /** The newest position that is known. */
  newest: BrokerPosition = { epoch: '', offset: 0 };

  constructor(
    readonly name: string,
    /** The name as it is stored. */
    readonly stored: string,
    public retention: KeptRecords,
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

  get all(): boolean {
    return this.retention.all !== false;
  }

  /** Called with every position that Postgres returns. They may come in another order than Postgres has sent them, on several connections. */
  saw(position: BrokerPosition): void {
    if (position.epoch !== this.newest.epoch || position.offset > this.newest.offset) {
      this.newest = position;
    }
  }
}
