import type { Broker } from '../broker/broker.js';
import type { HubEvent } from '../event/hub-event.js';
import type { QueueLimits } from '../util/queue-limits.js';
import type { HubOverflowPolicy } from './overflow.js';

/** What may be said for a hub, and otherwise for a subscriber. */
interface HubBehavior {
  /** What happens when more waits for a subscriber than `queue` allows. Default: `disconnect`. */
  readonly overflow?: HubOverflowPolicy;
  /** What may wait for a subscriber that is behind, besides what the operating system has of it. Default: 1000 events, 1 MiB of their data. */
  readonly queue?: Partial<QueueLimits>;
}

/** Options of a hub: see `StreamingModule.registerHub()`. */
export interface HubOptions extends HubBehavior {
  /** By which it is injected. Brokers name its log after it. */
  readonly name: string;
  /**
   * What is kept for clients that come back: the newest `limit` events (default 1000), for `ttl` milliseconds (default
   * 300 000), in the memory of every process. `false`: nothing; who was away is told so by a `reset`.
   */
  readonly history?: { readonly limit?: number; readonly ttl?: number } | false;
  /** Where its log lives. Default: that of `StreamingModule.forRoot()`, which is the memory of the process. */
  readonly broker?: Broker;
}

/** Options of `hub.publish()`. */
export interface PublishOptions {
  /** Who listens to it, or to all, hears it; without one, only who listens to all. 1 to 1024 bytes without control characters. */
  readonly topic?: string;
  /** The `type` of the event, which is what an `EventSource` listens for. `reset` and `lagged` are the hub's own. Default: none. */
  readonly type?: string;
  /** Events of a topic with the same key supersede each other under the overflow policy `latest`. Default: none. */
  readonly key?: string;
}

/** Options of `hub.subscribe()`. */
export interface SubscribeOptions<T = unknown> extends HubBehavior {
  /** One topic, or up to 1000. Default: all, also what has none. */
  readonly topic?: string | readonly string[];
  /**
   * The id of the last event that was had, as `@LastEventId()` gives it: begins with what followed. Where that is not there any
   * more, an event of type `reset` comes first (see {@link HubReset}). Default, also for `undefined` and an empty one: begins now.
   */
  readonly after?: string;
  /** Without `after`: begins with so many of the newest events of the history. Default: 0. */
  readonly last?: number;
  /** Which events to hear. Called for each, so prefer topics, for which everyone is sent the same bytes. What it throws fails this subscriber. */
  readonly filter?: (event: HubEvent<T>) => boolean;
  /** Ends the subscription. Needed where it is read with `for await`, which otherwise notices at its next event. */
  readonly signal?: AbortSignal;
}

/** Somebody has come, or gone. */
export interface HubPresence {
  readonly type: 'subscribe' | 'unsubscribe';
  /** What they listen to; nothing: all. */
  readonly topics: readonly string[] | undefined;
  /** How many there are now, in this process. */
  readonly size: number;
}

export const HUB_DEFAULTS = {
  limit: 1_000,
  ttl: 300_000,
  items: 1_000,
  bytes: 1024 * 1024,
} as const;
