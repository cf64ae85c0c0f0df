import type { PendingLimits } from '../broker/pending-appends.js';
import { type Check, count, demand, flag, keys, milliseconds } from '../util/checks.js';
import { StreamError } from '../util/errors.js';
import { isPool } from './driver.js';

/** Options of a {@link PostgresBroker}. Either `url` or `pool` is required. */
export interface PostgresBrokerOptions {
  /**
   * The address of Postgres, such as `postgres://user:password@localhost:5432/database`. The package `pg` must be installed. The broker has up to 5 connections. Error
   * messages do not contain the password.
   */
  readonly url?: string;
  /**
   * A `Pool` of the package `pg`, version 8. The broker borrows a client for each statement, and does not close the pool. It makes one more connection with the same
   * options, to receive notifications.
   */
  readonly pool?: object;
  /**
   * The address for the connection that receives notifications. Needed if `url` or `pool` connects to a PgBouncer that shares connections between transactions: this
   * connection must lead to Postgres itself. Default: as `url` or `pool`.
   */
  readonly listen?: string;
  /**
   * The schema of the tables and functions: letters, digits and underscores. It is created if it does not exist. Default: `ns`.
   */
  readonly schema?: string;
  /**
   * How often the broker looks for new events without a notification, in milliseconds: the longest delay of an event that a transaction has published by
   * `ns_append()`. Default: 500.
   */
  readonly poll?: number;
  /** The shortest time between two notifications of a process, in milliseconds. Postgres processes them one after the other. Default: 10. */
  readonly notify?: number;
  /** How long Postgres may take to append an event or to answer, in milliseconds. Default: 5000. */
  readonly timeout?: number;
  /** The maximum number of events that wait for Postgres, and of bytes of their data. Default: 10 000 events and 16 MiB. */
  readonly pending?: Partial<PendingLimits>;
  /**
   * Whether the log of a hub continues after a failover. Set it to `true` only if no event can be lost by that, as with synchronous replication. Default: `false`,
   * which means that clients then receive a `reset`.
   */
  readonly trustRestarts?: boolean;
}

/** Options with all defaults. */
export interface PostgresBrokerSettings {
  readonly schema: string;
  readonly poll: number;
  readonly notify: number;
  readonly timeout: number;
  readonly pending: PendingLimits;
  readonly trustRestarts: boolean;
}

const DEFAULTS: PostgresBrokerSettings = {
  schema: 'ns',
  poll: 500,
  notify: 10,
  timeout: 5_000,
  pending: { entries: 10_000, bytes: 16 * 1024 * 1024 },
  trustRestarts: false,
};

const WHERE = 'new PostgresBroker()';

/** A value that is no URL is not repeated: it may be one with a password and a mistake. */
const url: Check = (value) =>
  typeof value === 'string' && isPostgresUrl(value)
    ? undefined
    : 'must be the URL of a Postgres, such as "postgres://user:password@localhost:5432/database". Encode special characters of the password with encodeURIComponent()';

const CHECKS = keys<PostgresBrokerOptions>({
  url,
  pool: (value) =>
    typeof value === 'object' && value !== null && isPool(value) ? undefined : 'must be a Pool of the package pg',
  listen: url,
  schema: (value) =>
    typeof value === 'string' && /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(value)
      ? undefined
      : 'must be 1 to 63 letters, digits and underscores, and begin with no digit',
  poll: milliseconds,
  notify: milliseconds,
  timeout: milliseconds,
  pending: keys<PendingLimits>({ entries: count, bytes: count }),
  trustRestarts: flag,
});

function isPostgresUrl(value: string): boolean {
  try {
    const { protocol, username, password, pathname } = new URL(value);
    // Throws if the driver could not decode them.
    decodeURIComponent(username + password + pathname);
    return /^postgres(?:ql)?:$/.test(protocol);
  } catch {
    return false;
  }
}

/** @throws {StreamError} `invalid-option` */
export function settingsOf(options: PostgresBrokerOptions): PostgresBrokerSettings {
  demand(CHECKS, options, WHERE);
  if ((options.url === undefined) === (options.pool === undefined)) {
    throw new StreamError('invalid-option', `${WHERE}: needs either "url" or "pool"`);
  }
  // Not with the addresses: they may have a password, which would be visible where a broker is printed.
  const { url: _url, pool: _pool, listen: _listen, pending, ...rest } = options;
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given), pending: { ...DEFAULTS.pending, ...pending } };
}
