import { Deadline } from '../util/deadline.js';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { Connection } from './connection.js';
import type { Driver, OnLost, Wire } from './driver.js';
import { isRefusal, unavailable, unusable } from './redis-errors.js';

/** The first wait before another attempt to connect, and the longest, in milliseconds. */
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;
/** The first version of Redis in which `XADD` counts by itself. */
const OLDEST_VERSION = 7;

export interface LinkOptions {
  readonly driver: Driver;
  /** The link connects to the server that has this key. */
  readonly key: string;
  /** How long Redis may take to connect, and to answer a command, in milliseconds. */
  readonly timeout: number;
  /** Called with every new connection before it is used. If it rejects, the connection is closed. */
  readonly prepare: (connection: Connection) => Promise<void>;
  /** Called when there is a connection, and when it is lost. */
  readonly onChange: (connection: Connection | undefined) => void;
}

/** Keeps a connection: makes another one when it is lost. */
export class Link {
  /** The connection, or `undefined` while there is none. */
  connection: Connection | undefined;
  /** Why there is no connection. `undefined` until an attempt has failed. */
  failure: StreamError | undefined;
  private attempts = 0;
  private timer: NodeJS.Timeout | undefined;
  private waiting: Deferred<Connection> | undefined;
  /** Ends the connection, or the attempt to connect. */
  private abandon: ((reason: string) => void) | undefined;
  private closed = false;

  constructor(private readonly options: LinkOptions) {}

  /** Resolves to a connection as soon as there is one. Rejects when the link is closed, or if Redis has refused to accept connections. */
  ready(): Promise<Connection> {
    if (this.connection?.usable) {
      return Promise.resolve(this.connection);
    }
    if (this.closed) {
      return Promise.reject(this.error('the broker is closed'));
    }
    this.waiting ??= deferred<Connection>();
    if (this.abandon === undefined && this.timer === undefined) {
      void this.connect();
    }
    return this.waiting.promise;
  }

  /** Closes the connection at once, and makes no other. */
  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.abandon?.('the broker is closed');
    this.failure = this.error('the broker is closed');
    this.reject(this.failure);
  }

  private async connect(): Promise<void> {
    try {
      this.connection = await this.open();
      this.attempts = 0;
      this.failure = undefined;
      this.waiting?.resolve(this.connection);
      this.waiting = undefined;
      this.options.onChange(this.connection);
    } catch (error) {
      this.abandon?.(textOf(error));
      this.failure = this.error(error);
      if (isRefusal(error)) {
        this.reject(this.failure);
      }
      this.retry();
    }
  }

  private async open(): Promise<Connection> {
    const { driver, timeout, prepare } = this.options;
    let lose = (_reason: string): void => undefined;
    const wire = await this.dial((error) => lose(textOf(error)));
    const connection = new Connection(wire, timeout, (reason) => this.onGone(connection, reason));
    lose = (reason) => connection.lose(reason);
    this.abandon = lose;
    await checkVersion(connection, driver.server);
    await prepare(connection);
    if (!connection.usable) {
      throw new Error('the connection was closed');
    }
    return connection;
  }

  /** Connects within the time limit, whatever the driver does. */
  private dial(onLost: OnLost): Promise<Wire> {
    const { driver, key, timeout } = this.options;
    return new Promise<Wire>((resolve, reject) => {
      let abandoned = false;
      let destroy = (): void => undefined;
      this.abandon = (reason) => {
        abandoned = true;
        deadline.clear();
        destroy();
        reject(new Error(reason));
      };
      const deadline = new Deadline(() => this.abandon?.(`it did not answer within ${timeout} ms`));
      deadline.start(timeout);
      const track = (each: () => void): void => {
        destroy = each;
        if (abandoned) {
          each();
        }
      };
      driver
        .connect(key, timeout, onLost, track)
        .finally(() => deadline.clear())
        .then((wire) => (abandoned ? wire.destroy() : resolve(wire)), reject);
    });
  }

  private onGone(connection: Connection, reason: string): void {
    if (this.connection === connection) {
      this.connection = undefined;
      this.failure = this.error(reason);
      this.retry();
      this.options.onChange(undefined);
    }
  }

  /** Connects again after a time that grows with every attempt, and that differs between processes. */
  private retry(): void {
    this.abandon = undefined;
    if (!this.closed) {
      const longest = Math.min(FIRST_WAIT_MS * 2 ** this.attempts++, LONGEST_WAIT_MS);
      const again = (): void => {
        this.timer = undefined;
        void this.connect();
      };
      this.timer = setTimeout(again, longest * (0.5 + Math.random() / 2));
    }
  }

  private reject(error: StreamError): void {
    this.waiting?.promise.catch(() => undefined);
    this.waiting?.reject(error);
    this.waiting = undefined;
  }

  private error(reason: unknown): StreamError {
    return reason instanceof StreamError ? reason : unavailable(this.options.driver.server, reason);
  }
}

/** @throws {StreamError} if the server is too old */
async function checkVersion(connection: Connection, server: string): Promise<void> {
  const info = String(await connection.request(['INFO', 'server']));
  const [, version = ''] = /^(?:valkey|redis)_version:(\S+)/m.exec(info) ?? [];
  if (Number.parseInt(version, 10) < OLDEST_VERSION) {
    throw unusable(
      `${server} has version ${version}: RedisBroker needs Redis ${OLDEST_VERSION}.0 or Valkey 7.2, or newer`,
    );
  }
}
