import type { BrokerPosition } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail } from '../broker/broker-topics.js';
import type { LogObserver, LogPart, LogTail } from './log-tail.js';

const START: BrokerPosition = { epoch: '', offset: 0 };

/** Delivers the records of some topics of a log. All records are read: this process has one tail for all its topics. */
export class TopicTail implements LogObserver, BrokerTopicTail {
  readonly epoch: string;
  readonly offset: number;
  private readonly topics = new Set<string>();
  /** Up to this position, records may be missing: the listener reads them. */
  private missed = START;
  private readonly end: () => void;

  constructor(
    private readonly tail: LogTail,
    private readonly listener: BrokerTopicListener,
    /** Reads the log to the end that it has after the call. Rejects if that takes too long. */
    private readonly catchUp: () => Promise<unknown>,
  ) {
    const { epoch, offset } = tail.at;
    this.epoch = epoch;
    this.offset = offset;
    this.end = tail.observe(this);
  }

  /** The tail reads all topics, so that it is the barrier itself. It reads to the end of the log, since a new subscriber begins there. */
  async add(topics: readonly string[]): Promise<BrokerPosition> {
    for (const topic of topics) {
      this.topics.add(topic);
    }
    await this.catchUp();
    const { at } = this.tail;
    return this.isMissed(at) ? this.missed : at;
  }

  delete(topics: readonly string[]): void {
    for (const topic of topics) {
      this.topics.delete(topic);
    }
  }

  stop(): void {
    this.end();
  }

  onPart(from: BrokerPosition, { end, records, trimmed }: LogPart): void {
    const isOther = end.epoch !== from.epoch;
    if (trimmed > (isOther ? 0 : from.offset) && !this.isMissed(end)) {
      this.missed = end;
      this.listener.onMissed(end);
    } else if (isOther) {
      this.listener.onMissed({ epoch: end.epoch, offset: 0 });
    }
    const own = records.filter(
      (record) => record.topic !== undefined && this.topics.has(record.topic) && !this.isMissed(record),
    );
    if (own.length > 0) {
      this.listener.onRecords(own);
    }
    const { at } = this.tail;
    if (!this.isMissed(at)) {
      this.listener.onReached(at);
    }
  }

  private isMissed({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.missed.epoch && offset <= this.missed.offset;
  }
}
