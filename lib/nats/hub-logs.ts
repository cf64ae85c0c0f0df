import type {
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from '../broker/broker.js';
import { Appender, type AppenderOptions } from './appender.js';
import { KnownLog, type LogSettings } from './known-log.js';
import type { Link } from './link.js';
import { readRecords } from './log-reader.js';
import { LogTail } from './log-tail.js';
import { logNames } from './names.js';
import { checkPermissions } from './permissions.js';
import type { Session } from './session.js';

export interface HubLogsOptions extends AppenderOptions, LogSettings {
  readonly prefix: string;
  readonly link: Link;
  /** Runs a function in a session. Rejects with a `StreamError` if there is none in time, or if NATS refuses a request. */
  readonly use: <T>(run: (session: Session) => Promise<T>) => Promise<T>;
}

/** One log with its parts. */
interface OpenLog {
  readonly log: KnownLog;
  readonly appender: Appender;
  tail: LogTail | undefined;
}

/** The logs of hubs. */
export class HubLogs {
  private readonly logs = new Map<string, OpenLog>();

  constructor(private readonly options: HubLogsOptions) {}

  get size(): number {
    return this.logs.size;
  }

  get behindMs(): number {
    return Math.max(0, ...[...this.logs.values()].map(({ log }) => log.behindMs));
  }

  has(name: string): boolean {
    return this.logs.has(name);
  }

  async open(name: string, retention: BrokerRetention): Promise<void> {
    const { use, prefix } = this.options;
    await use(async (session) => {
      const open = this.logs.get(name);
      const log = open?.log ?? new KnownLog(name, logNames(prefix, name), retention, this.options);
      log.retention = retention;
      await log.find(session, true);
      if (!open) {
        await checkPermissions(session, log.names);
        if (!this.logs.has(name)) {
          this.logs.set(name, { log, appender: new Appender(log, this.options), tail: undefined });
        }
      }
    });
  }

  append(name: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.at(name).appender.append(entry);
  }

  tail(name: string, listener: BrokerListener): Promise<BrokerTail> {
    const { use, link } = this.options;
    const open = this.at(name);
    return use(async (session) => {
      const tail =
        open.tail ??
        new LogTail(open.log, {
          subscribe: (subject, callback) => link.connection.subscribe(subject, { callback }),
          link,
          onUnused: () => this.endTail(open),
        });
      open.tail = tail;
      try {
        const { end } = await open.log.find(session);
        return tail.add(listener, end);
      } catch (error) {
        if (tail.isUnused) {
          this.endTail(open);
        }
        throw error;
      }
    });
  }

  read(name: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const { log } = this.at(name);
    return this.options.use((session) => readRecords(session, log, after, count));
  }

  /** Finds all logs in a new session. */
  async prepare(session: Session): Promise<void> {
    await Promise.all([...this.logs.values()].map(({ log }) => log.find(session)));
  }

  /** Called when there is another session. */
  onSession(): void {
    for (const { appender, tail } of this.logs.values()) {
      appender.flush();
      tail?.catchUp();
    }
  }

  /** Looks where the logs end. Called every few seconds: a message that a stream has published again may be lost, and a stream may be deleted. */
  async check(session: Session): Promise<void> {
    const found = [...this.logs.values()].map(async ({ log, tail }) => tail?.onFound((await log.find(session)).end));
    await Promise.all(found);
  }

  close(): void {
    for (const { tail } of this.logs.values()) {
      tail?.end();
    }
    this.logs.clear();
  }

  private endTail(open: OpenLog): void {
    open.tail?.end();
    open.tail = undefined;
  }

  private at(name: string): OpenLog {
    const open = this.logs.get(name);
    if (!open) {
      throw new Error(`The log "${name}" is not open`);
    }
    return open;
  }
}
