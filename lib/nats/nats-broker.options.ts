import type { PendingLimits } from '../broker/pending-appends.js';
import type { Check } from '../util/checks.js';
import { count, demand, flag, keys, milliseconds, oneOf } from '../util/checks.js';
import { StreamError } from '../util/errors.js';

/** Options of a {@link NatsBroker}. Either `servers` or `connection` is required. */
export interface NatsBrokerOptions {
  /**
   * The addresses of the servers of one cluster, such as `nats://localhost:4222` or `tls://user:password@host:4222`, or of one of them. The user is the same for
   * all. Error messages do not contain the password.
   */
  readonly servers?: string | readonly string[];
  /**
   * A connection of the package `@nats-io/transport-node` (version 3), for other ways to sign in. The broker shares it with the application, and does not close it. Connect
   * with `maxReconnectAttempts: -1`, so that it is not closed after a long outage.
   */
  readonly connection?: object;
  /** The beginning of the names of all streams and subjects: the hub `prices` is the stream `ns_prices`. Letters, digits, `_` and `-`. Default: `ns`. */
  readonly prefix?: string;
  /** Where the streams are kept, when they are created. Those in memory are lost when the server restarts. Default: `file`. */
  readonly storage?: 'file' | 'memory';
  /** How many servers of the cluster have a copy of each stream, when it is created: 1 to 5. Default: 1. */
  readonly replicas?: number;
  /** How long NATS may take to append an event or to answer, in milliseconds. Default: 5000. */
  readonly timeout?: number;
  /** The maximum number of events that wait for NATS, and of bytes of their data. Default: 10 000 events and 16 MiB. */
  readonly pending?: Partial<PendingLimits>;
  /**
   * Whether the log of a hub continues after the server was restarted, or after another server of the cluster has become the leader of the stream. Set it to `true` only if
   * no event can be lost by that, as with `sync_interval: always`. Default: `false`, which means that clients then receive a `reset`.
   */
  readonly trustRestarts?: boolean;
}

/** Options with all defaults. */
export interface NatsBrokerSettings {
  readonly prefix: string;
  readonly storage: 'file' | 'memory';
  readonly replicas: number;
  readonly timeout: number;
  readonly pending: PendingLimits;
  readonly trustRestarts: boolean;
}

const DEFAULTS: NatsBrokerSettings = {
  prefix: 'ns',
  storage: 'file',
  replicas: 1,
  timeout: 5_000,
  pending: { entries: 10_000, bytes: 16 * 1024 * 1024 },
  trustRestarts: false,
};

const WHERE = 'new NatsBroker()';
const ADDRESS = 'the address of a NATS server, such as "nats://localhost:4222"';

const isAddresses = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 && value.every(isAddress) : isAddress(value);

const CHECKS = keys<NatsBrokerOptions>({
  // A value that is no address is not repeated: it may be one with a password and a mistake.
  servers: (value) =>
    isAddresses(value)
      ? undefined
      : `must be ${ADDRESS}, or an array of them. Encode special characters of the password with encodeURIComponent()`,
  connection: connectionProblem,
  prefix: (value) =>
    typeof value === 'string' && /^[A-Za-z0-9_-]{1,32}$/.test(value)
      ? undefined
      : 'must be 1 to 32 letters, digits, "_" and "-"',
  storage: oneOf('file', 'memory'),
  replicas: (value) =>
    Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 5
      ? undefined
      : 'must be a whole number from 1 to 5',
  timeout: milliseconds,
  pending: keys<PendingLimits>({ entries: count, bytes: count }),
  trustRestarts: flag,
});

function isAddress(value: unknown): boolean {
  try {
    const { protocol, username, password, hostname, pathname } = urlOf(String(value));
    // Throws if they could not be decoded.
    decodeURIComponent(username + password);
    return typeof value === 'string' && /^(?:nats|tls):$/.test(protocol) && hostname !== '' && /^\/?$/.test(pathname);
  } catch {
    return false;
  }
}

/** Parses an address. The protocol may be left out, as in the driver. */
export function urlOf(address: string): URL {
  return new URL(/^[a-z]+:\/\//i.test(address) ? address : `nats://${address}`);
}

/** Returns what is wrong with a connection. Its options are not part of its public type: if they cannot be read, they are not checked. */
function connectionProblem(value: unknown): ReturnType<Check> {
  const { publish, subscribe, status, options } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if ([publish, subscribe, status].some((method) => typeof method !== 'function')) {
    return 'must be a connection of @nats-io/transport-node, as connect() resolves to';
  }
  const { maxReconnectAttempts: attempts, reconnect } = (options ?? {}) as Readonly<Record<string, unknown>>;
  return reconnect === false || (attempts !== undefined && attempts !== -1)
    ? 'must be connected with "maxReconnectAttempts: -1": otherwise it is closed after a long outage, and the broker with it'
    : undefined;
}

/** @throws {StreamError} `invalid-option` */
export function settingsOf(options: NatsBrokerOptions): NatsBrokerSettings {
  demand(CHECKS, options, WHERE);
  if ((options.servers === undefined) === (options.connection === undefined)) {
    throw new StreamError('invalid-option', `${WHERE}: needs either "servers" or "connection"`);
  }
  // Not with the addresses: they may have a password, which would be visible where a broker is printed.
  const { servers: _servers, connection: _connection, pending, ...rest } = options;
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  return { ...DEFAULTS, ...Object.fromEntries(given), pending: { ...DEFAULTS.pending, ...pending } };
}
