import { randomBytes } from 'node:crypto';
import type { BrokerEntry, BrokerPosition, BrokerRecord, BrokerRetention } from '../../lib/index.js';

type Push = (records: readonly BrokerRecord[]) => void;

export interface StoredLog {
  epoch: string;
  /** The server on which the epoch was created, or last confirmed. */
  run: number;
  last: number;
  records: BrokerRecord[];
  retention: BrokerRetention;
  readonly once: Map<string, BrokerPosition>;
  /** The tails, and the connection of each. */
  readonly tails: Map<Push, Connection>;
}

/** Where a tail continues, and the records that it has missed. */
export interface Attached {
  readonly position: BrokerPosition;
  readonly missed: readonly BrokerRecord[];
}

/** Simulates a server that several processes share, with its faults. Processes send it commands through a {@link Connection}. */
export class SharedStore {
  readonly connections = new Set<Connection>();
  /** Resolves when the server answers. */
  answering: Promise<void> = Promise.resolve();
  private answerAgain = (): void => undefined;
  private readonly logs = new Map<string, StoredLog>();
  /** Identifies the server: another one after a failover. */
  protected run = 1;

  /** Creates a log, or begins its next epoch if it comes from another server, whose newest records may be lost. */
  open(name: string, retention?: BrokerRetention): void {
    const { run } = this;
    const log = this.logs.get(name);
    if (!log) {
      const rest = { retention: retention ?? { limit: 0, ttl: 0 }, once: new Map(), tails: new Map() };
      this.logs.set(name, { epoch: newEpoch(), run, last: 0, records: [], ...rest });
      return;
    }
    log.retention = retention ?? log.retention;
    if (log.run !== run) {
      this.lose(name);
    }
  }

  append(name: string, { once, ...entry }: BrokerEntry): BrokerPosition {
    const log = this.log(name);
    const earlier = once === undefined ? undefined : log.once.get(once);
    if (earlier) {
      return earlier;
    }
    const record = { ...entry, epoch: log.epoch, offset: ++log.last, time: Date.now() };
    const position = { epoch: record.epoch, offset: record.offset };
    log.records.push(record);
    if (once !== undefined) {
      log.once.set(once, position);
    }
    for (const [push, connection] of log.tails) {
      connection.deliver(() => push([record]));
    }
    return position;
  }

  read(name: string, after: number, count: number): readonly BrokerRecord[] {
    const { records } = this.log(name);
    return records.filter(({ offset }) => offset > after).slice(0, Math.min(count, 100));
  }

  /** Begins or continues a tail: it receives every record after the position. */
  attach(name: string, push: Push, connection: Connection, at?: BrokerPosition): Attached {
    const { epoch, last, records, tails } = this.log(name);
    tails.set(push, connection);
    const missed = at ? records.filter(({ offset }) => at.epoch !== epoch || offset > at.offset) : [];
    return { position: { epoch, offset: last }, missed };
  }

  detach(name: string, push: Push): void {
    this.logs.get(name)?.tails.delete(push);
  }

  /** Deletes a log that clients have open. */
  lose(name: string): void {
    const log = this.log(name);
    log.once.clear();
    Object.assign(log, { epoch: newEpoch(), run: this.run, last: 0, records: [] });
  }

  /** Simulates a failover to a server that did not have the newest records yet. */
  rewind(name: string, count: number): void {
    const log = this.log(name);
    log.last -= Math.min(count, log.records.length);
    log.records = log.records.filter(({ offset }) => offset <= log.last);
    this.run++;
    for (const connection of this.connections) {
      connection.cut();
    }
  }

  freeze(): void {
    this.answering = new Promise((resolve) => {
      this.answerAgain = resolve;
    });
  }

  thaw(): void {
    this.answerAgain();
  }

  has(name: string): boolean {
    return this.logs.has(name);
  }

  log(name: string): StoredLog {
    const log = this.logs.get(name);
    if (!log) {
      throw new Error(`No log "${name}"`);
    }
    const { limit, ttl } = log.retention;
    log.records = log.records
      .slice(Math.max(0, log.records.length - limit))
      .filter(({ time }) => time > Date.now() - ttl);
    return log;
  }
}

/** A connection to a {@link SharedStore}. Commands are executed in order, each at least one turn of the event loop later. */
export class Connection {
  isClosed = false;
  /** The commands that the server has received, or will receive, and has not executed. */
  private readonly sent: (() => void)[] = [];
  private readonly unanswered = new Set<(error: Error) => void>();

  constructor(
    private readonly store: SharedStore,
    private readonly onClosed: () => void,
  ) {
    store.connections.add(this);
  }

  /** Resolves to the result of a command. Rejects if the connection is closed before the answer: the command may be executed all the same. */
  send<R>(command: () => R): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.isClosed) {
        reject(new Error('The connection is closed'));
        return;
      }
      this.unanswered.add(reject);
      const execute = (): void => {
        const answer = outcomeOf(command);
        this.deliver(() => {
          this.unanswered.delete(reject);
          answer(resolve, reject);
        });
      };
      if (this.sent.push(execute) === 1) {
        void this.execute();
      }
    });
  }

  /** Calls a function of the client a turn later, unless the connection is closed by then. */
  deliver(receive: () => void): void {
    setImmediate(() => this.isClosed || receive());
  }

  /** Loses the connection: the server receives only one half of what was sent, and no answer arrives. */
  cut(): void {
    this.sent.splice(Math.ceil(this.sent.length / 2));
    this.close();
  }

  close(): void {
    if (!this.isClosed) {
      this.isClosed = true;
      this.store.connections.delete(this);
      for (const reject of this.unanswered) {
        reject(new Error('The connection was lost'));
      }
      this.onClosed();
    }
  }

  private async execute(): Promise<void> {
    while (this.sent.length > 0) {
      await new Promise((resolve) => setImmediate(resolve));
      await this.store.answering;
      this.sent[0]?.();
      this.sent.shift();
    }
  }
}

function outcomeOf<R>(command: () => R): (resolve: (result: R) => void, reject: (error: unknown) => void) => void {
  try {
    const result = command();
    return (resolve) => resolve(result);
  } catch (error) {
    return (_, reject) => reject(error);
  }
}

function newEpoch(): string {
  return randomBytes(4).toString('hex');
}
