import { AsyncResource } from 'node:async_hooks';
import type { Observable } from 'rxjs';
import type { Broker } from '../broker/broker.js';
import { StreamError } from '../errors.js';
import type { HubEvent } from '../event/hub-event.js';
import { shelter } from '../util/thenable.js';
import { entryOf } from './entry.js';
import { FanOut } from './fan-out.js';
import { GuardedObservable } from './guarded-observable.js';
import { History, type Start } from './history.js';
import {
  HUB_DEFAULTS,
  type HubOptions,
  type HubPresence,
  type PublishOptions,
  type SubscribeOptions,
} from './hub.options.js';
import { checkPublishOptions, checkSubscribeOptions } from './hub-checks.js';
import { Presence } from './presence.js';
import { Publisher } from './publisher.js';
import { Subscriber, type SubscriberHub } from './subscriber.js';
import type { SubscriberOptions } from './subscriber-writer.js';
import { HubSubscription } from './subscription.js';
import { topicsOf } from './topic.js';

/** After this time, in milliseconds, a warning says that a hub waits for its broker to open. */
const OPEN_WARNING_MS = 5_000;

/**
 * Publish once, and everyone hears it: one ordered log and its live subscribers. Register it with
 * `StreamingModule.registerHub()`, inject it with `@InjectHub()`.
 *
 * @example
 * ```ts
 * @Controller('prices')
 * export class Prices {
 *   constructor(@InjectHub('prices') private readonly prices: Hub<Price>) {}
 *
 *   @Sse(':symbol')
 *   watch(@Param('symbol') topic: string, @LastEventId() after?: string) {
 *     return this.prices.subscribe({ topic, after });
 *   }
 *
 *   @Post(':symbol')
 *   publish(@Param('symbol') topic: string, @Body() price: Price) {
 *     return this.prices.publish(price, { topic });
 *   }
 * }
 * ```
 */
export class Hub<T = unknown> {
  readonly name: string;
  private readonly members = new Presence();
  private readonly history: History;
  private readonly fanOut: FanOut;
  private readonly shared: SubscriberHub;
  private readonly common: SubscriberOptions;
  /** Whether subscribers end when they have been given everything. */
  private ending = false;
  private over: Promise<void> | undefined;
  private readonly publisher: Publisher;

  private constructor(
    options: HubOptions,
    broker: Broker,
    private readonly warn: (message: string, error?: unknown) => void,
  ) {
    const { members } = this;
    const { name, history } = options;
    const { limit = HUB_DEFAULTS.limit, ttl = HUB_DEFAULTS.ttl } = history || {};
    this.name = name;
    this.common = {
      topics: undefined,
      filter: undefined,
      overflow: options.overflow ?? 'disconnect',
      queue: {
        items: options.queue?.items ?? HUB_DEFAULTS.items,
        bytes: options.queue?.bytes ?? HUB_DEFAULTS.bytes,
      },
    };
    this.history = new History(
      name,
      broker,
      { limit: history === false ? 0 : limit, ttl },
      (event) => {
        this.fanOut.send(event);
        this.publisher.told();
      },
      warn,
    );
    this.publisher = new Publisher(this.history);
    this.fanOut = new FanOut(this.history.window, this.history.budget);
    this.shared = {
      history: this.history,
      fanOut: this.fanOut,
      isClosed: () => this.ending,
      onSubscribed: (subscriber) => members.add(subscriber),
      onUnsubscribed: (subscriber) => {
        members.delete(subscriber);
        this.forget();
      },
    };
  }

  /** @internal */
  static async open(
    options: HubOptions,
    broker: Broker,
    warn: (message: string, error?: unknown) => void,
  ): Promise<Hub> {
    const hub = new Hub(options, broker, warn);
    const timer = setTimeout(
      () =>
        warn(
          `The hub "${options.name}" still waits for ${broker.constructor.name}, and the start of the application with it`,
        ),
      OPEN_WARNING_MS,
    );
    try {
      await hub.history.open();
    } finally {
      clearTimeout(timer);
    }
    hub.fanOut.beginAt(hub.history.last);
    return hub;
  }

  /** Whoever comes and goes, in this process. Completes when the hub is closed. */
  get presence(): Observable<HubPresence> {
    return new GuardedObservable(this.members.changes, (error) =>
      this.warn(`A listener of the presence of the hub "${this.name}" threw`, error),
    );
  }

  /**
   * Publishes to everyone who listens, in all processes that share the broker. Events of one caller keep their order, also
   * without waiting in between.
   *
   * @param data sent as `data`: strings as they are, binary as base64 in text formats, everything else as JSON
   * @returns the id of the event, once it is in the log
   * @throws {StreamError} and publishes nothing: `not-serializable`, `invalid-topic`, `invalid-event`, `hub-closed`; or
   * what the broker throws
   */
  async publish(data: T, options: PublishOptions = {}): Promise<string> {
    try {
      this.demandOpen('publish');
      checkPublishOptions(this.name, options);
      return this.publisher.publish(entryOf(data, options));
    } catch (error) {
      shelter(data);
      throw error;
    }
  }

  /**
   * Listens from now on, or from where the client was. See {@link HubSubscription}.
   * @throws {StreamError} `invalid-topic`, whose status is 400, `invalid-option`, `hub-closed`
   */
  subscribe(options: SubscribeOptions<T> = {}): HubSubscription<T> {
    this.demandOpen('subscribe');
    checkSubscribeOptions(this.name, options);
    const topics = options.topic === undefined ? undefined : topicsOf(options.topic);
    const subscriber = new Subscriber(this.shared, this.optionsOf(options, topics), this.startOf(options, topics));
    return HubSubscription.of<T>(subscriber, options.signal);
  }

  /** How many subscribers there are, in this process; with a topic, how many of them would hear of it. */
  size(topic?: string): number {
    return this.members.size(topic);
  }

  /** The topics somebody listens to by name, in this process. */
  get topics(): string[] {
    return this.members.topics;
  }

  /**
   * Closes the hub in this process: its subscribers are given what was published before, and end well. The application does
   * it when it closes. Resolves when nothing more comes from the broker.
   */
  close(): Promise<void> {
    this.over ??= this.end();
    return this.over;
  }

  /** @internal How many events were published here. */
  get published(): number {
    return this.publisher.count;
  }

  /** @internal How many events it has heard of, and how many of them are kept for those who come back. */
  get log(): { readonly heard: number; readonly kept: number } {
    const { last, oldest } = this.history.window;
    return { heard: last, kept: last - oldest + 1 };
  }

  /** @internal Resolves when what was published in this process has been given to all who could take it. */
  async settled(): Promise<void> {
    await this.publisher.settled();
    await this.fanOut.finished();
  }

  /** @internal Ends its subscribers, and those to come, when they have been given everything. Other processes can still be published to. */
  async endSubscriptions(): Promise<void> {
    await this.settled();
    this.ending = true;
    for (const subscriber of this.members.subscribers) {
      subscriber.finish();
    }
  }

  private async end(): Promise<void> {
    try {
      await this.publisher.settled();
      await this.history.close();
    } finally {
      await this.endSubscriptions();
      this.members.changes.complete();
      this.forget();
    }
  }

  /** Releases the history of a closed hub when nobody reads it any more. */
  private forget(): void {
    if (this.over && this.size() === 0) {
      this.history.window.clear();
    }
  }

  private optionsOf(
    { filter, overflow, queue }: SubscribeOptions<T>,
    topics: readonly string[] | undefined,
  ): SubscriberOptions {
    const { common } = this;
    // Most want nothing in particular: then they share what says so.
    return topics || filter || overflow || queue
      ? {
          topics,
          // It may look at whose request it is.
          filter: filter && AsyncResource.bind(filter as (event: HubEvent) => boolean),
          overflow: overflow ?? common.overflow,
          queue: { items: queue?.items ?? common.queue.items, bytes: queue?.bytes ?? common.queue.bytes },
        }
      : common;
  }

  private startOf({ after, last = 0 }: SubscribeOptions<T>, topics: readonly string[] | undefined): Start {
    return after === undefined || after === ''
      ? this.history.startWithLast(last, topics)
      : this.history.startAfter(after);
  }

  private demandOpen(what: string): void {
    if (this.over) {
      throw new StreamError('hub-closed', `The hub "${this.name}" is closed: ${what}() is not possible any more`);
    }
  }
}
