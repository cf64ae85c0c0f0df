import { isNotInstalled } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';

/** A value of a row or of a parameter. Every column of the broker is text, a number or an array of them; the driver may return numbers as text. */
export type Value = string | number | boolean | null | readonly (string | number | boolean | null)[];
export type Row = readonly unknown[];

/** The used part of a client of the package pg. */
export interface PgClient {
  connect(): Promise<unknown>;
  query(query: { readonly text: string; readonly values?: unknown[]; readonly rowMode: 'array' }): Promise<{
    readonly rows: readonly Row[];
  }>;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  on(event: 'notification', listener: (message: { readonly payload?: string }) => void): unknown;
  off(event: 'error', listener: (error: unknown) => void): unknown;
  end(): Promise<unknown>;
}

/** A client of a pool. */
export interface PgPoolClient extends PgClient {
  /** Returns the client to its pool, or closes it. */
  release(close?: boolean): void;
}

type ClientClass = new (config: object) => PgClient;

/** The used part of a pool of the package pg. */
interface PgPool {
  readonly options: Readonly<Record<string, unknown>>;
  readonly Client: ClientClass;
  connect(borrowed: (error: unknown, client: PgPoolClient | undefined) => void): void;
}

interface OwnPool extends PgPool {
  on(event: 'error', listener: () => void): unknown;
  end(): Promise<unknown>;
}

/** Connects to Postgres. */
export interface Driver {
  /** Names the server in messages. Contains no password. */
  readonly server: string;
  /**
   * Borrows a client for one statement.
   * @param onError a listener for the loss of its connection. To be removed when the client is returned
   */
  borrow(onError: () => void): Promise<PgPoolClient>;
  /** Returns a client that is not connected yet, for `LISTEN`. */
  newClient(): Promise<PgClient>;
  /** Closes what the driver has opened itself. */
  close(): void;
}

export interface DriverOptions {
  readonly url: string | undefined;
  readonly pool: object | undefined;
  readonly listen: string | undefined;
  readonly timeout: number;
}

/** The number of connections of a pool of the broker's own. */
const CONNECTIONS = 4;
const APPLICATION = 'nestjs-streaming';

// The addresses are kept by functions only, since a property would show the password where the broker is printed.

/** Returns the driver for a URL, or for a pool of the application. */
export function driverOf({ url, pool, listen, timeout }: DriverOptions): Driver {
  return url === undefined ? poolDriver(pool as PgPool, listen, timeout) : urlDriver(url, listen, timeout);
}

export function isPool(value: unknown): boolean {
  const { connect, Client, options } = value as { connect?: unknown; Client?: unknown; options?: unknown };
  return typeof connect === 'function' && typeof Client === 'function' && typeof options === 'object';
}

function poolDriver(pool: PgPool, listen: string | undefined, timeout: number): Driver {
  const { options } = pool;
  return {
    server: listen === undefined ? serverOf(options) : serverAt(listen),
    borrow: (onError) => borrowFrom(pool, onError),
    newClient: async () => new pool.Client(ownConfig({ ...options, ...secretsOf(options) }, listen, timeout)),
    close: () => undefined,
  };
}

function urlDriver(url: string, listen: string | undefined, timeout: number): Driver {
  let own: OwnPool | undefined;
  let closed = false;
  const config = { connectionString: url, application_name: APPLICATION };
  return {
    server: serverAt(url),
    borrow: async (onError) => {
      const { Pool } = await importPg();
      if (closed) {
        throw new Error('the broker is closed');
      }
      if (!own) {
        const options = { ...config, max: CONNECTIONS, connectionTimeoutMillis: timeout, allowExitOnIdle: true };
        own = new Pool(options) as unknown as OwnPool;
        // The next statement gets another client.
        own.on('error', () => undefined);
      }
      return borrowFrom(own, onError);
    },
    newClient: async () => {
      const { Client } = await importPg();
      return new Client(ownConfig(config, listen, timeout)) as unknown as PgClient;
    },
    close: () => {
      closed = true;
      own?.end().catch(() => undefined);
    },
  };
}

/**
 * While a client is borrowed, its pool does not listen for the loss of its connection. So this listens from the callback on, and not when a promise resolves: if the
 * server ends the connection in the packet in which it says that it is ready, the error comes before that, and an error without a listener ends the process.
 */
function borrowFrom(pool: PgPool, onError: () => void): Promise<PgPoolClient> {
  return new Promise((resolve, reject) => {
    pool.connect((error, client) => {
      if (client) {
        client.on('error', onError);
        resolve(client);
      } else {
        reject(error);
      }
    });
  });
}

function ownConfig(config: object, listen: string | undefined, timeout: number): object {
  const address = listen === undefined ? {} : { connectionString: listen };
  return { ...config, ...address, keepAlive: true, connectionTimeoutMillis: timeout };
}

/** A pool hides its password from copies. */
function secretsOf({ password }: PgPool['options']): object {
  return password === undefined ? {} : { password };
}

function serverOf({ connectionString, host, port }: PgPool['options']): string {
  return typeof connectionString === 'string'
    ? serverAt(connectionString)
    : `Postgres at ${typeof host === 'string' ? host : 'localhost'}:${typeof port === 'number' ? port : 5432}`;
}

function serverAt(url: string): string {
  try {
    const { hostname, port } = new URL(url);
    return hostname === '' ? 'Postgres' : `Postgres at ${hostname}:${port || 5432}`;
  } catch {
    return 'Postgres';
  }
}

async function importPg(): Promise<typeof import('pg')> {
  try {
    const pg = await import('pg');
    return (pg.default as typeof pg | undefined) ?? pg;
  } catch (error) {
    if (isNotInstalled('pg', error)) {
      throw new StreamError(
        'module-missing',
        'new PostgresBroker() needs the package pg for "url". Install it (npm install pg), or pass a "pool" of it',
      );
    }
    throw error;
  }
}
