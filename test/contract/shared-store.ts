import {
  type Broker,
  type BrokerEntry,
  type BrokerListener,
  type BrokerPosition,
  type BrokerRecord,
  type BrokerRetention,
  type BrokerStatus,
  type BrokerTail,
  StreamError,
} from '../../lib/index.js';
import { Connection, SharedStore } from './shared-store-server.js';

export { SharedStore };

/** How long a lost connection stays away, in milliseconds. */
const RECONNECT_MS = 15;
/** How long a command may take, in milliseconds. No command of a store that answers takes so long, on the slowest machine. */
const TIMEOUT_MS = 30_000;
const MOST_PENDING = 5_000;
const MOST_SENT = 100;

export interface Tail {
  readonly log: string;
  readonly receive: (records: readonly BrokerRecord[], position?: BrokerPosition) => void;
  /** The position up to which the broker has received the log. */
  at: BrokerPosition;
}

interface Append {
  readonly command: () => BrokerPosition;
  readonly resolve: (position: BrokerPosition) => void;
  readonly reject: (error: StreamError) => void;
}

/** The broker of one process, on a {@link SharedStore}: a model of a broker whose store is on another machine. */
export class SharedStoreBroker implements Broker {
  readonly onceWindow = 120_000;
  private readonly opened = new Set<string>();
  private readonly attached = new Set<Tail>();
  /** The appends that the connection has not sent yet. */
  private waiting: Append[] = [];
  private sent = 0;
  protected connection: Connection;
  private isReady = true;
  private isClosed = false;
  private since = Date.now();

  constructor(
    protected readonly store: SharedStore,
    private readonly timeout = TIMEOUT_MS,
  ) {
    this.connection = new Connection(store, () => this.onLost());
  }

  status(): BrokerStatus {
    return { connected: this.isReady, since: this.since, behindMs: 0 };
  }

  async open(log: string, retention: BrokerRetention): Promise<void> {
    await this.command(() => this.store.open(log, retention));
    this.opened.add(log);
  }

  append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return new Promise((resolve, reject) => {
      if (!this.isReady) {
        reject(unavailable());
      } else if (this.isFull()) {
        reject(new StreamError('broker-busy', 'Too many entries wait for the store', { statusCode: 503 }));
      } else {
        this.waiting.push({ command: () => this.store.append(log, entry), resolve, reject });
        this.sendAppends();
      }
    });
  }

  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    let stopped = false;
    let waiting: BrokerRecord[] = [];
    const flush = (position?: BrokerPosition): void => {
      const records = waiting;
      waiting = [];
      if (!stopped && (records.length > 0 || position)) {
        listener(records, position);
      }
    };
    const receive: Tail['receive'] = (records, position) => {
      tail.at = position ?? records.at(-1) ?? tail.at;
      waiting.push(...records);
      setImmediate(flush, position);
    };
    const tail: Tail = { log, receive, at: { epoch: '', offset: 0 } };
    const { position } = await this.command((connection) => {
      const start = this.store.attach(log, receive, connection);
      tail.at = start.position;
      return start;
    });
    const stop = (): void => {
      stopped = true;
      this.attached.delete(tail);
      this.store.detach(log, receive);
    };
    this.attached.add(tail);
    return { ...position, stop };
  }

  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.command(() => this.store.read(log, after, count));
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.connection.close();
    for (const { log, receive } of this.attached) {
      this.store.detach(log, receive);
    }
  }

  /** Loses the connection. */
  cut(): void {
    this.connection.cut();
  }

  protected isFull(): boolean {
    return this.waiting.length >= MOST_PENDING;
  }

  /** Calls a function if the store takes too long. Returns a function that stops the time. */
  protected limit(late: () => void): () => void {
    const timer = setTimeout(late, this.timeout);
    return () => clearTimeout(timer);
  }

  /** What is to be done on every new connection, before anything is appended on it. */
  protected async prepare(connection: Connection): Promise<void> {
    for (const log of this.opened) {
      await this.send(connection, () => this.store.open(log));
    }
    for (const tail of this.attached) {
      await this.continueTail(tail, connection);
    }
  }

  protected async continueTail({ log, receive, at }: Tail, connection: Connection): Promise<void> {
    const { position, missed } = await this.send(connection, () => this.store.attach(log, receive, connection, at));
    if (missed.length > 0) {
      receive(missed);
    } else if (position.epoch !== at.epoch || position.offset !== at.offset) {
      receive([], position);
    }
  }

  /** Sends a command. If the answer is late, the connection is given up: a store that hangs does not say what it will still do. */
  protected async send<R>(connection: Connection, command: () => R): Promise<R> {
    const stop = this.limit(() => connection.close());
    try {
      return await connection.send(command);
    } finally {
      stop();
    }
  }

  protected async command<R>(command: (connection: Connection) => R): Promise<R> {
    for (const end = Date.now() + this.timeout; !this.isReady; ) {
      if (this.isClosed || Date.now() > end) {
        throw unavailable();
      }
      await pause(1);
    }
    const { connection } = this;
    return this.send(connection, () => command(connection));
  }

  private sendAppends(): void {
    const { connection } = this;
    while (this.isReady && this.sent < MOST_SENT && this.waiting.length > 0) {
      const { command, resolve, reject } = this.waiting.shift() as Append;
      this.sent++;
      void this.send(connection, command)
        .then(resolve, () => reject(new StreamError('publish-unknown', 'The answer was lost', { statusCode: 503 })))
        .finally(() => {
          this.sent--;
          this.sendAppends();
        });
    }
  }

  private onLost(): void {
    this.isReady = false;
    this.since = Date.now();
    for (const { reject } of this.waiting.splice(0)) {
      reject(unavailable());
    }
    void this.reconnect();
  }

  private async reconnect(): Promise<void> {
    await pause(RECONNECT_MS);
    if (this.isClosed) {
      return;
    }
    const connection = new Connection(this.store, () => this.onLost());
    this.connection = connection;
    // If the connection is lost meanwhile, onLost() is called again.
    await this.prepare(connection).then(
      () => {
        this.isReady = !connection.isClosed;
        this.since = Date.now();
      },
      () => connection.close(),
    );
  }
}

function unavailable(): StreamError {
  return new StreamError('broker-unavailable', 'The store cannot be reached', { statusCode: 503 });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
