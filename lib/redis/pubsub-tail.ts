import type { BrokerRecord } from '../broker/broker.js';
import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { Driver } from './driver.js';
import { Link } from './link.js';
import type { LogTail, Tails } from './log-tail.js';
import { countAfter, recordIn, recordsOf, type StreamEntries, streamIdOf } from './stream-id.js';

/** How many records the first answer may have. */
const FIRST_COUNT = 64;

export interface PubSubTailOptions {
  readonly driver: Driver;
  /** The tail connects to the server that has this key. */
  readonly key: string;
  readonly timeout: number;
  /** Runs commands: a connection that has subscribed cannot. */
  readonly commands: { readonly connection: Connection | undefined };
  /** Called when the tail is connected, and when it is not any more. */
  readonly onChange: () => void;
}

/** How long to wait before reading is tried again, in milliseconds. */
const RETRY_MS = 200;

/** The subscription to one log. */
interface Subscription {
  readonly tail: LogTail;
  /** The connection on which it was made. */
  connection: Connection | undefined;
  /** The records of messages that came while records before them are being read. `undefined` if none are being read. */
  held: BrokerRecord[] | undefined;
}

/** Receives the new records of all logs of one slot as messages. What it may have missed, it reads. */
export class PubSubTail implements Tails {
  private readonly subscriptions = new Map<string, Subscription>();
  private readonly link: Link;
  private readonly timers = new Set<NodeJS.Timeout>();

  constructor(private readonly options: PubSubTailOptions) {
    this.link = new Link({
      ...options,
      prepare: (connection) => this.prepare(connection),
    });
  }

  get connected(): boolean {
    return this.subscriptions.size === 0 || this.link.connection !== undefined;
  }

  async add(tail: LogTail): Promise<void> {
    const subscription: Subscription = { tail, connection: undefined, held: undefined };
    this.subscriptions.set(tail.log.keys.stream, subscription);
    const connection = await this.link.ready();
    // A new connection has subscribed to all logs, but not to those that were added meanwhile.
    if (this.has(subscription) && subscription.connection !== connection) {
      await this.subscribe(connection, subscription).catch((error: unknown) => connection.lose(textOf(error)));
      await this.link.ready();
    }
  }

  remove(tail: LogTail): void {
    this.subscriptions.delete(tail.log.keys.stream);
  }

  check(): void {
    const { connection } = this.link;
    if (connection?.usable) {
      // The answer shows that the connection works. If it does not come in time, the connection is lost.
      connection.request(['PING']).catch(() => undefined);
    }
    for (const subscription of this.subscriptions.values()) {
      this.catchUp(subscription);
    }
  }

  close(): void {
    this.subscriptions.clear();
    for (const timer of this.timers) {
      clearTimeout(timer);
    }
    this.link.close();
  }

  /** Subscribes to all logs on a new connection. */
  private async prepare(connection: Connection): Promise<void> {
    await Promise.all([...this.subscriptions.values()].map((each) => this.subscribe(connection, each)));
  }

  private async subscribe(connection: Connection, subscription: Subscription): Promise<void> {
    subscription.connection = connection;
    await connection.subscribe([subscription.tail.log.keys.stream], (message) => this.onMessage(subscription, message));
    this.catchUp(subscription);
  }

  private onMessage(subscription: Subscription, message: string): void {
    const record = recordIn(message);
    if (!record || !this.has(subscription)) {
      return;
    }
    const { tail, held } = subscription;
    if (held) {
      held.push(record);
    } else if (record.epoch === tail.position.epoch ? record.offset <= tail.position.offset + 1 : record.offset === 1) {
      tail.deliver([record]);
    } else {
      this.catchUp(subscription);
    }
  }

  private has(subscription: Subscription): boolean {
    return this.subscriptions.get(subscription.tail.log.keys.stream) === subscription;
  }

  /** Reads what was appended since the last record that was delivered. */
  private catchUp(subscription: Subscription): void {
    if (subscription.held === undefined && this.has(subscription)) {
      subscription.held = [];
      this.readAll(subscription).catch(() => this.retry(subscription));
    }
  }

  private async readAll(subscription: Subscription): Promise<void> {
    const { tail } = subscription;
    const { stream } = tail.log.keys;
    let count = FIRST_COUNT;
    for (let full = true; full && this.has(subscription); ) {
      // Messages that came before are read as well.
      subscription.held = [];
      const { connection } = this.options.commands;
      if (!connection?.usable) {
        throw new Error('There is no connection');
      }
      const start = `(${streamIdOf(tail.position)}`;
      const entries = (await connection.request(['XRANGE', stream, start, '+', 'COUNT', `${count}`])) as StreamEntries;
      full = entries.length === count;
      const records = recordsOf(entries);
      count = countAfter(records);
      tail.deliver(records);
    }
    const held = subscription.held ?? [];
    subscription.held = undefined;
    tail.deliver(held);
  }

  private retry(subscription: Subscription): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      subscription.held = undefined;
      this.catchUp(subscription);
    }, RETRY_MS);
    this.timers.add(timer);
  }
}
