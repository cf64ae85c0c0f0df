import { randomBytes } from 'node:crypto';
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
import type { BrokerRoster } from '../broker/roster.js';
import type { Driver } from './driver.js';
import { driverOf } from './drivers.js';
import { KnownLog, type LogRetention } from './known-log.js';
import { LogKeys, runKeysOf, slotOf } from './log-keys.js';
import { type RedisBrokerOptions, type RedisBrokerSettings, settingsOf } from './redis-broker.options.js';
import { unavailable } from './redis-errors.js';
import { RedisRoster } from './roster.js';
import type { RunLogs } from './run-logs.js';
import { Shard } from './shard.js';

/** A log that is open, and the shard that it lives in. */
interface Place {
  readonly log: KnownLog;
  readonly shard: Shard;
}

/**
 * Keeps the logs of hubs and runs in Redis 7.0 or Valkey 7.2, or newer, so that the processes of an application share them. Each log is one stream
 * of Redis.
 *
 * @example
 * ```ts
 * StreamingModule.forRoot({ broker: new RedisBroker({ url: 'redis://localhost:6379' }) });
 * ```
 */
export class RedisBroker implements Broker, BrokerRuns, BrokerTopics {
  /** How long Redis remembers `once` of an event, in milliseconds. */
  readonly onceWindow: number;
  /** Keeps figures of the processes in Redis, for `hub.count()` and `StreamRegistry.close()`. */
  readonly roster: BrokerRoster;
  private readonly settings: RedisBrokerSettings;
  private readonly driver: Driver;
  private readonly pending: PendingAppends;
  private readonly process = randomBytes(6).toString('hex');
  private readonly shards = new Map<string, Shard>();
  private readonly places = new Map<string, Place>();
  private readonly opening = new Map<string, Promise<void>>();
  private readonly createdAt = Date.now();
  private closed = false;

  /** @throws a `StreamError` with the code `invalid-option` */
  constructor(options: RedisBrokerOptions) {
    this.settings = settingsOf(options);
    this.driver = driverOf(options);
    const { prefix, pending, timeout, onceWindow } = this.settings;
    this.pending = new PendingAppends(pending, timeout, this.driver.server);
    this.onceWindow = onceWindow;
    this.roster = new RedisRoster(prefix, (keys, commands) => this.withShard(keys, (shard) => shard.use(commands)));
  }

  /**
   * Opens the log of a hub. The newest call decides how many records are kept.
   * @throws a `StreamError` with the code `broker-unavailable` if Redis cannot be reached within `timeout`, refuses the user or a command, or is too old
   */
  open(name: string, { limit, ttl }: BrokerRetention): Promise<void> {
    return this.openAs(name, { limit, ttl });
  }

  append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    const place = this.places.get(log);
    return place ? place.shard.append(place.log, entry) : Promise.reject(notOpen(log));
  }

  tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const place = this.places.get(log);
    return place ? place.shard.tail(place.log, listener) : this.withRuns(log, (runs, key) => runs.tail(key, listener));
  }

  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const place = this.places.get(log);
    return place
      ? place.shard.read(place.log, after, count)
      : this.withRuns(log, (runs, key) => runs.read(key, after, count));
  }

  /**
   * Opens the log of a hub that has a history for each topic. The newest call decides how many records are kept.
   * @throws a `StreamError` with the code `broker-unavailable`, as `open()` does
   */
  openTopics(name: string, { limit, ttl, all }: TopicRetention): Promise<void> {
    return this.openAs(name, { limit, ttl, all });
  }

  tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    const place = this.places.get(log);
    return place ? place.shard.tailTopics(place.log, listener) : Promise.reject(notOpen(log));
  }

  readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const place = this.places.get(log);
    return place ? place.shard.readTopics(place.log, requests, count) : Promise.reject(notOpen(log));
  }

  /** Creates the log of a run. Nothing is checked at start-up: if Redis cannot be reached, or the user lacks a permission, the first call rejects. */
  create(
    log: string,
    entries: readonly BrokerEntry[],
    ms: number,
    { after }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    return this.withRuns(log, (runs, key) => runs.write({ key, entries, after, creates: true, ms }));
  }

  appendAll(
    log: string,
    entries: readonly BrokerEntry[],
    { after, expire: ms }: BrokerCondition = {},
  ): Promise<BrokerPosition | false> {
    return this.withRuns(log, (runs, key) => runs.write({ key, entries, after, creates: false, ms }));
  }

  expire(log: string, ms: number): Promise<boolean> {
    return this.withRuns(log, (runs, key) => runs.expire(key, ms));
  }

  drop(log: string): Promise<void> {
    return this.withRuns(log, (runs, key) => runs.drop(key));
  }

  /** Closes all connections at once. What waits to be appended is rejected. */
  close(): Promise<void> {
    this.closed = true;
    for (const shard of this.shards.values()) {
      shard.close();
    }
    this.pending.close();
    this.shards.clear();
    this.places.clear();
    return Promise.resolve();
  }

  status(): BrokerStatus {
    const shards = [...this.shards.values()].filter(({ hasLogs }) => hasLogs);
    const lost = shards.filter(({ connected }) => !connected);
    const connected = shards.length > 0 && lost.length === 0;
    const times = (connected ? shards : lost).map(({ since }) => since);
    return {
      connected,
      // Connected since the last of them was, and not connected since the first of them was lost.
      since: times.length === 0 ? this.createdAt : connected ? Math.max(...times) : Math.min(...times),
      behindMs: Math.max(0, ...shards.map(({ behindMs }) => behindMs)),
    };
  }

  private openAs(name: string, retention: LogRetention): Promise<void> {
    const place = this.places.get(name);
    if (place) {
      return place.shard.reopen(place.log, retention);
    }
    const earlier = this.opening.get(name);
    if (earlier) {
      return earlier.then(() => this.openAs(name, retention));
    }
    const opening = this.openFirst(name, retention);
    this.opening.set(name, opening);
    return opening;
  }

  private async openFirst(name: string, retention: LogRetention): Promise<void> {
    const { prefix, trustRestarts } = this.settings;
    const keys = new LogKeys(prefix, name);
    const log = new KnownLog(name, keys, retention, trustRestarts);
    try {
      await this.withShard(keys, async (shard) => {
        await shard.open(log);
        this.places.set(name, { log, shard });
      });
    } finally {
      this.opening.delete(name);
    }
  }

  /** Runs a function with the logs of runs of the shard that has a log, and the key of the log. */
  private withRuns<T>(log: string, run: (runs: RunLogs, key: string) => Promise<T>): Promise<T> {
    const { group, stream } = runKeysOf(this.settings.prefix, log);
    return this.withShard(group, (shard) => run(shard.runs, stream));
  }

  /** Runs a function with the shard that has the keys of a log. If there was none, it is closed afterwards, unless a log is open then. */
  private async withShard<T>(keys: LogKeys, run: (shard: Shard) => Promise<T>): Promise<T> {
    if (this.closed) {
      throw unavailable(this.driver.server, new Error('the broker is closed'));
    }
    const place = this.driver.cluster ? `${slotOf(keys.stream)}` : '';
    const shard = this.shards.get(place) ?? this.newShard(keys);
    this.shards.set(place, shard);
    try {
      return await run(shard);
    } finally {
      if (shard.idle) {
        shard.close();
        this.shards.delete(place);
      }
    }
  }

  private newShard(keys: LogKeys): Shard {
    const { driver, pending } = this;
    const { timeout, onceWindow, tailBuffer, tail } = this.settings;
    const publishes = tail === 'pubsub';
    const options = { driver, pending, timeout, onceWindow, tailBuffer, publishes, server: driver.server };
    return new Shard(options, keys.wake(this.process));
  }
}

function notOpen(log: string): Error {
  return new Error(`The log "${log}" is not open`);
}
