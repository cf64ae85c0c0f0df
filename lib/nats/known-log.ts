import { randomBytes } from 'node:crypto';
import type { BrokerRetention } from '../broker/broker.js';
import { isSameEpoch, type Mark, nextStart } from './mark.js';
import type { LogNames } from './names.js';
import { OtherKindError } from './nats-errors.js';
import type { Session } from './session.js';
import {
  createStream,
  purgeStream,
  type StreamConfig,
  type StreamInfo,
  streamInfo,
  updateStream,
} from './stream-api.js';

/** How long the stream remembers `once` of an entry, in milliseconds. */
export const ONCE_WINDOW_MS = 120_000;
/** How many messages a stream keeps at least, so that the tail of a process that was not connected can read them. */
const TAIL_BUFFER = 4_096;
const NS_PER_MS = 1_000_000;
/**
 * How many times as long as `ttl` the stream of a log of topics keeps a message: marks show to about three hundredths of that time which messages it has removed. See
 * {@link TopicMarks}.
 */
const TOPIC_TTL_FACTOR = 1.1;
/** About how many entries may be appended while the limit of a log is raised. */
const WHILE_GROWING = 1_000;
/** More than a server can add to its time is forever. */
const LONGEST_AGE_MS = 2 ** 52;

export interface LogSettings {
  readonly storage: 'file' | 'memory';
  readonly replicas: number;
  readonly trustRestarts: boolean;
}

/** A stream as it was found. */
export interface FoundLog {
  readonly info: StreamInfo;
  /** The last message. */
  readonly end: Mark;
}

/**
 * What this process knows of a log that is open. Its stream has a random id in its metadata, which is the last token of the subject that its messages are
 * published to again: a stream that was deleted and created again has another one. There, too, is how many records `read()` returns, and which server had the stream.
 */
export class KnownLog {
  /** The newest message that is known. */
  private newest: Mark = { id: '', seq: 0 };
  /** The message up to which tails have received the log. `undefined` without a tail. */
  private delivered: Mark | undefined;
  /** A message that tails have not received, and since when it is known. */
  private behind: { readonly mark: Mark; readonly since: number } | undefined;
  /** When this process has opened the log, by the clock of all processes: see `ns_opened`. */
  private opened = 0;
  /** A sequence number after which no message was removed because a topic had too many. */
  grownAt = 0;
  private searches = 0;
  private newestSearch = 0;

  constructor(
    readonly name: string,
    readonly names: LogNames,
    /** How many records are kept, and how long: as the newest process that has opened the log wants it. */
    public retention: BrokerRetention,
    private readonly settings: LogSettings,
    /** Whether each topic has a history of its own. */
    readonly perTopic = false,
  ) {}

  /** How long the stream keeps a message, in milliseconds. */
  get maxAge(): number {
    const { ttl } = this.retention;
    return Math.ceil(Math.max(this.perTopic ? ttl * TOPIC_TTL_FACTOR : ttl, ONCE_WINDOW_MS));
  }

  /** The newest message that is known. */
  get end(): Mark {
    return this.newest;
  }

  /** Called with every message that the stream is known to have. */
  saw(mark: Mark): void {
    if (mark.id === this.newest.id && mark.seq > this.newest.seq) {
      this.newest = mark;
    }
    this.compare();
  }

  /** Called when tails have received the log up to a message; with `undefined` if there are no tails. */
  reached(mark: Mark | undefined): void {
    this.delivered = mark;
    if (mark) {
      this.saw(mark);
    }
    this.compare();
  }

  /** How long a record is known that tails have not received, in milliseconds. */
  get behindMs(): number {
    return this.behind === undefined ? 0 : performance.now() - this.behind.since;
  }

  /**
   * Finds the stream, or creates it. If it may have lost its newest messages, it begins a new epoch. Called in every new session before anything is appended in it.
   * @param opens whether the retention of this process becomes that of all. Otherwise, this process takes over that of the newest one that has opened the log
   * @throws {OtherKindError} if another process has opened the log with the other kind of history
   */
  async find(session: Session, opens = false): Promise<FoundLog> {
    const search = ++this.searches;
    const seen = this.newest;
    let info = await this.existing(session, opens);
    const end = endOf(info);
    const isBehind = end.id === seen.id && end.seq < seen.seq;
    const run = info.config.metadata?.ns_run;
    const isElsewhere = run !== runOf(info, session) && !this.settings.trustRestarts;
    if (isBehind || (isElsewhere && run !== undefined)) {
      await purgeStream(session, this.names.stream, nextStart(isBehind ? seen.seq : end.seq) + 1);
    }
    if (isBehind || isElsewhere) {
      info = await this.update(session, this.configOf(info, session));
    }
    this.grownAt = Number(info.config.metadata?.ns_grown) || 0;
    const found = { info, end: endOf(info) };
    this.found(found.end, search);
    return found;
  }

  private async existing(session: Session, opens: boolean): Promise<StreamInfo> {
    const { stream, otherKind } = this.names;
    let info = await streamInfo(session, stream);
    if (!info) {
      // If another process creates it at the same time, that one is used.
      await createStream(session, this.configOf(undefined));
      info = await this.info(session);
    }
    if (info.config.subjects.includes(otherKind)) {
      throw new OtherKindError(this.name, stream, !this.perTopic);
    }
    const { ns_limit: limit, ns_ttl: ttl, ns_opened: opened } = info.config.metadata ?? {};
    const [newestLimit = Number.NaN, newestTtl = Number.NaN, time = Number.NaN] = [limit, ttl, opened].map(Number);
    // Not so if another process has overwritten what this one has set, or if somebody has edited it.
    const isNewest = time >= this.opened && newestLimit >= 0 && newestTtl >= 0;
    if (opens || !isNewest) {
      this.opened = Math.max(Date.now(), (time || 0) + 1);
    } else {
      this.retention = { limit: newestLimit, ttl: newestTtl };
    }
    const config = this.configOf(info);
    return isEqual(config, info.config) ? info : this.update(session, config);
  }

  /** The answer to an update does not say which server leads the stream. */
  private async update(session: Session, config: StreamConfig): Promise<StreamInfo> {
    await updateStream(session, config);
    return this.info(session);
  }

  private async info(session: Session): Promise<StreamInfo> {
    const { stream } = this.names;
    const info = await streamInfo(session, stream);
    if (!info) {
      throw new Error(`the stream "${stream}" was deleted`);
    }
    return info;
  }

  /**
   * @param info the present configuration, if the stream exists
   * @param session if it is passed, the server that has the stream is noted
   */
  private configOf(info: StreamInfo | undefined, session?: Session): StreamConfig {
    const { stream, subject, all, tail } = this.names;
    const { limit, ttl } = this.retention;
    const { maxAge, perTopic } = this;
    const id = info?.config.metadata?.ns_id ?? randomBytes(5).toString('hex');
    const run = session && info ? runOf(info, session) : info?.config.metadata?.ns_run;
    return {
      storage: this.settings.storage,
      num_replicas: this.settings.replicas,
      ...info?.config,
      name: stream,
      subjects: [all],
      retention: 'limits',
      discard: 'old',
      max_msgs: perTopic ? -1 : Math.max(limit, TAIL_BUFFER),
      max_age: maxAge > LONGEST_AGE_MS ? 0 : maxAge * NS_PER_MS,
      // One more, to know which one is before the others.
      max_msgs_per_subject: perTopic ? limit + 1 : -1,
      duplicate_window: ONCE_WINDOW_MS * NS_PER_MS,
      allow_direct: true,
      republish: { src: all, dest: `${tail}.${id}${all.slice(subject.length)}` },
      metadata: {
        ...info?.config.metadata,
        ns_id: id,
        ns_limit: `${limit}`,
        ns_ttl: `${ttl}`,
        ns_opened: `${this.opened}`,
        ...(perTopic && info && { ns_grown: `${this.grownWith(info)}` }),
        ...(run !== undefined && { ns_run: run }),
      },
    };
  }

  /** If a topic may have more messages than before, nobody knows which ones it had. */
  private grownWith({ config, state }: StreamInfo): number {
    return this.retention.limit + 1 > config.max_msgs_per_subject
      ? state.last_seq + WHILE_GROWING
      : Number(config.metadata?.ns_grown) || 0;
  }

  /** Two searches may end in another order than they have begun. */
  private found(end: Mark, search: number): void {
    if (search > this.newestSearch) {
      this.newestSearch = search;
      if (!isSameEpoch(end, this.newest) || end.seq > this.newest.seq) {
        this.newest = end;
      }
    }
    this.compare();
  }

  private compare(): void {
    const { newest, delivered, behind } = this;
    if (!delivered || includes(delivered, newest)) {
      this.behind = undefined;
    } else if (!behind || includes(delivered, behind.mark)) {
      this.behind = { mark: newest, since: performance.now() };
    }
  }
}

function endOf({ config, state }: StreamInfo): Mark {
  return { id: config.metadata?.ns_id ?? '', seq: state.last_seq };
}

/** Returns what changes when the messages that were not written to the disk may be lost: the server was started again, or another one leads the stream. */
function runOf({ cluster }: StreamInfo, session: Session): string {
  const { leader, leader_since: since = '' } = cluster ?? {};
  // A single server, too, may say that it is the leader, by a name that stays the same.
  return leader && session.isClustered ? `${leader} ${since}` : session.serverId;
}

/** Whether a stream needs no update. Other properties than those of `StreamConfig` are those of the stream. */
function isEqual({ metadata, ...config }: StreamConfig, other: StreamConfig): boolean {
  const names = Object.keys(config) as (keyof typeof config)[];
  return (
    names.every((name) => JSON.stringify(config[name]) === JSON.stringify(other[name])) &&
    Object.entries(metadata ?? {}).every(([name, value]) => other.metadata?.[name] === value)
  );
}

/** Returns whether a log that was received up to one message includes another. */
function includes(received: Mark, mark: Mark): boolean {
  return received.id !== mark.id || received.seq >= mark.seq;
}
