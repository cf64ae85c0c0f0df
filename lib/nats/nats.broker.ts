import type {
  Broker,
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerStatus,
  BrokerTail,
} from '../broker/broker.js';
import type { BrokerCondition, BrokerRuns } from '../broker/broker-runs.js';
import type {
  BrokerTopicListener,
  BrokerTopics,
  BrokerTopicTail,
  TopicPage,
  TopicRequest,
  TopicRetention,
} from '../broker/broker-topics.js';
import { PendingAppends } from '../broker/pending-appends.js';
import { atMost } from '../util/at-most.js';
import { type Dialer, dialerOf } from './dialer.js';
import { HubLogs } from './hub-logs.js';
import { ONCE_WINDOW_MS } from './known-log.js';
import { Link } from './link.js';
import { type NatsBrokerOptions, type NatsBrokerSettings, settingsOf } from './nats-broker.options.js';
import { unavailable } from './nats-errors.js';
import { RunLogs } from './run-logs.js';
import type { Session } from './session.js';

/** How often the logs are looked for, in milliseconds. */
const CHECK_MS = 5_000;

/**
 * Keeps the logs of hubs in JetStream, of nats-server 2.10 or newer, so that the processes of an application share them. Each log is one stream.
 *
 * @example
 * ```ts
 * StreamingModule.forRoot({ broker: new NatsBroker({ servers: 'nats://localhost:4222' }) });
 * ```
 */
export class NatsBroker implements Broker, BrokerRuns, BrokerTopics {
  /** 2 minutes. */
  readonly onceWindow = ONCE_WINDOW_MS;
  private readonly settings: NatsBrokerSettings;
  private readonly dialer: Dialer;
  private readonly pending: PendingAppends;
  private readonly link: Link;
  private readonly hubs: HubLogs;
  private readonly runs: RunLogs;
  private timer: NodeJS.Timeout | undefined;
  private changedAt = Date.now();

  /** @throws a `StreamError` with the code `invalid-option` */
  constructor(options: NatsBrokerOptions) {
    this.settings = settingsOf(options);
    this.dialer = dialerOf(options);
    const { pending, timeout } = this.settings;
    const { server } = this.dialer;
    this.pending = new PendingAppends(pending, timeout, server);
    this.link = new Link({
      dialer: this.dialer,
      timeout,
      prepare: (session) => this.prepare(session),
      onChange: (session) => this.onChange(session),
    });
    const use = <T>(run: (session: Session) => Promise<T>): Promise<T> => this.use(run);
    const parts = { ...this.settings, server, pending: this.pending, link: this.link, use };
    this.hubs = new HubLogs(parts);
    this.runs = new RunLogs(parts);
  }

  /**
   * Opens the log of a hub. The newest call decides how many records are kept.
   * @throws a `StreamError` with the code `broker-unavailable` if NATS cannot be reached within `timeout`, does not permit a request, has no JetStream, or is too old
   */
  open(log: string, retention: BrokerRetention): Promise<void> {
    return this.hubs.open(log, retention);
  }

  async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.hubs.append(log, entry);
  }

  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    return this.hubs.has(log) ? this.hubs.tail(log, listener) : this.runs.tail(log, listener);
  }

  async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.hubs.has(log) ? this.hubs.read(log, after, count) : this.runs.read(log, after, count);
  }

  /** Opens the log of a hub with a history for each topic. The newest call decides how many records are kept. Rejects as {@link open} does. */
  openTopics(log: string, retention: TopicRetention): Promise<void> {
    return this.hubs.openTopics(log, retention);
  }

  async tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    return this.hubs.tailTopics(log, listener);
  }

  async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    return this.hubs.readTopics(log, requests, count);
  }

  /** Creates the log of a run. Nothing is checked at start-up: if NATS cannot be reached, or the user lacks a permission, the first call rejects. */
  create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    { after }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    return this.runs.change(log, { kind: 'create', entries, after, ms });
  }

  appendAll(
    log: string,
    entries: readonly BrokerEntry[],
    { after, expire: ms }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    return this.runs.change(log, { kind: 'append', entries, after, ms });
  }

  async expire(log: string, ms: number): Promise<boolean> {
    return (await this.runs.change(log, { kind: 'expire', entries: [], after: undefined, ms })) !== false;
  }

  async drop(log: string): Promise<void> {
    await this.runs.change(log, { kind: 'drop', entries: [], after: undefined, ms: 0 });
  }

  /** Closes the connection at once, unless it is one of the application. What waits to be appended is rejected. */
  close(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.hubs.close();
    this.runs.close();
    this.link.close();
    this.pending.close();
    return Promise.resolve();
  }

  status(): BrokerStatus {
    return {
      connected: this.link.session?.usable === true,
      since: this.changedAt,
      behindMs: this.hubs.behindMs,
    };
  }

  /** Runs a function in a session. */
  private async use<T>(run: (session: Session) => Promise<T>): Promise<T> {
    const { timeout } = this.settings;
    try {
      const ready = this.link.ready();
      if (!(await atMost(timeout, ready))) {
        throw this.link.failure ?? new Error(`it did not answer within ${timeout} ms`);
      }
      return await run(await ready);
    } catch (error) {
      throw unavailable(this.dialer.server, error);
    }
  }

  private async prepare(session: Session): Promise<void> {
    await Promise.all([this.hubs.prepare(session), this.runs.prepare(session)]);
  }

  private onChange(session: Session | undefined): void {
    this.changedAt = Date.now();
    if (!session) {
      this.hubs.onLost();
    } else {
      this.timer ??= setTimeout(this.check, CHECK_MS);
      this.hubs.onSession();
      this.runs.onSession();
    }
  }

  private readonly check = (): void => {
    this.timer = setTimeout(this.check, CHECK_MS);
    const { session } = this.link;
    if (session?.usable) {
      // What fails is tried again the next time, or with the next session.
      Promise.all([this.link.check(), this.hubs.check(session), this.runs.check(session)]).catch(() => undefined);
    }
  };
}
