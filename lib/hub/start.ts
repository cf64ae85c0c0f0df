import type { HubResetReason } from '../event/hub-event.js';

/** A client that has not started. */
export interface StartingClient {
  /** Whether it has left, so that nobody needs its start any more. */
  readonly closed: boolean;
}

/** A subscriber that has not started. */
export interface StartingSubscriber extends StartingClient {
  readonly options: { readonly topics: readonly string[] | undefined };
}

/** Why a client has missed events. */
export interface Loss {
  readonly reason: HubResetReason;
  /** The topics whose events are missing. `undefined`: all events may be. */
  readonly topics?: readonly string[];
}

/** Where a subscriber starts. */
export interface Start {
  /** Events with a higher sequence number follow. It has no meaning if `loss` does not name topics. */
  readonly after: number;
  /** For topics that start later: events of the topic with a higher sequence number follow. */
  readonly each?: ReadonlyMap<string, number>;
  /**
   * Set for a client that sent no id: the last sequence number when it subscribed. For this client, it is no gap if events up to that number are evicted.
   */
  readonly liveFrom?: number;
  /** Set for a client that has missed events. It receives a `reset` first. */
  readonly loss?: Loss;
}

/**
 * Finds out where a subscriber starts. If it needs events that are not in memory, they are read.
 * @throws {StreamError} `hub-closed` if the hub closes before this is known
 */
export type FindStart = (client: StartingSubscriber) => Start | Promise<Start>;

/** What a client asks for when it subscribes. */
export interface StartRequest {
  /** The id of the last event that it has received. An empty string counts as none. */
  readonly after?: string;
  /** The number of newest events to start with, if there is no id. */
  readonly last: number;
  /** `undefined`: all topics. */
  readonly topics: readonly string[] | undefined;
}
