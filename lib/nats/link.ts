import type { NatsConnection, Status } from '@nats-io/transport-node';
import { unusable } from '../broker/broker-errors.js';
import { atMost } from '../util/at-most.js';
import { textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { type Dialer, type DriverFunctions, importDriver } from './dialer.js';
import { PermissionError, unavailable } from './nats-errors.js';
import { Session } from './session.js';

/** The first version that keeps the metadata of streams. */
const OLDEST_MINOR = 10;
/** The first wait before another attempt, and the longest, in milliseconds. */
const FIRST_WAIT_MS = 50;
const LONGEST_WAIT_MS = 2_000;
const CLOSED = 'the broker is closed';

export interface LinkOptions {
  readonly dialer: Dialer;
  /** How long NATS may take to connect, and to answer a request, in milliseconds. */
  readonly timeout: number;
  /** Called with every new session before it is used. If it rejects, it is called again later. */
  readonly prepare: (session: Session) => Promise<void>;
  /** Called when there is a session, and when it is lost. */
  readonly onChange: (session: Session | undefined) => void;
}

/** Keeps a connection to NATS. The driver connects again when it is lost. */
export class Link {
  /** The session, or `undefined` while there is none. */
  session: Session | undefined;
  /** Why there is no session. `undefined` until an attempt has failed. */
  failure: StreamError | undefined;
  private nats: NatsConnection | undefined;
  /** The session that is prepared, or in use. */
  private newest: Session | undefined;
  private waiting: Deferred<Session> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private attempts = 0;
  private state: 'idle' | 'working' | 'closed' = 'idle';

  constructor(private readonly options: LinkOptions) {}

  /** Resolves to a session as soon as there is one. Rejects when the link is closed, or if NATS has refused to accept the connection. */
  ready(): Promise<Session> {
    if (this.session?.usable) {
      return Promise.resolve(this.session);
    }
    if (this.state === 'closed') {
      return Promise.reject(this.error(CLOSED));
    }
    this.waiting ??= deferred<Session>();
    if (this.state === 'idle') {
      this.state = 'working';
      void this.connect();
    }
    return this.waiting.promise;
  }

  /** Returns the connection, for subscriptions, which outlive a session. There is one as soon as there was a session. */
  get connection(): NatsConnection {
    if (!this.nats) {
      throw this.error('there is no connection');
    }
    return this.nats;
  }

  /** Checks that the server answers. Otherwise, connects again. */
  async check(): Promise<void> {
    const { nats, newest } = this;
    if (nats && newest?.usable && !(await atMost(this.options.timeout, nats.flush()).catch(() => true))) {
      newest.lose(`it did not answer within ${this.options.timeout} ms`);
      await nats.reconnect();
    }
  }

  /** Closes the connection, unless the application has it, too. Makes no other. */
  close(): void {
    this.state = 'closed';
    clearTimeout(this.timer);
    this.session = undefined;
    this.newest?.lose(CLOSED);
    this.failure = this.error(CLOSED);
    this.reject(this.failure);
    this.release();
  }

  private async connect(): Promise<void> {
    const { dialer, timeout } = this.options;
    try {
      const driver = await importDriver();
      const nats = await dialer.connect(driver, timeout);
      this.nats = nats;
      if (this.state === 'closed') {
        this.release();
        return;
      }
      void this.watch(nats, driver);
      await this.begin(nats, driver);
    } catch (error) {
      this.fail(error, () => void this.connect());
    }
  }

  /** Prepares a session. */
  private async begin(nats: NatsConnection, driver: DriverFunctions): Promise<void> {
    if (nats.info === undefined || this.state === 'closed') {
      return;
    }
    const { prepare, onChange, timeout } = this.options;
    const session = new Session(nats, driver, timeout);
    this.newest?.lose('there is another connection');
    this.newest = session;
    try {
      this.checkVersion(session);
      await prepare(session);
    } catch (error) {
      if (this.newest === session && session.usable) {
        this.fail(error, () => void this.begin(nats, driver));
      }
      return;
    }
    if (this.newest === session && session.usable) {
      this.session = session;
      this.failure = undefined;
      this.attempts = 0;
      this.waiting?.resolve(session);
      this.waiting = undefined;
      onChange(session);
    }
  }

  private async watch(nats: NatsConnection, driver: DriverFunctions): Promise<void> {
    for await (const status of nats.status()) {
      this.onStatus(status, nats, driver);
    }
    const reason = await nats.closed();
    this.onGone(reason ? textOf(reason) : 'the connection was closed');
    if (this.state !== 'closed') {
      this.fail(this.failure, () => void this.connect());
    }
  }

  private onStatus(status: Status, nats: NatsConnection, driver: DriverFunctions): void {
    if (status.type === 'disconnect') {
      this.onGone('the connection was lost');
    } else if (status.type === 'reconnect') {
      clearTimeout(this.timer);
      void this.begin(nats, driver);
    } else if (status.type === 'error') {
      const { subject, operation } = status.error as { readonly subject?: string; readonly operation?: string };
      if (operation === 'publish' && subject !== undefined) {
        this.newest?.onForbidden(subject, textOf(status.error));
      }
    }
  }

  private onGone(reason: string): void {
    clearTimeout(this.timer);
    const { session } = this;
    this.session = undefined;
    this.failure = this.error(reason);
    this.newest?.lose(reason);
    if (session) {
      this.options.onChange(undefined);
    }
  }

  private fail(error: unknown, again: () => void): void {
    this.failure = this.error(error);
    if (isRefusal(error)) {
      this.reject(this.failure);
    }
    if (this.state !== 'closed') {
      clearTimeout(this.timer);
      const longest = Math.min(FIRST_WAIT_MS * 2 ** Math.min(this.attempts++, 10), LONGEST_WAIT_MS);
      this.timer = setTimeout(again, longest * (0.5 + Math.random() / 2));
    }
  }

  private checkVersion({ version }: Session): void {
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major < 2 || (major === 2 && minor < OLDEST_MINOR)) {
      throw unusable(
        `${this.options.dialer.server} has version ${version}: NatsBroker needs nats-server 2.${OLDEST_MINOR}, or newer`,
      );
    }
  }

  private reject(error: StreamError): void {
    this.waiting?.promise.catch(() => undefined);
    this.waiting?.reject(error);
    this.waiting = undefined;
  }

  private release(): void {
    if (this.options.dialer.owns) {
      // Not awaited: the server may not answer.
      this.nats?.close().catch(() => undefined);
    }
  }

  private error(reason: unknown): StreamError {
    return unavailable(this.options.dialer.server, reason);
  }
}

/** Whether an attempt to connect failed for a reason that the next attempt would have, too. */
function isRefusal(error: unknown): boolean {
  const { name = '' } = (error ?? {}) as { readonly name?: string };
  return error instanceof StreamError || error instanceof PermissionError || name.startsWith('Authorization');
}
