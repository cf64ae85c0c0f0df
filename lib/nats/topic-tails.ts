import type { Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail } from '../broker/broker-topics.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { KnownLog } from './known-log.js';
import { isSameEpoch, type Mark, positionOf } from './mark.js';
import { recordOf, type StoredMessage } from './message.js';
import { tokenOf } from './names.js';
import { PermissionError, unavailable } from './nats-errors.js';
import type { Session } from './session.js';
import { republishedMessageOf } from './stream-api.js';
import type { TopicMarks } from './topic-marks.js';

/** How long to wait before a mark is published again, in milliseconds. */
const RETRY_MS = 200;

/** A subscription to one topic, and the tails that have added it. */
interface Subscribed {
  readonly subscription: Subscription;
  readonly tails: Set<TopicTail>;
  /** Why NATS has refused it. */
  failure: PermissionError | undefined;
}

/** One tail. */
interface TopicTail {
  readonly listener: BrokerTopicListener;
  readonly topics: Set<string>;
}

/** A time in which it is not known what was missed. */
interface Resync {
  /** Messages that came in that time. */
  readonly held: { readonly id: string; readonly message: StoredMessage; readonly topics: Subscribed }[];
  readonly done: Deferred<void>;
}

export interface TopicTailsOptions {
  /** Returns the session and the connection. Subscriptions outlive a session. */
  readonly link: { readonly session: Session | undefined; readonly connection: NatsConnection };
  readonly marks: TopicMarks;
  readonly server: string;
}

/**
 * All tails of topics of one log in this process. The stream publishes each message again, and the process subscribes to the topics that it wants, and to marks. A mark is a
 * message of the stream, too, so that it comes behind all that it covers.
 */
export class TopicTails {
  private readonly tails = new Set<TopicTail>();
  private readonly topics = new Map<string, Subscribed>();
  private readonly marks: Subscription;
  /** The newest mark that was received. */
  private reached: Mark = { id: '', seq: 0 };
  /** Those who wait for a mark, by its sequence number. */
  private readonly waiting = new Map<Deferred<Mark>, Mark>();
  /** The mark that calls in this turn of the event loop share. */
  private nextMark: Promise<Mark> | undefined;
  /** Set while it is not known what was missed. */
  private resyncing: Resync | undefined;
  private timer: NodeJS.Timeout | undefined;
  private ended = false;
  /** Why NATS has refused the subscription to marks. */
  private failure: PermissionError | undefined;

  constructor(
    private readonly log: KnownLog,
    private readonly options: TopicTailsOptions,
  ) {
    this.marks = options.link.connection.subscribe(`${log.names.tail}.*.mark.*`, {
      callback: (error, message) => (error ? this.onForbidden(error) : this.onMark(message)),
    });
  }

  async add(listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    const start = await this.mark();
    const tail: TopicTail = { listener, topics: new Set() };
    this.tails.add(tail);
    return {
      ...positionOf(start),
      add: (topics) => this.addTopics(tail, topics),
      delete: (topics) => this.deleteTopics(tail, topics),
      stop: () => {
        this.tails.delete(tail);
        this.deleteTopics(tail, [...tail.topics]);
      },
    };
  }

  /** Finds out what was missed: called when the session is lost, when there is another one, and when the log has another epoch. */
  resync(): void {
    if (this.resyncing === undefined && this.reached.id !== '' && !this.ended) {
      this.resyncing = { held: [], done: deferred() };
      this.catchUp();
    }
  }

  /** Called when it is known where the log ends. */
  onFound(end: Mark): void {
    if (this.reached.id !== '' && !isSameEpoch(end, this.reached)) {
      this.resync();
    } else if (end.seq > this.reached.seq) {
      // Another program has appended: its processes publish no marks.
      this.mark().catch(() => undefined);
    }
  }

  end(): void {
    this.ended = true;
    clearTimeout(this.timer);
    this.tails.clear();
    this.marks.unsubscribe();
    for (const { subscription } of this.topics.values()) {
      subscription.unsubscribe();
    }
    this.topics.clear();
    this.rejectWaiting(new Error('the broker is closed'));
  }

  /**
   * Called when the session is lost: marks that were published may not come. The driver subscribes again before there is another session, and what comes then
   * follows what was missed.
   */
  onLost(): void {
    this.rejectWaiting(new Error('the connection was lost'));
    this.resync();
  }

  private async addTopics(tail: TopicTail, topics: readonly string[]): Promise<BrokerPosition> {
    const added = topics.filter((topic) => !tail.topics.has(topic));
    for (const topic of added) {
      this.subscribed(topic).tails.add(tail);
      tail.topics.add(topic);
    }
    try {
      const mark = await this.syncedMark();
      for (const topic of added) {
        const { failure } = this.topics.get(topic) ?? {};
        if (failure) {
          throw failure;
        }
      }
      return positionOf(mark);
    } catch (error) {
      this.deleteTopics(tail, added);
      throw unavailable(this.options.server, error);
    }
  }

  private deleteTopics(tail: TopicTail, topics: readonly string[]): void {
    for (const topic of topics) {
      const subscribed = this.topics.get(topic);
      tail.topics.delete(topic);
      subscribed?.tails.delete(tail);
      if (subscribed?.tails.size === 0) {
        subscribed.subscription.unsubscribe();
        this.topics.delete(topic);
      }
    }
  }

  private subscribed(topic: string): Subscribed {
    const existing = this.topics.get(topic);
    if (existing) {
      return existing;
    }
    const { tail } = this.log.names;
    const subscription = this.options.link.connection.subscribe(`${tail}.*.t.${tokenOf(topic)}`, {
      callback: (error, message) => {
        if (error) {
          subscribed.failure = new PermissionError(error.message);
        } else {
          this.onMessage(message, subscribed);
        }
      },
    });
    const subscribed: Subscribed = { subscription, tails: new Set(), failure: undefined };
    this.topics.set(topic, subscribed);
    return subscribed;
  }

  /** Returns a mark up to which everything was delivered, or is known to be missed. */
  private async syncedMark(): Promise<Mark> {
    for (;;) {
      const mark = await this.mark();
      if (!this.resyncing) {
        return mark;
      }
      await this.options.marks.inTime(this.resyncing.done.promise);
    }
  }

  /** Publishes a mark, after everything that was sent in this turn, and waits until it has arrived. */
  private mark(): Promise<Mark> {
    this.nextMark ??= Promise.resolve().then(async () => {
      this.nextMark = undefined;
      const mark = await this.options.marks.publish();
      if (this.failure) {
        throw this.failure;
      }
      if (isSameEpoch(mark, this.reached) && this.reached.seq >= mark.seq) {
        return mark;
      }
      const arrived = deferred<Mark>();
      this.waiting.set(arrived, mark);
      try {
        return await this.options.marks.inTime(arrived.promise);
      } finally {
        this.waiting.delete(arrived);
      }
    });
    return this.nextMark;
  }

  private onMark(message: Msg): void {
    const mark = { id: this.idOf(message), seq: Number(message.headers?.get('Nats-Sequence')) };
    const isSame = isSameEpoch(mark, this.reached) || this.reached.id === '';
    if (!isSame) {
      this.resync();
    }
    this.reached = mark;
    this.log.reached(mark);
    this.options.marks.saw(mark);
    if (!this.resyncing) {
      const position = positionOf(mark);
      for (const { listener } of this.tails) {
        listener.onReached(position);
      }
    }
    for (const [waiting, { id, seq }] of this.waiting) {
      if (id !== mark.id || seq <= mark.seq) {
        this.waiting.delete(waiting);
        waiting.resolve(mark);
      }
    }
  }

  private onMessage(message: Msg, topics: Subscribed): void {
    const id = this.idOf(message);
    const stored = republishedMessageOf(message);
    if (!isSameEpoch({ id, seq: stored.seq }, this.reached)) {
      this.resync();
    }
    if (this.resyncing) {
      this.resyncing.held.push({ id, message: stored, topics });
    } else {
      this.deliver(stored, id, topics);
    }
  }

  private deliver(message: StoredMessage, id: string, { tails }: Subscribed): void {
    this.log.saw({ id, seq: message.seq });
    let records: BrokerRecord[] | undefined;
    for (const { listener } of tails) {
      records ??= [recordOf(message, id)];
      listener.onRecords(records);
    }
  }

  private catchUp(): void {
    this.mark().then(
      (mark) => this.onCaughtUp(mark),
      () => {
        if (!this.ended) {
          this.timer = setTimeout(() => this.catchUp(), RETRY_MS);
        }
      },
    );
  }

  /** The listeners read what is before a mark. What came after it is delivered. */
  private onCaughtUp(mark: Mark): void {
    const { held = [], done } = this.resyncing ?? {};
    this.resyncing = undefined;
    const position = positionOf(mark);
    for (const { listener } of this.tails) {
      listener.onMissed(position);
    }
    for (const { id, message, topics } of held) {
      if (id === mark.id && message.seq > mark.seq) {
        this.deliver(message, id, topics);
      }
    }
    done?.resolve();
  }

  private onForbidden(error: Error): void {
    this.failure = new PermissionError(error.message);
    this.rejectWaiting(this.failure);
  }

  private rejectWaiting(error: Error): void {
    for (const waiting of this.waiting.keys()) {
      waiting.reject(error);
    }
    this.waiting.clear();
  }

  /** The token of a subject after that of the log is the id of the stream. */
  private idOf({ subject }: Msg): string {
    const start = this.log.names.tail.length + 1;
    return subject.slice(start, subject.indexOf('.', start));
  }
}
