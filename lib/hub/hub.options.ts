import type { Broker } from '../broker/broker.js';
import type { HubEvent } from '../event/hub-event.js';
import type { QueueLimits } from '../util/queue-limits.js';
import type { HubOverflowPolicy } from './overflow.js';

/** Options of a hub that a subscriber can override. */
interface HubBehavior {
  /** The policy when the queue of a subscriber is full. Default: `disconnect`. */
  readonly overflow?: HubOverflowPolicy;
  /** The limits of the queue of a subscriber. Bytes in buffers of the operating system do not count. Default: 1000 events, 1 MiB. */
  readonly queue?: Partial<QueueLimits>;
}

/** Options of a hub: see `StreamingModule.registerHub()`. */
export interface HubOptions extends HubBehavior {
  /** The name of the hub for `@InjectHub()`, and of its log in the broker: 1 to 128 characters, without control characters, and not `~` as the first. */
  readonly name: string;
  /**
   * Which events are kept for clients that resume: the newest `limit` events (default: 1000), each for `ttl` milliseconds (default: 300 000). A
   * process keeps them in memory from its start; older ones are read from the broker when a client needs them. `false`: none are kept; a client that has missed events receives a `reset`.
   *
   * With `per: 'topic'`, each topic has a history of its own, of `limit` events. A process then receives only the topics that clients are subscribed to
   * here, so that a hub can have hundreds of thousands of topics. Every event and every subscription needs a topic: see `all`. Default: `log`, one history for all topics.
   */
  readonly history?: { readonly per?: 'log' | 'topic'; readonly limit?: number; readonly ttl?: number } | false;
  /**
   * With a history for each topic: keeps a history of all events, too, so that clients can subscribe to all topics, and events need no topic. A process receives all
   * events once somebody subscribes to all of them here. Default: `false`.
   */
  readonly all?: boolean;
  /** Stores the log. Default: the `broker` of `StreamingModule.forRoot()`, or a {@link MemoryBroker} if it has none. */
  readonly broker?: Broker;
  /**
   * `publisher`: this process only publishes, such as a worker. The hub then receives no events: `publish()` works, and `subscribe()` throws.
   * Default: the hub publishes, and has subscribers.
   */
  readonly role?: 'publisher';
}

/** Options of `hub.publish()`. */
export interface PublishOptions {
  /**
   * Delivers the event to subscribers of this topic, and to subscribers of all topics. 1 to 1024 bytes, without control characters. Default:
   * no topic, which delivers the event only to subscribers of all topics.
   */
  readonly topic?: string;
  /** The type of the event, by which an `EventSource` selects its listeners. `reset`, `lagged`, `position`, `members` and `shutdown` are reserved. Default: none. */
  readonly type?: string;
  /** With the overflow policy `latest`, the event replaces waiting events of its topic that have the same key. Default: none. */
  readonly key?: string;
  /**
   * Publishes the event only once: if an event with the same value was published to the hub in the last 2 minutes (`onceWindow` of the broker), no
   * event is published, and `publish()` resolves to the id of the earlier one. So a caller can publish again after the error `publish-unknown`. 1 to
   * 256 characters. Default: the event is always published.
   */
  readonly once?: string;
}

/** Options of `hub.subscribe()`. */
export interface SubscribeOptions<T = unknown> extends HubBehavior {
  /** One topic, or up to 1000 topics. Default: all events, including those without a topic. */
  readonly topic?: string | readonly string[];
  /**
   * The id of the last event that the client has received, as from `@LastEventId()`. The subscription starts with the event after it. If
   * events after it are no longer available, the first event is a `reset` (see {@link HubReset}). Default, also for an empty string: the
   * subscription starts now.
   */
  readonly after?: string;
  /** The number of events from the end of the history with which the subscription starts, if `after` is not set. Default: 0. */
  readonly last?: number;
  /**
   * Returns whether to deliver an event. Called for every event of the topics. Topics are faster, as their subscribers share encoded bytes. If
   * the function throws, the stream of this subscriber fails.
   */
  readonly filter?: (event: HubEvent<T>) => boolean;
  /**
   * Who subscribes, for `hub.members()`. When a member comes to a topic, or goes, the subscribers of the topic receive an event of the type `members`, whose
   * data is `{ joined, left }`: two lists of members. In `joined`, there are also members whose `info` has changed.
   *
   * A member of several subscriptions, in any process, is one member, with the `info` of the newest one. It goes 5 seconds after its last subscription has
   * ended, so that others do not notice a reload. Without a topic, it is a member of the hub, and the events have no topic.
   *
   * `id` is a text of 1 to 256 bytes without control characters. `info` is any value whose JSON has at most 1 KiB. A subscription with a member has at most
   * 100 topics. Default: the subscription has no member.
   */
  readonly member?: { readonly id: string; readonly info?: unknown };
  /** Ends the subscription when it is aborted. Without a signal, a `for await` loop only notices at the next event that its stream is over. */
  readonly signal?: AbortSignal;
}

/** Emitted by `hub.presence` when a subscriber has subscribed or unsubscribed. */
export interface HubPresence {
  /** Whether the subscriber has subscribed or unsubscribed. */
  readonly type: 'subscribe' | 'unsubscribe';
  /** The topics of the subscriber. `undefined` if it subscribes to all topics. */
  readonly topics: readonly string[] | undefined;
  /** The number of subscribers in this process after the change. */
  readonly size: number;
}

export const HUB_DEFAULTS = {
  limit: 1_000,
  ttl: 300_000,
  items: 1_000,
  bytes: 1024 * 1024,
} as const;
