import { EVENT, MARK } from './event.js';

/** The type of the events that say which members of a topic have come and gone. */
export const MEMBERS = 'members';

/** The fields of a hub event. */
export interface HubEventParts<T> {
  readonly id: string;
  readonly type?: string;
  readonly data: T;
  readonly topic?: string;
  readonly key?: string;
}

/** Encodes one event once for each format: the result is kept, and shared by all connections. `format` is an object, as events do not know formats. */
export interface SharedEncoder {
  encodeShared(format: object): string | Uint8Array;
}

/**
 * An event that was published to a hub, as its subscribers receive it. All subscribers share one object: treat it as read-only.
 *
 * Its `data` was converted to JSON and back, with every broker: a `Date` is now a string.
 */
export class HubEvent<T = unknown> {
  /** The position of the event in the log: a client that sends it as `Last-Event-ID` receives the events after it. Opaque. */
  readonly id: string;
  /** The type that it was published with. `undefined` if it has none: clients then receive it as a `message`. */
  readonly type: string | undefined;
  /** The published data. */
  readonly data: T;
  readonly #topic: string | undefined;
  readonly #key: string | undefined;
  readonly #encoder: SharedEncoder | undefined;
  readonly #notice: HubNotice | undefined;

  /** @internal */
  constructor({ id, type, data, topic, key }: HubEventParts<T>, encoder?: SharedEncoder, notice?: HubNotice) {
    this.id = id;
    this.type = type;
    this.data = data;
    this.#topic = topic;
    this.#key = key;
    this.#encoder = encoder;
    this.#notice = notice;
  }

  /** Creates the event that carries a notice of the hub. Its id is that of the event before the gap. @internal */
  static of(notice: HubNotice, id: string): HubEvent {
    return new HubEvent<unknown>({ id, ...notice }, undefined, notice);
  }

  // Getters, because the own keys of an event are the fields that formats write.

  /** The topic that it was published to, or `undefined`. */
  get topic(): string | undefined {
    return this.#topic;
  }

  /** The key that it was published with, or `undefined`. With the overflow policy `latest`, it replaces waiting events with the same topic and key. */
  get key(): string | undefined {
    return this.#key;
  }

  /** Marks the object as an event, also for other copies of the package. @internal */
  get [MARK](): symbol {
    return EVENT;
  }

  /** Encodes it once for all connections of a format; `undefined` if each connection has to encode it. @internal */
  get encoder(): SharedEncoder | undefined {
    return this.#encoder;
  }

  /** The notice that it carries; `undefined` for an event that was published. @internal */
  get notice(): HubNotice | undefined {
    return this.#notice;
  }
}

/** Why a client cannot resume after the id that it sent. */
export type HubResetReason =
  /** The next events are no longer in the history. */
  | 'evicted'
  /** The log is not the one that the id belongs to: the server was restarted, or lost its store. */
  | 'epoch'
  /** The id belongs to another hub. */
  | 'hub'
  /** The id does not have the form of an id of this package. */
  | 'malformed';

/** The data of an event of type `reset`, which reports that the client has missed events. The events of the history follow it. */
export interface HubReset {
  /**
   * Why events are missing:
   * - `evicted`: the next events are no longer in the history
   * - `epoch`: the log is not the one that the id belongs to, because the server was restarted, or lost its store
   * - `hub`: the id belongs to another hub
   * - `malformed`: the id does not have the form of an id of this package
   */
  readonly reason: HubResetReason;
  /** The id of the oldest event in the history, which is the next event that the client receives. `null` if the history is empty. */
  readonly oldest: string | null;
  /** The topics with missing events, if the hub has a history for each topic. Absent if all topics of the subscriber may have missed events. */
  readonly topics?: readonly string[];
}

/** A message of the hub itself to a subscriber, sent between published events. */
export type HubNotice =
  /** The subscriber has missed events. */
  | { readonly type: 'reset'; readonly data: HubReset }
  /** This number of events was dropped, because the client is too slow. */
  | { readonly type: 'lagged'; readonly data: { readonly dropped: number } };
