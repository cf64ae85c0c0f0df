import { within } from './database.js';
import type { Driver, PgClient, Row, Value } from './driver.js';

/** The first wait before another attempt to connect, and the longest, in milliseconds. */
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;

export interface ListenLinkOptions {
  readonly driver: Driver;
  readonly channel: string;
  readonly timeout: number;
  /** Called with a new connection before it is used. If it rejects, the connection is closed. */
  readonly prepare: () => Promise<void>;
  /** Called when there is a connection. */
  readonly onConnected: () => void;
  /** Called when an attempt to connect has failed. */
  readonly onFailed: (error: unknown) => void;
  /** Called with the text of a notification. */
  readonly onNotification: (text: string) => void;
}

/** Keeps the connection that receives notifications: makes another one when it is lost. */
export class ListenLink {
  /** Since when there is a connection, or none, in milliseconds since 1970. */
  since = Date.now();
  private client: PgClient | undefined;
  /** The client of the present attempt. `true` before there is one, and when its connection was lost. */
  private connecting: PgClient | true | undefined;
  private attempts = 0;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly options: ListenLinkOptions) {}

  get connected(): boolean {
    return this.client !== undefined;
  }

  /** Connects, unless there is a connection or an attempt. */
  start(): void {
    if (!this.client && this.connecting === undefined && this.timer === undefined && !this.closed) {
      void this.connect();
    }
  }

  /** Executes a statement. If it fails, the connection is lost. */
  async query(text: string, values: readonly Value[]): Promise<readonly Row[]> {
    const { client } = this;
    if (!client) {
      throw new Error('there is no connection');
    }
    try {
      const { rows } = await this.inTime(client.query({ text, values: [...values], rowMode: 'array' }));
      if (this.client !== client) {
        throw new Error('the connection was closed');
      }
      return rows;
    } catch (error) {
      this.onLost(client);
      throw error;
    }
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    destroy(this.connecting === true ? undefined : this.connecting);
    destroy(this.client);
    this.client = undefined;
  }

  private async connect(): Promise<void> {
    const { driver, channel, prepare, onConnected, onNotification } = this.options;
    this.connecting = true;
    try {
      const client = await driver.newClient();
      this.connecting = client;
      client.on('error', () => this.onLost(client));
      client.on('end', () => this.onLost(client));
      client.on('notification', ({ payload = '' }) => onNotification(payload));
      await this.inTime(client.connect());
      await this.inTime(client.query({ text: `LISTEN "${channel}"`, rowMode: 'array' }));
      await prepare();
      if (this.closed || this.connecting !== client) {
        throw new Error('the connection was closed');
      }
      this.connecting = undefined;
      this.client = client;
      this.attempts = 0;
      this.since = Date.now();
    } catch (error) {
      this.onAttemptFailed(error);
      return;
    }
    onConnected();
  }

  private onAttemptFailed(error: unknown): void {
    const { connecting } = this;
    this.connecting = undefined;
    destroy(connecting === true ? undefined : connecting);
    this.options.onFailed(error);
    this.connectLater();
  }

  private onLost(client: PgClient): void {
    if (this.client === client) {
      this.client = undefined;
      this.since = Date.now();
      destroy(client);
      this.connectLater();
    } else if (this.connecting === client) {
      // The attempt fails.
      this.connecting = true;
    }
  }

  /** Connects again after a time that grows with every attempt, and that differs between processes. */
  private connectLater(): void {
    if (!this.closed) {
      const longest = Math.min(FIRST_WAIT_MS * 2 ** this.attempts++, LONGEST_WAIT_MS);
      const again = (): void => {
        this.timer = undefined;
        void this.connect();
      };
      this.timer = setTimeout(again, longest * (0.5 + Math.random() / 2));
    }
  }

  private inTime<T>(promise: Promise<T>): Promise<T> {
    const { timeout } = this.options;
    return within(timeout, promise, () => new Error(`it did not answer within ${timeout} ms`));
  }
}

/** Closes a connection at once. The driver itself would wait for a server that does not answer. */
function destroy(client: PgClient | undefined): void {
  if (client) {
    client.end().catch(() => undefined);
    (client as { connection?: { stream?: { destroy?(): void } } }).connection?.stream?.destroy?.();
  }
}
