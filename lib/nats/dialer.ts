import type { ConnectionOptions, NatsConnection } from '@nats-io/transport-node';
import { isNotInstalled } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { type NatsBrokerOptions, urlOf } from './nats-broker.options.js';

type Driver = typeof import('@nats-io/transport-node');

/** The used functions of the driver. */
export type DriverFunctions = Pick<Driver, 'connect' | 'createInbox' | 'headers'>;

/** How long the driver waits before it connects again, in milliseconds. */
const SHORTEST_WAIT_MS = 50;
const WAIT_JITTER_MS = 450;
/** How often the driver checks that the server answers, in milliseconds. */
const PING_MS = 20_000;

/** Makes or returns the connection of a broker. */
export interface Dialer {
  /** Names the server in messages. Contains no password. */
  readonly server: string;
  /** Whether the broker has the connection for itself, and closes it. */
  readonly owns: boolean;
  connect(driver: DriverFunctions, timeout: number): Promise<NatsConnection>;
}

export function dialerOf({ servers, connection }: NatsBrokerOptions): Dialer {
  return servers === undefined
    ? new SharedDialer(connection as NatsConnection)
    : new OwnDialer(typeof servers === 'string' ? [servers] : servers);
}

/** Connects to servers. The driver connects again by itself. */
class OwnDialer implements Dialer {
  readonly owns = true;
  readonly server: string;
  /** A function does not show the password where the broker is printed. */
  private readonly options: () => ConnectionOptions;

  constructor(addresses: readonly string[]) {
    const urls = addresses.map(urlOf);
    const hosts = urls.map(({ hostname, port }) => `${hostname}:${port || 4222}`);
    const { username, password } = urls.find((url) => url.username !== '') ?? { username: '', password: '' };
    const [user, pass] = [username, password].map(decodeURIComponent);
    const credentials = user === '' ? {} : pass === '' ? { token: user } : { user, pass };
    const tls = urls.some(({ protocol }) => protocol === 'tls:') ? { tls: {} } : {};
    this.server = `NATS at ${hosts.join(', ')}${'tls' in tls ? ' (with TLS)' : ''}`;
    this.options = () => ({ servers: hosts, ...credentials, ...tls });
  }

  connect({ connect }: DriverFunctions, timeout: number): Promise<NatsConnection> {
    return connect({
      ...this.options(),
      timeout,
      pingInterval: PING_MS,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true,
      // It differs between processes, so that they do not all come at the same time.
      reconnectDelayHandler: () => SHORTEST_WAIT_MS + Math.random() * WAIT_JITTER_MS,
    });
  }
}

/** Returns the connection of the application. */
class SharedDialer implements Dialer {
  readonly owns = false;
  readonly server: string;
  private readonly connection: () => NatsConnection;

  constructor(connection: NatsConnection) {
    this.connection = () => connection;
    this.server = `NATS at ${connection.getServer()}`;
  }

  connect(): Promise<NatsConnection> {
    const connection = this.connection();
    return connection.isClosed()
      ? Promise.reject(
          new StreamError(
            'broker-unavailable',
            'The connection of the NatsBroker is closed: the application has closed it',
            {
              statusCode: 503,
            },
          ),
        )
      : Promise.resolve(connection);
  }
}

/** Loads the driver. */
export async function importDriver(): Promise<DriverFunctions> {
  try {
    return await import('@nats-io/transport-node');
  } catch (error) {
    if (isNotInstalled('@nats-io/transport-node', error)) {
      throw new StreamError(
        'module-missing',
        'new NatsBroker() needs the package @nats-io/transport-node. Install it: npm install @nats-io/transport-node',
      );
    }
    throw error;
  }
}
