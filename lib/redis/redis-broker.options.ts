import type { PendingLimits } from '../broker/pending-appends.js';
import type { Check } from '../util/checks.js';
import { count, demand, keys, milliseconds, oneOf } from '../util/checks.js';
import { StreamError } from '../util/errors.js';

/** Options of a {@link RedisBroker}. Either `url` or `client` is required. */
export interface RedisBrokerOptions {
  /**
   * The address of Redis, such as `redis://localhost:6379` or `rediss://user:password@host:6380`. The package `redis` must be installed. Error
   * messages do not contain the password.
   */
  readonly url?: string;
  /**
   * A client of the package `redis` (version 5 or newer), `ioredis` (version 5 or newer) or `iovalkey`: for one server, a Sentinel or a Cluster. The broker
   * duplicates it, and does not use or close it: it makes connections of its own with the same address, credentials and TLS.
   */
  readonly client?: object;
  /** The beginning of the names of all keys: the hub `prices` is kept in `ns:{prices}`. Default: `ns`. */
  readonly prefix?: string;
  /**
   * How a process receives new events. `read`: by a blocking `XREAD`, at most once in 5 ms. `pubsub`: by sharded publish and subscribe, which costs Redis less
   * for more than about 30 processes. All processes need the same value. Default: `read`.
   */
  readonly tail?: 'read' | 'pubsub';
  /**
   * The minimum number of events that Redis keeps for each hub, so that a process that is slow, or was not connected, can still read them. A hub with a larger
   * `history.limit` keeps that number. Default: 4096.
   */
  readonly tailBuffer?: number;
  /** How long Redis may take to append an event or to answer, in milliseconds. Default: 5000. */
  readonly timeout?: number;
  /** The maximum number of events that wait for Redis, and of bytes of their data. Default: 10 000 events and 16 MiB. */
  readonly pending?: Partial<PendingLimits>;
  /**
   * Whether the log of a hub continues after Redis was restarted or replaced by a replica. Set it to `true` only if no event can be lost by that, as with
   * `appendfsync always`. Default: `false`, which means that clients then receive a `reset`.
   */
  readonly trustRestarts?: boolean;
  /** How long Redis remembers `once` of an event, in milliseconds. Default: 120 000. */
  readonly onceWindow?: number;
}

/** Options with all defaults. */
export interface RedisBrokerSettings {
  readonly prefix: string;
  readonly tail: 'read' | 'pubsub';
  readonly tailBuffer: number;
  readonly timeout: number;
  readonly pending: PendingLimits;
  readonly trustRestarts: boolean;
  readonly onceWindow: number;
}

const DEFAULTS: RedisBrokerSettings = {
  prefix: 'ns',
  tail: 'read',
  tailBuffer: 4_096,
  timeout: 5_000,
  pending: { entries: 10_000, bytes: 16 * 1024 * 1024 },
  trustRestarts: false,
  onceWindow: 120_000,
};

const WHERE = 'new RedisBroker()';

/** A value that is no URL is not repeated: it may be one with a password and a mistake. */
const url: Check = (value) =>
  typeof value === 'string' && isRedisUrl(value)
    ? undefined
    : 'must be the URL of a Redis, such as "redis://localhost:6379". Encode special characters of the password with encodeURIComponent()';

const CHECKS = keys<RedisBrokerOptions>({
  url,
  client: (value) => (typeof value === 'object' && value !== null ? undefined : 'must be a client of redis or ioredis'),
  prefix: (value) => (typeof value === 'string' && value !== '' ? undefined : 'must be at least one character'),
  tail: oneOf('read', 'pubsub'),
  tailBuffer: count,
  timeout: milliseconds,
  pending: keys<PendingLimits>({ entries: count, bytes: count }),
  trustRestarts: (value) => (typeof value === 'boolean' ? undefined : 'must be true or false'),
  onceWindow: (value) =>
    Number.isInteger(value) ? milliseconds(value) : 'must be a whole number of milliseconds above 0',
});

function isRedisUrl(value: string): boolean {
  try {
    const { protocol, username, password, hostname, pathname } = new URL(value);
    // Throws if the driver could not decode them.
    decodeURIComponent(username + password);
    return /^rediss?:$/.test(protocol) && hostname !== '' && /^\/?\d*$/.test(pathname);
  } catch {
    return false;
  }
}

/** @throws {StreamError} `invalid-option` */
export function settingsOf(options: RedisBrokerOptions): RedisBrokerSettings {
  demand(CHECKS, options, WHERE);
  if ((options.url === undefined) === (options.client === undefined)) {
    throw new StreamError('invalid-option', `${WHERE}: needs either "url" or "client"`);
  }
  // Not with the address: it may have a password, which would be visible where a broker is printed.
  const { url: _url, client: _client, pending, ...rest } = options;
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given), pending: { ...DEFAULTS.pending, ...pending } };
}
