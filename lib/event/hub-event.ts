import { EVENT, MARK } from './event.js';

/** What a hub event is made of. */
export interface HubEventParts<T> {
  readonly id: string;
  readonly type?: string;
  readonly data: T;
  readonly topic?: string;
  readonly key?: string;
}

/** Encodes one event. Its result is kept, and shared by all connections that use the same format. An event does not know what a format is. */
export interface SharedEncoder {
  encodeShared(format: object): string | Uint8Array;
}

/**
 * An event that was published to a hub, as its subscribers receive it. All subscribers share one object: treat it as read-only.
 *
 * Its `data` has been through JSON, whichever broker the hub has: a `Date` has become a string.
 */
export class HubEvent<T = unknown> {
  /** Names the place of the event in the log: a client that sends it as `Last-Event-ID` receives the events that followed. Opaque. */
  readonly id: string;
  /** The `type` it was published with. Default: none, which clients call `message`. */
  readonly type: string | undefined;
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

  /** Makes the event that carries a notice of the hub. Its id is that of the event before the gap. @internal */
  static of(notice: HubNotice, id: string): HubEvent {
    return new HubEvent<unknown>({ id, ...notice }, undefined, notice);
  }

  // Getters, because the own keys of an event are the fields that formats write.

  /** The topic it was published to, if any. */
  get topic(): string | undefined {
    return this.#topic;
  }

  /** The key it was published with: under the overflow policy `latest`, it replaces waiting events of its topic with the same key. */
  get key(): string | undefined {
    return this.#key;
  }

  /** Marks it as an event for other copies of the package. @internal */
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

/** Why a client cannot resume after the id it sent. */
export type HubResetReason =
  /** The events that followed are no longer in the history. */
  | 'evicted'
  /** The log has been replaced since: the server was restarted, or lost its store. */
  | 'epoch'
  /** The id belongs to another hub. */
  | 'hub'
  /** The id is not one that this package makes. */
  | 'malformed';

/** The data of an event of type `reset`: the client has missed events. The events of the history follow. */
export interface HubReset {
  readonly reason: HubResetReason;
  /** The id of the oldest event in the history, which is the next one the client receives. `null`: the history is empty. */
  readonly oldest: string | null;
}

/** What a hub itself tells its subscribers, between the events that were published. */
export type HubNotice =
  /** Events are missing here. */
  | { readonly type: 'reset'; readonly data: HubReset }
  /** A number of events was dropped here, because the client is too slow. */
  | { readonly type: 'lagged'; readonly data: { readonly dropped: number } };
