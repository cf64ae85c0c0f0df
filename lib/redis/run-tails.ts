import type { BrokerListener, BrokerRecord, BrokerTail } from '../broker/broker.js';
import { RunTail, type RunTailOptions } from '../broker/run-tail.js';
import { atMost } from '../util/at-most.js';
import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { Driver } from './driver.js';
import { Link } from './link.js';
import { recordOf } from './stream-id.js';

/** How many logs are read at the same time after a connection was lost. */
const READS = 16;
/** How many logs check() reads. */
const CHECKED = 64;
/** How long to wait before reading is tried again, in milliseconds. */
const RETRY_MS = 200;

export interface RunTailsOptions {
  readonly driver: Driver;
  /** A key of this process: the tails connect to the server that has it, and subscribe to the channel with its name. */
  readonly key: string;
  readonly timeout: number;
  readonly read: RunTailOptions['read'];
  /** Called when the connection is established, and when it is lost. */
  readonly onChange: () => void;
}

/** A tail, and the connection on which it has subscribed. */
interface Subscription {
  readonly tail: RunTail;
  connection: Connection | undefined;
  /** Resolves once it has subscribed, and not later than `timeout` allows. */
  subscribed: Promise<unknown>;
}

/**
 * Receives the new records of all logs of runs as messages, on one connection. What a log may have missed, it reads. To wait for all logs by one `XREAD` would cost
 * Redis more with every log.
 */
export class RunTails {
  private readonly subscriptions = new Map<string, Subscription>();
  private readonly link: Link;
  /** Tails that may have missed messages. */
  private readonly behind = new Set<RunTail>();
  /** Tails whose read has failed. */
  private readonly failed = new Set<RunTail>();
  private reads = 0;
  private retry: NodeJS.Timeout | undefined;

  constructor(private readonly options: RunTailsOptions) {
    this.link = new Link({ ...options, prepare: (connection) => this.prepare(connection) });
  }

  get connected(): boolean {
    return this.subscriptions.size === 0 || this.link.connection !== undefined;
  }

  /** Begins to receive a log. Rejects if Redis refuses the connection or the subscription, or cannot be read in time. */
  tail(key: string, listener: BrokerListener): Promise<BrokerTail> {
    const { tail, subscribed } = this.subscriptions.get(key) ?? this.add(key);
    return tail.begin(listener, subscribed);
  }

  /** Called when commands are sent on another connection: another server may have the logs. */
  onCommands(): void {
    this.link.connection?.lose('the logs may be on another server');
  }

  /** Called every few seconds. Reads some of the logs, and others with the next call: there may be thousands. */
  check(): void {
    const { connection } = this.link;
    if (connection?.usable) {
      // The answer shows that the connection works. If it does not come in time, the connection is lost.
      connection.request(['PING']).catch(() => undefined);
    }
    for (const [key, subscription] of [...this.subscriptions].slice(0, CHECKED)) {
      this.subscriptions.delete(key);
      this.subscriptions.set(key, subscription);
      this.behind.add(subscription.tail);
    }
    this.readBehind();
  }

  close(): void {
    clearTimeout(this.retry);
    for (const { tail } of this.subscriptions.values()) {
      tail.end();
    }
    this.subscriptions.clear();
    this.behind.clear();
    this.failed.clear();
    this.link.close();
  }

  private add(key: string): Subscription {
    const { read, timeout } = this.options;
    const tail = new RunTail(key, { read, onGap: this.onBehind, onUnused: () => this.remove(subscription) });
    const subscription: Subscription = { tail, connection: undefined, subscribed: Promise.resolve() };
    this.subscriptions.set(key, subscription);
    const subscribing = this.subscribe(subscription);
    // If there is no connection in time, the tail receives messages when there is one, and reads what it has missed until then.
    subscription.subscribed = atMost(timeout, subscribing).then((inTime) => {
      if (!inTime) {
        subscribing.then(
          () => this.onBehind(tail),
          () => undefined,
        );
      }
    });
    return subscription;
  }

  private remove(subscription: Subscription): void {
    const { tail, connection } = subscription;
    if (this.has(subscription)) {
      this.subscriptions.delete(tail.key);
      this.behind.delete(tail);
      this.failed.delete(tail);
      if (connection?.usable) {
        connection.unsubscribe([tail.key]).catch((error: unknown) => connection.lose(textOf(error)));
      }
    }
  }

  private has(subscription: Subscription): boolean {
    return this.subscriptions.get(subscription.tail.key) === subscription;
  }

  /** Subscribes to all logs on a new connection. */
  private async prepare(connection: Connection): Promise<void> {
    const { key } = this.options;
    const ignore = (): void => undefined;
    // Shows that the user may do both. The first channel is kept, so that the connection always has one.
    await connection.subscribe([key, `${key}:check`], ignore);
    await connection.unsubscribe([`${key}:check`]);
    const subscriptions = [...this.subscriptions.values()];
    await Promise.all(subscriptions.map((each) => this.subscribeOn(connection, each)));
    for (const { tail } of subscriptions) {
      this.behind.add(tail);
    }
    this.readBehind();
  }

  private async subscribe(subscription: Subscription): Promise<void> {
    const connection = await this.link.ready();
    // A new connection has subscribed to all logs, but not to those that were added meanwhile.
    if (this.has(subscription) && subscription.connection !== connection) {
      try {
        await this.subscribeOn(connection, subscription);
      } catch (error) {
        connection.lose(textOf(error));
        await this.subscribe(subscription);
      }
    }
  }

  private async subscribeOn(connection: Connection, subscription: Subscription): Promise<void> {
    subscription.connection = connection;
    const { key, onMessage } = subscription.tail;
    await connection.subscribe([key], (message) => onMessage(recordsIn(message)));
  }

  private readonly onBehind = (tail: RunTail): void => {
    this.behind.add(tail);
    this.readBehind();
  };

  private readBehind(): void {
    for (const tail of this.behind) {
      if (this.reads >= READS) {
        return;
      }
      this.behind.delete(tail);
      this.reads++;
      tail
        .catchUp()
        .catch(() => this.readLater(tail))
        .finally(() => {
          this.reads--;
          this.readBehind();
        });
    }
  }

  private readLater(tail: RunTail): void {
    if (this.subscriptions.get(tail.key)?.tail === tail) {
      this.failed.add(tail);
      this.retry ??= setTimeout(() => {
        this.retry = undefined;
        for (const each of this.failed) {
          this.behind.add(each);
        }
        this.failed.clear();
        this.readBehind();
      }, RETRY_MS);
    }
  }
}

/** Returns the records of a message. Returns `undefined` if they are not in it. */
function recordsIn(message: string): readonly BrokerRecord[] | undefined {
  try {
    const entries = JSON.parse(message) as string | readonly (readonly [string, ...string[]])[];
    return typeof entries === 'string' ? undefined : entries.map(([id, ...fields]) => recordOf(id, fields));
  } catch {
    return undefined;
  }
}
