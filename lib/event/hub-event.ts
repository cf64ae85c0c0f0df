import { EVENT, MARK } from './event.js';

/** The part of a {@link StreamFormat} that writes the events of a hub. */
interface HubEventFormat {
  readonly name: string;
  readonly mediaTypes: readonly string[];
  readonly fields?: boolean;
  encode(value: unknown): string | Uint8Array;
  lagged?(dropped: number, id?: string): string | Uint8Array;
  reset?(reset: HubReset): string | Uint8Array;
}

/** The parts of a hub event. */
export interface HubEventParts<T> {
  readonly id: string;
  readonly type?: string;
  readonly data: T;
  readonly topic?: string;
  readonly key?: string;
}

/**
 * What was published to a hub, as its subscribers see it. It is shared by all of them: treat it as read-only.
 *
 * Its `data` has been through JSON, whatever the broker: a `Date` has become a string.
 */
export class HubEvent<T = unknown> {
  /** Names its place: a client that comes back with it gets what followed. Opaque. */
  readonly id: string;
  /** As it was published. Default: none, which clients call `message`. */
  readonly type: string | undefined;
  readonly data: T;
  readonly #topic: string | undefined;
  readonly #key: string | undefined;
  readonly #shared: ((format: HubEventFormat) => string | Uint8Array) | undefined;

  /**
   * @param shared encodes it once for all connections of a format
   * @internal
   */
  constructor(
    { id, type, data, topic, key }: HubEventParts<T>,
    shared?: (format: HubEventFormat) => string | Uint8Array,
  ) {
    this.id = id;
    this.type = type;
    this.data = data;
    this.#topic = topic;
    this.#key = key;
    this.#shared = shared;
  }

  // Not among its own keys: those are what makes it an event to a format.

  /** The topic it was published to, if any. */
  get topic(): string | undefined {
    return this.#topic;
  }

  /** What it supersedes others by, under the overflow policy `latest`. */
  get key(): string | undefined {
    return this.#key;
  }

  /** Marks it as an event for other copies of the package. @internal */
  get [MARK](): symbol {
    return EVENT;
  }

  /** @internal */
  encode(format: HubEventFormat): string | Uint8Array {
    return format.encode(format.fields ? this : this.data);
  }

  /** As {@link encode}, for a format that keeps no state: the same memory for all who are sent it. @internal */
  encodeShared(format: HubEventFormat): string | Uint8Array {
    return this.#shared ? this.#shared(format) : this.encode(format);
  }
}

/** Why a client cannot go on where it was. */
export type HubResetReason =
  /** What followed is not in the history any more. */
  | 'evicted'
  /** The log has begun anew since: the server was restarted, or its store was. */
  | 'epoch'
  /** The id is of another hub. */
  | 'hub'
  /** The id is none of ours. */
  | 'malformed';

/** The data of an event of type `reset`: something was missed. What the history holds follows. */
export interface HubReset {
  readonly reason: HubResetReason;
  /** The id of the oldest event there is, with which what follows begins. `null`: there is none. */
  readonly oldest: string | null;
}

/** What a hub has to say itself, among the events. */
export class HubNotice extends HubEvent {
  readonly #write: (format: HubEventFormat) => string | Uint8Array;

  private constructor(parts: HubEventParts<unknown>, write: (format: HubEventFormat) => string | Uint8Array) {
    super(parts);
    this.#write = write;
  }

  /** Something was missed, and what follows comes after this id. */
  static reset(id: string, data: HubReset): HubNotice {
    return new HubNotice({ id, type: 'reset', data }, (format) =>
      format.fields ? format.encode({ type: 'reset', id, data }) : (format.reset?.(data) ?? ''),
    );
  }

  /** So many were dropped after this id. */
  static lagged(id: string, dropped: number): HubNotice {
    return new HubNotice({ id, type: 'lagged', data: { dropped } }, (format) => format.lagged?.(dropped, id) ?? '');
  }

  override encode(format: HubEventFormat): string | Uint8Array {
    return this.#write(format);
  }
}
