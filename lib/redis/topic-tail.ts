import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail } from '../broker/broker-topics.js';
import type { KnownLog } from './known-log.js';
import { isLater } from './stream-id.js';

/** Changes what a tail receives. */
export interface TopicTailOwner {
  add(tail: TopicTail, topics: readonly string[]): Promise<BrokerPosition>;
  delete(tail: TopicTail, topics: Iterable<string>): void;
  remove(tail: TopicTail): void;
}

/** One listener to topics of a log. */
export class TopicTail implements BrokerTopicTail {
  readonly epoch: string;
  readonly offset: number;
  readonly topics = new Set<string>();
  /** The position up to which the listener has received its topics, or knows that it has to read them. */
  private position: BrokerPosition;
  /** The newest position that the listener was called with. */
  private named: BrokerPosition;
  private ended = false;

  constructor(
    readonly log: KnownLog,
    position: BrokerPosition,
    private readonly listener: BrokerTopicListener,
    private readonly owner: TopicTailOwner,
  ) {
    this.epoch = position.epoch;
    this.offset = position.offset;
    this.position = position;
    this.named = position;
  }

  add(topics: readonly string[]): Promise<BrokerPosition> {
    return this.owner.add(this, topics);
  }

  delete(topics: readonly string[]): void {
    this.owner.delete(this, topics);
  }

  stop(): void {
    this.ended = true;
    this.owner.remove(this);
  }

  /** Called with every record of the topics, in order. */
  deliver(record: BrokerRecord): void {
    const { epoch, offset } = record;
    const { position } = this;
    if (this.ended || (epoch === position.epoch ? offset <= position.offset : !isLater(epoch, position.epoch))) {
      return;
    }
    if (epoch !== position.epoch) {
      this.missed({ epoch, offset: offset - 1 });
    }
    this.position = { epoch, offset };
    this.listener.onRecords([record]);
  }

  /** Called with a position up to which all records of the topics were delivered. */
  reached(position: BrokerPosition): void {
    if (this.announce(position) || this.ended || position.epoch !== this.position.epoch) {
      return;
    }
    if (position.offset > this.position.offset) {
      this.position = position;
    }
    if (position.epoch !== this.named.epoch || position.offset > this.named.offset) {
      this.named = position;
      this.listener.onReached(position);
    }
  }

  /** Called with a position up to which records may not have been delivered. Messages with them that arrive later are left out. */
  missed(position: BrokerPosition): void {
    if (!this.ended) {
      this.position = position;
      this.named = position;
      this.listener.onMissed(position);
    }
  }

  /** Called with the position at which the log was found. Returns whether it has begun another epoch. */
  announce(found: BrokerPosition): boolean {
    const begun = isLater(found.epoch, this.position.epoch);
    if (begun) {
      this.missed(found);
    }
    return begun;
  }
}
