import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import type { RunPage } from '../broker/run-tail.js';
import type { StreamError } from '../util/errors.js';
import type { Connection } from './connection.js';
import type { Driver } from './driver.js';
import { checkRunPermissions } from './permissions.js';
import { RunAppender, type RunAppenderOptions, type RunWrite } from './run-appender.js';
import { RUN_READ } from './run-scripts.js';
import { RunTails } from './run-tails.js';
import { wholeMs } from './scripts.js';
import { positionOf, recordsOf, type StreamEntries } from './stream-id.js';

/** About how many characters the records of one answer have at most. */
const PAGE_CHARACTERS = 1024 * 1024;
/** Any epoch, where records are read. */
const ANY_EPOCH = '';

export interface RunLogsOptions extends RunAppenderOptions {
  readonly driver: Driver;
  readonly timeout: number;
  /** A key of this process in the slot of the logs. Other keys that begin with it do not exist. */
  readonly key: string;
  /** Returns the connection for commands, if there is one, and why there is none. */
  readonly link: { readonly connection: Connection | undefined; readonly failure: StreamError | undefined };
  /** Runs commands on that connection. Rejects with a `StreamError` if there is none in time, or if Redis refuses a command. */
  readonly use: <T>(commands: (connection: Connection) => Promise<T>) => Promise<T>;
  /** Called when the connection of the tails is established, and when it is lost. */
  readonly onChange: () => void;
}

/**
 * The logs of runs on one server, or in one slot of a Cluster. Each is one stream, of which this process keeps nothing but the tails. They have no `run_id` to compare
 * as the logs of hubs have: after a restart or a failover in which records are lost, a log ends before the position that its producer expects.
 */
export class RunLogs {
  private readonly appender: RunAppender;
  private readonly tails: RunTails;
  /** A key that does not exist. */
  private readonly unused: string;
  /** Resolves if the user may run the commands. */
  private permitted: Promise<void> | undefined;

  constructor(private readonly options: RunLogsOptions) {
    const { driver, key, timeout, onChange, link } = options;
    this.unused = `${key}:check`;
    this.appender = new RunAppender(options, link);
    this.tails = new RunTails({
      driver,
      key: `${key}:runs`,
      timeout,
      onChange,
      read: (log, after, count) => this.page(log, after, count),
    });
  }

  get connected(): boolean {
    return this.tails.connected;
  }

  /** Creates a log, or appends to it. */
  async write({ ms, ...write }: RunWrite): Promise<BrokerPosition | false> {
    await this.ready();
    return this.appender.write({ ...write, ms: ms === undefined ? undefined : wholeMs(ms) });
  }

  async expire(key: string, ms: number): Promise<boolean> {
    await this.ready();
    return (await this.request(['PEXPIRE', key, `${wholeMs(ms)}`])) === 1;
  }

  async drop(key: string): Promise<void> {
    await this.ready();
    await this.request(['UNLINK', key]);
  }

  async read(key: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    await this.ready();
    return (await this.page(key, { epoch: ANY_EPOCH, offset: after }, count)).records;
  }

  async tail(key: string, listener: BrokerListener): Promise<BrokerTail> {
    await this.ready();
    return this.tails.tail(key, listener);
  }

  /** Called with a new connection for commands. Rejects if its server does not take writes for this slot, so that it is not used, and the next attempt waits longer. */
  async prepare(connection: Connection): Promise<void> {
    // Changes nothing: the key does not exist.
    await connection.request(['PEXPIRE', this.unused, '1']);
  }

  /** Called when there is another connection for commands. */
  onConnection(): void {
    this.appender.onConnection();
    this.tails.onCommands();
  }

  /** Called every few seconds. */
  check(): void {
    this.tails.check();
  }

  close(): void {
    this.tails.close();
  }

  /** Connects, and checks the permissions, before the first command. Always waits, so that calls keep their order. */
  private async ready(): Promise<void> {
    this.permitted ??= this.options.use((connection) => checkRunPermissions(connection, this.unused));
    const { permitted } = this;
    try {
      await permitted;
    } catch (error) {
      // The next call checks again.
      this.permitted = this.permitted === permitted ? undefined : this.permitted;
      throw error;
    }
  }

  private request(command: string[]): Promise<unknown> {
    return this.options.use((connection) => connection.request(command));
  }

  private async page(key: string, { epoch, offset }: BrokerPosition, count: number): Promise<RunPage> {
    const args = [epoch, offset, count, PAGE_CHARACTERS].map(String);
    const answer = await this.options.use((connection) => connection.run(RUN_READ, [key], ...args));
    const [end, entries] = answer as [string, StreamEntries];
    return { end: end === '' ? { epoch: '', offset: 0 } : positionOf(end), records: recordsOf(entries) };
  }
}
