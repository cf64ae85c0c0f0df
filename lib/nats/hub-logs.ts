import type {
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from '../broker/broker.js';
import type {
  BrokerTopicListener,
  BrokerTopicTail,
  TopicPage,
  TopicRequest,
  TopicRetention,
} from '../broker/broker-topics.js';
import { atMost } from '../util/at-most.js';
import { tailAllTopics } from './all-topics-tail.js';
import { Appender, type AppenderOptions } from './appender.js';
import { type FoundLog, KnownLog, type LogSettings } from './known-log.js';
import type { Link } from './link.js';
import { readRecords } from './log-reader.js';
import { LogTail } from './log-tail.js';
import { positionOf } from './mark.js';
import { logNames } from './names.js';
import { OtherKindError } from './nats-errors.js';
import { checkPermissions } from './permissions.js';
import type { Session } from './session.js';
import { TopicMarks } from './topic-marks.js';
import { readTopics } from './topic-read.js';
import { TopicTails } from './topic-tails.js';

export interface HubLogsOptions extends AppenderOptions, LogSettings {
  readonly prefix: string;
  readonly timeout: number;
  readonly link: Link;
  /** Runs a function in a session. Rejects with a `StreamError` if there is none in time, or if NATS refuses a request. */
  readonly use: <T>(run: (session: Session) => Promise<T>) => Promise<T>;
}

/** One log with its parts. */
interface OpenLog {
  readonly log: KnownLog;
  readonly appender: Appender;
  tail: LogTail | undefined;
  /** Only in a log with a history for each topic. */
  readonly topics?: { readonly marks: TopicMarks; all: boolean; tails: TopicTails | undefined };
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
    const { prefix } = this.options;
    const open =
      this.logs.get(name) ?? this.withLog(new KnownLog(name, logNames(prefix, name), retention, this.options));
    await this.find(open, retention);
  }

  async openTopics(name: string, { all, ...retention }: TopicRetention): Promise<void> {
    const { prefix } = this.options;
    const open =
      this.logs.get(name) ??
      this.withTopics(new KnownLog(name, logNames(prefix, name, true), retention, this.options, true), all);
    if (open.topics) {
      open.topics.all = all;
    }
    const { info } = await this.find(open, retention);
    if (open.topics && !all && info.state.messages === 0) {
      // From now on, it is known which messages the stream removes because of their age.
      await open.topics.marks.publish();
    }
  }

  private withLog(log: KnownLog): OpenLog {
    return { log, appender: new Appender(log, this.options), tail: undefined };
  }

  private withTopics(log: KnownLog, all: boolean): OpenLog {
    const marks = new TopicMarks(log, this.options);
    const topics = { marks, all, tails: undefined };
    const appender = new Appender(log, this.options, (mark) => topics.all || marks.onAppended(mark));
    return { log, appender, tail: undefined, topics };
  }

  private find(open: OpenLog, retention: BrokerRetention): Promise<FoundLog> {
    const { log } = open;
    return this.options.use(async (session) => {
      log.retention = retention;
      const found = await log.find(session, true);
      if (!this.logs.has(log.name)) {
        await checkPermissions(session, log.names);
        this.logs.set(log.name, open);
      }
      return found;
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

  async tailTopics(name: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    const open = this.at(name);
    const { topics, log } = open;
    if (!topics) {
      throw new Error(`The log "${name}" has no history for each topic`);
    }
    const { use, link } = this.options;
    return use(async () => {
      if (topics.all) {
        const tail = (each: BrokerListener): Promise<BrokerTail> => this.tail(name, each);
        return tailAllTopics(listener, { tail, reachEnd: () => this.reachEnd(open) });
      }
      topics.tails ??= new TopicTails(log, { link, marks: topics.marks, server: this.options.server });
      return topics.tails.add(listener);
    });
  }

  readTopics(name: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const { log } = this.at(name);
    return this.options.use((session) => readTopics(session, log, requests, count));
  }

  /** Finds all logs in a new session. */
  async prepare(session: Session): Promise<void> {
    await Promise.all([...this.logs.values()].map(({ log }) => log.find(session).catch(unlessOtherKind)));
  }

  /** Called when there is another session. */
  onSession(): void {
    for (const { appender, tail, topics } of this.logs.values()) {
      appender.flush();
      tail?.catchUp();
      topics?.tails?.resync();
    }
  }

  /** Called when the session is lost. */
  onLost(): void {
    for (const { topics } of this.logs.values()) {
      topics?.tails?.onLost();
    }
  }

  /** Looks where the logs end. Called every few seconds: a message that a stream has published again may be lost, and a stream may be deleted. */
  async check(session: Session): Promise<void> {
    const found = [...this.logs.values()].map(async ({ log, tail, topics }) => {
      const { end } = await log.find(session);
      tail?.onFound(end);
      topics?.tails?.onFound(end);
    });
    await Promise.all(found);
  }

  close(): void {
    for (const { tail, topics } of this.logs.values()) {
      tail?.end();
      topics?.tails?.end();
      topics?.marks.close();
    }
    this.logs.clear();
  }

  private reachEnd(open: OpenLog): Promise<BrokerPosition> {
    return this.options.use(async (session) => {
      const { end } = await open.log.find(session);
      await atMost(this.options.timeout, open.tail?.reach(end) ?? Promise.resolve());
      return positionOf(end);
    });
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

/** The other hubs of the process continue. What is appended to this one is rejected, since its stream has other subjects. */
function unlessOtherKind(error: unknown): void {
  if (!(error instanceof OtherKindError)) {
    throw error;
  }
}
