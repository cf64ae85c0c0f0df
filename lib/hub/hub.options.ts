import type { Broker } from '../broker/broker.js';
import type { HubEvent } from '../event/hub-event.js';
import type { QueueLimits } from '../util/queue-limits.js';
import type { HubOverflowPolicy } from './overflow.js';

/** Options of a hub that a subscriber can override. */
interface HubBehavior {
  /** What happens when more events wait for a subscriber than `queue` allows. Default: `disconnect`. */
  readonly overflow?: HubOverflowPolicy;
  /** How many events may wait for a slow subscriber, in addition to what the operating system buffers. Default: 1000 events, 1 MiB. */
  readonly queue?: Partial<QueueLimits>;
}

/** Options of a hub: see `StreamingModule.registerHub()`. */
export interface HubOptions extends HubBehavior {
  /** The name for `@InjectHub()`, and of the log in the broker. 1 to 128 characters without control characters. */
  readonly name: string;
  /**
   * Which events are kept for clients that resume: the newest `limit` events (default 1000), for `ttl` milliseconds (default 300 000), in
   * the memory of every process. `false`: none; a client that was away while events were published receives a `reset`.
   */
  readonly history?: { readonly limit?: number; readonly ttl?: number } | false;
  /** Stores the log. Default: the broker of `StreamingModule.forRoot()`, or else the memory of the process. */
  readonly broker?: Broker;
}

/** Options of `hub.publish()`. */
export interface PublishOptions {
  /** Delivered to subscribers of this topic and to subscribers of all topics. Default: only to the latter. 1 to 1024 bytes without control characters. */
  readonly topic?: string;
  /** The `type` of the event, which an `EventSource` listens for. `reset`, `lagged`, `position` and `shutdown` are reserved. Default: none. */
  readonly type?: string;
  /** Under the overflow policy `latest`, the event replaces waiting events of its topic with the same key. Default: none. */
  readonly key?: string;
}

/** Options of `hub.subscribe()`. */
export interface SubscribeOptions<T = unknown> extends HubBehavior {
  /** One topic, or up to 1000 topics. Default: all events, including those without a topic. */
  readonly topic?: string | readonly string[];
  /**
   * The id of the last event that the client has, as `@LastEventId()` gives it: the subscription starts with the events that followed. If
   * they are no longer available, an event of type `reset` comes first (see {@link HubReset}). Default, also for an empty string: starts now.
   */
  readonly after?: string;
  /** Without `after`: the number of events of the history to start with, the newest ones. Default: 0. */
  readonly last?: number;
  /** Returns whether to deliver an event. Called for every event: prefer topics, whose subscribers share bytes. An error fails this subscriber. */
  readonly filter?: (event: HubEvent<T>) => boolean;
  /** Ends the subscription. A `for await` loop without a signal notices that its stream is over only at the next event. */
  readonly signal?: AbortSignal;
}

/** A subscriber of a hub has come or left. */
export interface HubPresence {
  readonly type: 'subscribe' | 'unsubscribe';
  /** The topics of the subscriber. `undefined`: all topics. */
  readonly topics: readonly string[] | undefined;
  /** How many subscribers there are now, in this process. */
  readonly size: number;
}

export const HUB_DEFAULTS = {
  limit: 1_000,
  ttl: 300_000,
  items: 1_000,
  bytes: 1024 * 1024,
} as const;
