import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { OnMessage } from './driver.js';
import type { KnownLog } from './known-log.js';
import type { TopicTail } from './topic-tail.js';

/** How many channels one command subscribes to. */
const BATCH = 512;

/** A topic that this process receives. */
export interface TopicChannel {
  readonly name: string;
  readonly log: KnownLog;
  readonly topic: string;
  readonly tails: Set<TopicTail>;
  /** The epoch and the offset up to which its records were received. The epoch is empty until that is known. */
  epoch: string;
  offset: number;
}

/** The topics that the tails of one server have, and the channels that the connection has subscribed to. */
export class TopicChannels {
  /** Those that were checked longest ago come first. */
  private readonly channels = new Map<string, TopicChannel>();
  /** The names of the channels that the connection has subscribed to. */
  private readonly subscribed = new Set<string>();
  /** The names of channels that were added or removed since then. */
  private readonly added = new Set<string>();
  private readonly removed = new Set<string>();

  constructor(private readonly onMessage: OnMessage) {}

  get size(): number {
    return this.channels.size;
  }

  get(name: string): TopicChannel | undefined {
    return this.channels.get(name);
  }

  add(tail: TopicTail, topic: string): void {
    const { log } = tail;
    const name = log.keys.topic(topic);
    const channel = this.channels.get(name) ?? { name, log, topic, tails: new Set(), epoch: '', offset: 0 };
    channel.tails.add(tail);
    this.channels.set(name, channel);
    this.added.add(name);
    tail.topics.add(topic);
  }

  delete(tail: TopicTail, topic: string): void {
    const name = tail.log.keys.topic(topic);
    const tails = this.channels.get(name)?.tails;
    tail.topics.delete(topic);
    if (tails?.delete(tail) && tails.size === 0) {
      this.channels.delete(name);
      this.removed.add(name);
    }
  }

  /** Called with a new connection, which has subscribed to nothing. */
  reset(): void {
    this.subscribed.clear();
    this.removed.clear();
    for (const [name, channel] of this.channels) {
      channel.epoch = '';
      this.added.add(name);
    }
  }

  /** Subscribes to the channels that were added. Resolves when the server has done so. */
  async subscribe(connection: Connection): Promise<void> {
    this.unsubscribe(connection);
    const names = [...this.added].filter((name) => this.channels.has(name) && !this.subscribed.has(name));
    this.added.clear();
    for (let first = 0; first < names.length; first += BATCH) {
      const batch = names.slice(first, first + BATCH).filter((name) => this.channels.has(name));
      if (batch.length > 0) {
        batch.forEach((name) => void this.subscribed.add(name));
        await connection.subscribe(batch, this.onMessage).catch((error: unknown) => {
          connection.lose(textOf(error));
          throw error;
        });
      }
    }
  }

  /** Ends the subscriptions to channels that were removed. */
  unsubscribe(connection: Connection): void {
    const names = [...this.removed].filter((name) => !this.channels.has(name) && this.subscribed.delete(name));
    this.removed.clear();
    for (let first = 0; first < names.length; first += BATCH) {
      connection
        .unsubscribe(names.slice(first, first + BATCH))
        .catch((error: unknown) => connection.lose(textOf(error)));
    }
  }

  /** Returns some channels of a log. The next call returns others. */
  next(log: KnownLog, count: number): TopicChannel[] {
    const next: TopicChannel[] = [];
    let visited = 0;
    for (const [name, channel] of this.channels) {
      if (visited++ >= count) {
        break;
      }
      this.channels.delete(name);
      this.channels.set(name, channel);
      if (channel.log === log && this.subscribed.has(name)) {
        next.push(channel);
      }
    }
    return next;
  }
}

/** Delivers a record to the tails of a channel. */
export function deliver(channel: TopicChannel, record: BrokerRecord): void {
  channel.epoch = record.epoch;
  channel.offset = record.offset;
  for (const tail of channel.tails) {
    tail.deliver(record);
  }
}

/**
 * Compares a channel with the offset of the newest record of its topic, once all messages up to a position have arrived. Returns whether a message is missing.
 */
export function isBehind(channel: TopicChannel, newest: number, { epoch, offset }: BrokerPosition): boolean {
  if (channel.epoch === epoch) {
    return newest > channel.offset;
  }
  channel.epoch = epoch;
  channel.offset = offset;
  return false;
}
