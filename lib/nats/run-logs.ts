import type { Msg, NatsConnection } from '@nats-io/transport-node';
import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import type { PendingAppends } from '../broker/pending-appends.js';
import { RunTail } from '../broker/run-tail.js';
import type { StreamError } from '../util/errors.js';
import type { LogSettings } from './known-log.js';
import { tokenOf } from './names.js';
import { PermissionError, unavailable } from './nats-errors.js';
import { RunCall, type RunChange } from './run-calls.js';
import { runHeadOf, runRecordsOf } from './run-message.js';
import { RunStream } from './run-stream.js';
import { RunSweeper } from './run-sweeper.js';
import { RunWriter } from './run-writer.js';
import type { Session } from './session.js';
import { storedMessageOf } from './stream-api.js';

/** How many writers are kept that have nothing to do: each knows where its log ends. */
const IDLE_WRITERS = 1_000;
/** How many logs check() reads, and how many are read at the same time. */
const CHECKED = 64;
const READS = 16;

export interface RunLogsOptions extends LogSettings {
  readonly server: string;
  readonly prefix: string;
  readonly pending: PendingAppends;
  /** Returns the session and the connection, if there are, and why there is no session. */
  readonly link: {
    readonly session: Session | undefined;
    readonly failure: StreamError | undefined;
    readonly connection: NatsConnection;
  };
  /** Runs a function in a session. Rejects with a `StreamError` if there is none in time, or if NATS refuses a request. */
  readonly use: <T>(run: (session: Session) => Promise<T>) => Promise<T>;
}

/** A tail, and how its subscription ends. */
interface Tailed {
  readonly tail: RunTail;
  readonly unsubscribe: () => void;
  /** Why NATS has refused the subscription. */
  failure: PermissionError | undefined;
}

/**
 * The logs of runs, in one stream. They have no epoch to compare as the logs of hubs have: after a restart in which records are lost, a log ends before the position that its
 * producer expects.
 */
export class RunLogs {
  private readonly stream: RunStream;
  private readonly sweeper: RunSweeper;
  private readonly writers = new Map<string, RunWriter>();
  private readonly tails = new Map<string, Tailed>();
  /** Tails that may have missed messages. */
  private readonly behind = new Set<RunTail>();
  private reads = 0;
  private opened: Promise<void> | undefined;
  private isOpen = false;

  constructor(private readonly options: RunLogsOptions) {
    this.stream = new RunStream(options.prefix, options);
    this.sweeper = new RunSweeper(this.stream, options.link);
  }

  /** Changes a log. Nothing is checked before the first call. */
  async change(log: string, change: RunChange): Promise<BrokerPosition | false> {
    await this.ready();
    const { pending } = this.options;
    const writer = this.writerOf(tokenOf(log));
    return new Promise((resolve, reject) => {
      const call = new RunCall(change, pending, resolve, reject, (expired) => writer.expire(expired));
      pending.admit(call);
      writer.add(call);
    });
  }

  async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    await this.ready();
    const position = { epoch: '', offset: after };
    const page = await this.options.use((session) => this.stream.read(session, tokenOf(log), position, count));
    return page.records;
  }

  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    await this.ready();
    const token = tokenOf(log);
    const tailed = this.tails.get(token) ?? this.addTail(token);
    const started = await tailed.tail.begin(listener, Promise.resolve());
    if (tailed.failure) {
      await started.stop();
      throw unavailable(this.options.server, tailed.failure);
    }
    return started;
  }

  /** Finds the stream in a new session. */
  async prepare(session: Session): Promise<void> {
    if (this.isOpen) {
      await this.stream.open(session);
    }
  }

  /** Called when there is another session. */
  onSession(): void {
    for (const writer of this.writers.values()) {
      writer.onSession();
    }
    for (const { tail } of this.tails.values()) {
      this.behind.add(tail);
    }
    this.readBehind();
  }

  /** Called every few seconds. Reads some of the logs, and others with the next call: there may be thousands. */
  async check(session: Session): Promise<void> {
    for (const [token, tailed] of [...this.tails].slice(0, CHECKED)) {
      this.tails.delete(token);
      this.tails.set(token, tailed);
      this.behind.add(tailed.tail);
    }
    this.readBehind();
    await this.prepare(session);
  }

  close(): void {
    this.sweeper.close();
    for (const { tail, unsubscribe } of this.tails.values()) {
      tail.end();
      unsubscribe();
    }
    this.tails.clear();
    this.behind.clear();
  }

  /** Finds the stream before the first call. Always waits, so that calls keep their order. */
  private async ready(): Promise<void> {
    this.opened ??= this.options.use((session) => this.stream.open(session));
    const { opened } = this;
    try {
      await opened;
      this.isOpen = true;
    } catch (error) {
      // The next call tries again.
      this.opened = this.opened === opened ? undefined : this.opened;
      throw error;
    }
  }

  private writerOf(token: string): RunWriter {
    const writer = this.writers.get(token) ?? this.newWriter(token);
    // The one that was used last is the last one.
    this.writers.delete(token);
    this.writers.set(token, writer);
    return writer;
  }

  private newWriter(token: string): RunWriter {
    const { server, link } = this.options;
    return new RunWriter(token, {
      server,
      link,
      stream: this.stream,
      onExpiry: (at) => this.sweeper.expireAt(token, at),
      onIdle: () => this.forgetIdle(),
    });
  }

  private forgetIdle(): void {
    for (const [token, writer] of this.writers) {
      if (this.writers.size <= IDLE_WRITERS) {
        return;
      }
      if (writer.isIdle) {
        this.writers.delete(token);
      }
    }
  }

  private addTail(token: string): Tailed {
    const tail = new RunTail(token, {
      read: (key, after, count) => this.options.use((session) => this.stream.read(session, key, after, count)),
      onGap: this.onBehind,
      onUnused: () => this.removeTail(token, tail),
    });
    const subscription = this.options.link.connection.subscribe(this.stream.tailOf(token), {
      callback: (error, message) => {
        if (error) {
          tailed.failure = new PermissionError(error.message);
        } else {
          tail.onMessage(recordsIn(message));
        }
      },
    });
    const tailed: Tailed = { tail, unsubscribe: () => subscription.unsubscribe(), failure: undefined };
    this.tails.set(token, tailed);
    return tailed;
  }

  private removeTail(token: string, tail: RunTail): void {
    const tailed = this.tails.get(token);
    if (tailed?.tail === tail) {
      this.tails.delete(token);
      this.behind.delete(tail);
      tailed.unsubscribe();
    }
  }

  private readonly onBehind = (tail: RunTail): void => {
    this.behind.add(tail);
    this.readBehind();
  };

  private readBehind(): void {
    for (const tail of this.behind) {
      if (this.reads >= READS) {
        return;
      }
      this.behind.delete(tail);
      this.reads++;
      // What fails is read in the next session, or by the next check().
      tail
        .catchUp()
        .catch(() => undefined)
        .finally(() => {
          this.reads--;
          this.readBehind();
        });
    }
  }
}

/** Returns the records of a message. Returns `undefined` if they are not in it. */
function recordsIn(message: Msg): readonly BrokerRecord[] | undefined {
  const { payload, time } = storedMessageOf(message);
  const { head, data = '' } = runHeadOf(payload) ?? {};
  return head && !head.s ? runRecordsOf(head, data, time) : undefined;
}
