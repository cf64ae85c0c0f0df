import { AsyncResource } from 'node:async_hooks';
import type { Observable } from 'rxjs';
import { type Broker, type BrokerPosition, type BrokerStatus, statusOf } from '../broker/broker.js';
import type { HubEvent } from '../event/hub-event.js';
import { StreamError } from '../util/errors.js';
import { markHandled } from '../util/thenable.js';
import { entryOf, membersEntry } from './entry.js';
import { GuardedObservable } from './guarded-observable.js';
import {
  HUB_DEFAULTS,
  type HubOptions,
  type HubPresence,
  type PublishOptions,
  type SubscribeOptions,
} from './hub.options.js';
import { checkPublishOptions, checkSubscribeOptions, hasHistoryPerTopic, requireTopics } from './hub-checks.js';
import type { HubLog, Lane } from './lane.js';
import { encodedMember, type MemberChanges, Members } from './members.js';
import { Presence } from './presence.js';
import { Publisher } from './publisher.js';
import { Subscriber, type SubscriberHub } from './subscriber.js';
import type { SubscriberOptions } from './subscriber-writer.js';
import { HubSubscription } from './subscription.js';
import { checkTopic, topicsOf } from './topic.js';
import { TopicLog } from './topic-log.js';
import { WholeLog } from './whole-log.js';

/** After this time, in milliseconds, a warning says that a hub waits for its broker to open. */
const OPEN_WARNING_MS = 5_000;
const NO_OPTIONS: PublishOptions = {};

/**
 * An ordered log of events, and its live subscribers. Every subscriber receives the events that are published, in the same order. Register a
 * hub with `StreamingModule.registerHub()`, and inject it with `@InjectHub()`.
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
  /** The name with which the hub was registered. */
  readonly name: string;
  private readonly subscribers = new Presence();
  /** @internal The members of the subscriptions in this process. */
  readonly localMembers = new Members();
  private readonly source: HubLog;
  /** What subscribers of a lane share. */
  private readonly shared = new Map<Lane, SubscriberHub>();
  private readonly common: SubscriberOptions;
  /** Whether subscribers end once everything is written to them. */
  private ending = false;
  private closing: Promise<void> | undefined;
  /** @internal Counts the subscribers in other processes. `undefined` if no other process can have any. */
  countElsewhere: ((topic: string | undefined) => Promise<number>) | undefined;
  private readonly publisher: Publisher;
  /** Whether this process has no subscribers. */
  private readonly publishesOnly: boolean;

  private constructor(
    options: HubOptions,
    private readonly broker: Broker,
    private readonly warn: (message: string, error?: unknown) => void,
  ) {
    const { name, history, all } = options;
    const { limit = HUB_DEFAULTS.limit, ttl = HUB_DEFAULTS.ttl } = history || {};
    this.name = name;
    this.publishesOnly = options.role === 'publisher';
    this.common = commonOptions(options);
    const retention = { limit: history === false ? 0 : limit, ttl };
    const onDelivered = (): void => this.publisher.onDelivered();
    const newest = (): BrokerPosition | undefined => this.publisher.newest;
    this.source = hasHistoryPerTopic(options)
      ? new TopicLog(name, requireTopics(name, broker), { ...retention, all: all ?? false }, warn, onDelivered, newest)
      : new WholeLog(name, broker, retention, warn, onDelivered, newest);
    this.publisher = new Publisher(this.source);
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
      await (hub.publishesOnly ? hub.source.openToAppend() : hub.source.open());
    } finally {
      clearTimeout(timer);
    }
    return hub;
  }

  /** Emits when a client subscribes or unsubscribes in this process. Completes when the hub is closed. An error of a listener is logged. */
  get presence(): Observable<HubPresence> {
    return new GuardedObservable(this.subscribers.changes, (error) =>
      this.warn(`A listener of the presence of the hub "${this.name}" threw`, error),
    );
  }

  /**
   * Publishes an event to the subscribers in all processes that share the broker. Events of one caller keep their order, also if the caller
   * does not wait for each promise before the next call.
   *
   * @param data a string is sent as it is, binary data as base64 in text formats, any other value as JSON
   * @returns the id of the event. The promise resolves once the event is in the log
   * @throws {@link StreamError} with the code `not-serializable`, `invalid-topic`, `invalid-event`, `invalid-option` or `hub-closed`. An error of the broker is
   * passed on: `broker-unavailable` or `broker-busy` if the event was not published, `publish-unknown` if it may or may not have been
   */
  publish(data: T, options: PublishOptions = NO_OPTIONS): Promise<string> {
    // Not an async function: its promise would resolve to another one, which costs three turns of the microtask queue.
    try {
      this.requireOpen('publish');
      // The check of options takes a twentieth of the time of a call, and most calls have none.
      if (options !== NO_OPTIONS) {
        checkPublishOptions(this.name, options, this.broker);
      }
      return this.publisher.publish(entryOf(data, options));
    } catch (error) {
      markHandled(data);
      return Promise.reject(error);
    }
  }

  /**
   * Returns a subscription to the events that are published from now on, or to all events after the event `after`. See
   * {@link HubSubscription}.
   * @throws {@link StreamError} with the code `invalid-topic` or `invalid-id`, for which the client gets the status 400; `invalid-option` or `hub-closed`
   */
  subscribe(options: SubscribeOptions<T> = {}): HubSubscription<T> {
    this.requireOpen('subscribe');
    this.requireSubscribers();
    checkSubscribeOptions(this.name, options);
    const topics = options.topic === undefined ? undefined : topicsOf(options.topic);
    const lane = this.source.laneOf(topics);
    const find = lane.requestOf({ after: options.after, last: options.last ?? 0, topics });
    const subscriber = new Subscriber(this.sharedOf(lane), this.optionsOf(options, topics), find);
    return HubSubscription.of<T>(subscriber, options.signal);
  }

  /** Returns the number of subscribers in this process. With a topic, counts only the subscribers that receive events of that topic. */
  size(topic?: string): number {
    return this.subscribers.size(topic);
  }

  /**
   * Returns the number of subscribers in all processes that share the broker. With a topic, counts only the subscribers that receive events of that topic.
   * With a `MemoryBroker`, this is the same as `size()`.
   *
   * The figures of other processes are up to 5 seconds old. A process that has crashed is counted for about 10 seconds more, and a process that was
   * closed is not. The first call makes the other processes store their figures, and waits for them, for at most 2 seconds. They continue for one minute after the last
   * call.
   *
   * @throws {@link StreamError} with the code `invalid-topic`. An error of the broker is passed on
   */
  async count(topic?: string): Promise<number> {
    if (topic !== undefined) {
      checkTopic(topic);
    }
    const elsewhere = await this.countElsewhere?.(topic);
    return this.size(topic) + (elsewhere ?? 0);
  }

  /**
   * Returns the members in all processes that share the broker: see `member` of {@link SubscribeOptions}. With a topic, returns the members of that topic.
   * Without one, returns all members of the hub. A member with several subscriptions is returned once, with the `info` of the newest one.
   *
   * A member is returned until 5 seconds after its last subscription has ended, and that of a process that has crashed until about 10 seconds after the
   * crash. The first call asks the other processes, and waits for them, for at most 2 seconds. If the broker cannot be reached, the result is what
   * this process knew before.
   *
   * @throws {@link StreamError} with the code `invalid-topic`
   */
  async members(topic?: string): Promise<{ readonly id: string; readonly info?: unknown }[]> {
    if (topic !== undefined) {
      checkTopic(topic);
    }
    return this.localMembers.list(topic);
  }

  /** The topics to which clients are subscribed in this process. Subscribers of all topics do not count. */
  get topics(): string[] {
    return this.subscribers.topics;
  }

  /**
   * Closes the hub in this process. Its subscribers receive the events that were published before, and then their streams end cleanly. The
   * application calls this method when it closes. Resolves when the broker delivers no more events. A subscriber with a backlog receives it
   * before its stream ends.
   */
  close(): Promise<void> {
    this.closing ??= this.end();
    return this.closing;
  }

  /** @internal Returns whether the log of the hub is in a broker. */
  uses(broker: Broker): boolean {
    return this.broker === broker;
  }

  /** @internal The numbers of subscribers in this process, by the names in `presence.ts`. */
  get figures(): ReadonlyMap<string, number> {
    return this.subscribers.figures;
  }

  /** @internal The number of events that wait for the broker, and the number of those that it has not appended, or not confirmed. */
  get appends(): { readonly pending: number; readonly failed: number } {
    return this.publisher;
  }

  /** @internal The status of the broker, if it can have no connection. */
  get brokerStatus(): BrokerStatus | undefined {
    return statusOf(this.broker);
  }

  /** @internal The number of events that were published in this process. */
  get published(): number {
    return this.publisher.count;
  }

  /** @internal The number of events that this process has received, and how many events are in its memory. */
  get log(): HubLog['figures'] {
    return this.source.figures;
  }

  /** @internal */
  get isOpen(): boolean {
    return !this.closing;
  }

  /** @internal Publishes which members of a topic have come and gone. */
  async announce(topic: string | undefined, changes: MemberChanges): Promise<void> {
    this.requireOpen('publish');
    await this.publisher.publish(membersEntry(topic, changes));
  }

  /** @internal Resolves when the events that were published in this process are delivered to all live subscribers, or wait in their backlogs. */
  async settled(): Promise<void> {
    await this.publisher.settled();
    await this.source.finished();
  }

  /** @internal Ends every subscriber, also a future one, as soon as everything is written to it. Events can still be published to other processes. */
  async endSubscriptions(): Promise<void> {
    await this.settled();
    this.finishSubscribers();
  }

  private async end(): Promise<void> {
    this.source.stopRetrying();
    try {
      await this.publisher.settled();
      await this.source.close();
    } finally {
      this.source.endStarts();
      // Not settled(): the broker delivers nothing any more.
      await this.source.finished();
      this.finishSubscribers();
      this.subscribers.changes.complete();
      this.releaseHistory();
    }
  }

  private finishSubscribers(): void {
    this.ending = true;
    for (const subscriber of this.subscribers.subscribers) {
      subscriber.finish();
    }
  }

  /** Releases the history of a closed hub once it has no subscriber. */
  private releaseHistory(): void {
    if (this.closing && this.size() === 0) {
      this.source.clear();
    }
  }

  private optionsOf(
    { filter, overflow, queue, member }: SubscribeOptions<T>,
    topics: readonly string[] | undefined,
  ): SubscriberOptions {
    const { common } = this;
    // Most subscribers set no option: they share one object.
    return topics || filter || overflow || queue || member
      ? {
          topics,
          // The filter may read the AsyncLocalStorage of the request.
          filter: filter && AsyncResource.bind(filter as (event: HubEvent) => boolean),
          overflow: overflow ?? common.overflow,
          queue: { items: queue?.items ?? common.queue.items, bytes: queue?.bytes ?? common.queue.bytes },
          member: member && encodedMember(member, topics),
        }
      : common;
  }

  private sharedOf(lane: Lane): SubscriberHub {
    let shared = this.shared.get(lane);
    if (!shared) {
      const { subscribers, localMembers } = this;
      shared = {
        lane,
        isClosed: () => this.ending,
        onSubscribed: (subscriber) => {
          lane.enter(subscriber.options.topics);
          localMembers.add(subscriber.options);
          subscribers.add(subscriber);
        },
        onUnsubscribed: (subscriber) => {
          lane.leave(subscriber.options.topics);
          localMembers.delete(subscriber.options);
          subscribers.delete(subscriber);
          this.releaseHistory();
        },
      };
      this.shared.set(lane, shared);
    }
    return shared;
  }

  private requireSubscribers(): void {
    if (this.publishesOnly) {
      throw new StreamError(
        'invalid-option',
        `subscribe() to the hub "${this.name}": it is registered with role: 'publisher', and receives no events. Leave "role" out to subscribe`,
      );
    }
  }

  private requireOpen(what: string): void {
    if (this.closing) {
      throw new StreamError('hub-closed', `The hub "${this.name}" is closed: ${what}() is not possible any more`);
    }
  }
}

/** Returns the options of subscribers that set none themselves. */
function commonOptions({ overflow = 'disconnect', queue }: HubOptions): SubscriberOptions {
  const { items = HUB_DEFAULTS.items, bytes = HUB_DEFAULTS.bytes } = queue ?? {};
  return { topics: undefined, filter: undefined, overflow, queue: { items, bytes } };
}
