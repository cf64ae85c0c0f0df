import type { Msg, Subscription } from '@nats-io/transport-node';
import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import { deferred } from '../util/thenable.js';
import type { KnownLog } from './known-log.js';
import { readPage } from './log-reader.js';
import { isSameEpoch, type Mark, positionOf, startOf } from './mark.js';
import { recordOf, type StoredMessage } from './message.js';
import { PermissionError } from './nats-errors.js';
import type { Session } from './session.js';
import { republishedMessageOf, storedMessageOf } from './stream-api.js';

/** How many records of a page are read at once. */
const PAGE = 256;
/** How long to wait before reading is tried again, in milliseconds. */
const RETRY_MS = 200;

/** One listener, and the message that it starts after. */
interface Listening {
  readonly listener: BrokerListener;
  readonly start: Mark;
}

export interface LogTailOptions {
  /** Subscribes to a subject. The subscription outlives a lost connection. */
  readonly subscribe: (subject: string, onMessage: (error: Error | null, message: Msg) => void) => Subscription;
  /** Returns the session, if there is one. */
  readonly link: { readonly session: Session | undefined };
  /** Called when the last listener has left. */
  readonly onUnused: () => void;
}

/**
 * All tails of one log in this process. The stream publishes each message again, and the process subscribes to that, so that a tail costs the server no consumer. NATS does not
 * repeat such a message. If one is missing, the log is read.
 */
export class LogTail {
  private readonly listening = new Set<Listening>();
  private readonly subscription: Subscription;
  /** The message up to which records were delivered. `undefined` until it is known where the log ends. */
  private reached: Mark | undefined;
  /** Messages that came while those before them are being read. `undefined` if none are being read. */
  private held: (readonly [id: string, message: StoredMessage])[] | undefined = [];
  private timer: NodeJS.Timeout | undefined;
  private failure: Error | undefined;
  private onMoved: (() => void) | undefined;

  constructor(
    private readonly log: KnownLog,
    private readonly options: LogTailOptions,
  ) {
    this.subscription = options.subscribe(
      log.perTopic ? `${log.names.tail}.*.t.*` : `${log.names.tail}.*`,
      this.onMessage,
    );
  }

  /**
   * Adds a listener.
   * @param found where the log ended after the tail had subscribed
   * @throws if NATS does not permit the subscription
   */
  add(listener: BrokerListener, found: Mark): BrokerTail {
    if (this.failure) {
      throw this.failure;
    }
    if (!this.reached) {
      this.reached = found;
      this.log.reached(found);
      this.onHeld();
    }
    this.onFound(found);
    // The other listeners may not have received it all, and this one may have begun behind what they have.
    const start = isSameEpoch(this.reached, found) && this.reached.seq > found.seq ? this.reached : found;
    const listening = { listener, start };
    this.listening.add(listening);
    return { ...positionOf(start), stop: () => this.remove(listening) };
  }

  /** Resolves once records up to a message were delivered. */
  async reach(mark: Mark): Promise<void> {
    while (this.reached && this.reached.id === mark.id && this.reached.seq < mark.seq && this.listening.size > 0) {
      const moved = deferred();
      this.onMoved = moved.resolve;
      await moved.promise;
    }
  }

  get isUnused(): boolean {
    return this.listening.size === 0;
  }

  /** Called when it is known where the log ends. */
  onFound(found: Mark): void {
    const { reached } = this;
    if (reached && (found.id !== reached.id || found.seq > reached.seq)) {
      this.catchUp();
    }
  }

  end(): void {
    clearTimeout(this.timer);
    this.listening.clear();
    this.subscription.unsubscribe();
  }

  private readonly onMessage = (error: Error | null, message: Msg): void => {
    if (error) {
      this.failure = new PermissionError(error.message);
      return;
    }
    const [id = ''] = message.subject.slice(this.log.names.tail.length + 1).split('.');
    this.take(id, this.log.perTopic ? republishedMessageOf(message) : storedMessageOf(message));
  };

  private take(id: string, message: StoredMessage): void {
    const { held, reached } = this;
    if (held) {
      held.push([id, message]);
    } else if (reached?.id === id && message.seq === reached.seq + 1) {
      this.deliver([message], id);
    } else {
      this.catchUp();
    }
  }

  /** Reads what was appended since the last record that was delivered. Called when there is another session, too. */
  catchUp(): void {
    if (this.held === undefined) {
      this.held = [];
      this.readAll().then(
        () => this.onHeld(),
        () => this.retry(),
      );
    }
  }

  private async readAll(): Promise<void> {
    const { session } = this.options.link;
    let isRead = session === undefined;
    let after = this.reached;
    while (session && after && !isRead && this.listening.size > 0) {
      // Messages that came before are read as well.
      this.held = [];
      const found = await this.log.find(session);
      const { end } = found;
      after = this.enter(end, after);
      const { messages, reached } = await readPage(session, found, after.seq, PAGE);
      this.deliver(messages, end.id);
      after = { id: end.id, seq: reached };
      isRead = reached >= end.seq;
      if (isRead && this.reached !== undefined && this.reached.seq < end.seq) {
        // The newest records were removed.
        this.moveTo(end);
        this.notify([], positionOf(end));
      }
    }
  }

  /** Begins another epoch, if the log has. Returns the message to read after. */
  private enter(end: Mark, after: Mark): Mark {
    if (isSameEpoch(after, end)) {
      return after;
    }
    const start = { id: end.id, seq: startOf(end.seq) };
    this.moveTo(start);
    this.notify([], positionOf(end));
    return start;
  }

  private onHeld(): void {
    const { held = [], reached } = this;
    this.held = undefined;
    for (const [id, message] of held) {
      // Those up to that message were read. Messages of a stream that was deleted cannot be.
      if (reached?.id !== id || message.seq > reached.seq) {
        this.take(id, message);
      }
    }
  }

  private retry(): void {
    this.timer = setTimeout(() => {
      this.held = undefined;
      this.catchUp();
    }, RETRY_MS);
  }

  private deliver(messages: readonly StoredMessage[], id: string): void {
    const last = messages[messages.length - 1];
    if (last) {
      this.moveTo({ id, seq: last.seq });
      this.notify(messages.map((message) => recordOf(message, id)));
    }
  }

  private notify(records: readonly BrokerRecord[], position?: BrokerPosition): void {
    for (const { listener, start } of this.listening) {
      const { epoch, offset } = positionOf(start);
      const isOwn = (record: BrokerRecord): boolean => record.epoch !== epoch || record.offset > offset;
      const [first] = records;
      // All are, nearly always.
      const own = first === undefined || isOwn(first) ? records : records.filter(isOwn);
      if (own.length > 0 || position) {
        position ? listener(own, position) : listener(own);
      }
    }
  }

  private moveTo(mark: Mark): void {
    this.reached = mark;
    this.log.reached(mark);
    this.onMoved?.();
  }

  private remove(listening: Listening): void {
    if (this.listening.delete(listening) && this.listening.size === 0) {
      this.log.reached(undefined);
      this.options.onUnused();
    }
  }
}
