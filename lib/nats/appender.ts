import { createHash } from 'node:crypto';
import type { Msg } from '@nats-io/transport-node';
import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { unknownOutcome } from '../broker/broker-errors.js';
import type { PendingAppends, WaitingAppend } from '../broker/pending-appends.js';
import { textOf } from '../util/error-text.js';
import type { StreamError } from '../util/errors.js';
import type { KnownLog } from './known-log.js';
import { type Mark, positionOf } from './mark.js';
import { payloadOf } from './message.js';
import { tokenOf } from './names.js';
import { NoRespondersError, OtherKindError, tooLarge, unavailable } from './nats-errors.js';
import type { Header, Request, Session } from './session.js';
import { answerOf } from './stream-api.js';

/** About how many bytes the headers of a message have. */
const HEADER_BYTES = 200;

/** The answer to a message that was published. */
interface Acknowledgement {
  readonly seq: number;
  readonly duplicate?: boolean;
}

/** One entry, until it is appended or rejected. */
class Append implements Request, WaitingAppend {
  /** Identifies the request, while it is not answered. */
  sent: string | undefined;
  settled = false;
  /** How many times nobody listened to the subject. */
  refusals = 0;
  readonly time = performance.now();
  readonly entries = 1;

  constructor(
    private readonly appender: Appender,
    private readonly pending: PendingAppends,
    readonly subject: string,
    readonly payload: string,
    readonly bytes: number,
    readonly once: string | undefined,
    private readonly onDone: (position: BrokerPosition) => void,
    private readonly onFailed: (error: Error) => void,
  ) {}

  resolve(position: BrokerPosition): void {
    this.settle();
    this.onDone(position);
  }

  reject(error: Error): void {
    this.settle();
    this.onFailed(error);
  }

  expire(): void {
    this.appender.onExpired(this);
  }

  onReply(message: Msg): void {
    this.appender.onReply(this, message);
  }

  onNoResponders(): void {
    this.appender.onNoResponders(this);
  }

  onRefused(error: unknown): void {
    this.appender.onRefused(this, error);
  }

  onLost(reason: string): void {
    this.appender.onLost(this, reason);
  }

  private settle(): void {
    if (!this.settled) {
      this.settled = true;
      this.pending.remove(this);
    }
  }
}

export interface AppenderOptions {
  readonly server: string;
  readonly pending: PendingAppends;
  /** Returns the session, if there is one, and why there is none. */
  readonly link: { readonly session: Session | undefined; readonly failure: StreamError | undefined };
}

/** Appends to one log, in the order of the calls. An entry is sent again only if it is known that it was not appended, and that no later one was. */
export class Appender {
  /** Entries that wait to be sent. */
  private queue: Append[] = [];
  /** Entries that were sent, and that nobody has received. They are sent again before `queue`, once all others that were sent are answered. */
  private refused: Append[] = [];
  private inFlight = 0;
  private finding = false;

  constructor(
    private readonly log: KnownLog,
    private readonly options: AppenderOptions,
    /** Called with every entry that is in the log. */
    private readonly onAppended?: (mark: Mark) => void,
  ) {}

  append(entry: BrokerEntry): Promise<BrokerPosition> {
    const { pending } = this.options;
    const payload = payloadOf(entry);
    const bytes = Buffer.byteLength(payload);
    const once = entry.once === undefined ? undefined : createHash('sha256').update(entry.once).digest('base64url');
    return new Promise((resolve, reject) => {
      const append = new Append(this, pending, this.subjectOf(entry), payload, bytes, once, resolve, reject);
      pending.admit(append);
      this.queue.push(append);
      this.flush();
    });
  }

  /** Sends what waits. Called when there is a session, and when entries were answered. */
  flush(): void {
    const { session } = this.options.link;
    if (this.inFlight === 0 && this.refused.length > 0) {
      this.queue = [...this.refused.splice(0), ...this.queue];
      void this.find(session);
    }
    if (this.finding || this.refused.length > 0 || !session?.usable) {
      return;
    }
    for (const append of this.queue.splice(0)) {
      if (!append.settled) {
        this.send(append, session);
      }
    }
  }

  onReply(append: Append, message: Msg): void {
    this.onAnswered(append);
    this.rejectRefused();
    try {
      const { seq } = answerOf<Acknowledgement>(message);
      const mark = { id: this.log.end.id, seq };
      this.log.saw(mark);
      this.onAppended?.(mark);
      append.resolve(positionOf(mark));
    } catch (error) {
      append.reject(unavailable(this.options.server, error));
    }
    this.afterAnswer();
  }

  onNoResponders(append: Append): void {
    this.onAnswered(append);
    append.refusals++;
    if (append.refusals > 1) {
      append.reject(unavailable(this.options.server, new NoRespondersError()));
    } else {
      this.refused.push(append);
    }
    this.afterAnswer();
  }

  onRefused(append: Append, error: unknown): void {
    this.onAnswered(append);
    append.reject(unavailable(this.options.server, error));
    this.afterAnswer();
  }

  onLost(append: Append, reason: string): void {
    this.onAnswered(append);
    append.reject(unknownOutcome(this.options.server, reason));
  }

  onExpired(append: Append): void {
    const { server, link } = this.options;
    if (append.sent === undefined) {
      append.reject(link.failure ?? unavailable(server, new Error('it did not answer in time')));
    } else {
      link.session?.forget(append.sent);
      this.onAnswered(append);
      append.reject(unknownOutcome(server, 'it did not answer in time'));
    }
    while (this.queue[0]?.settled) {
      this.queue.shift();
    }
  }

  /** Finds the log, or creates it again. */
  private async find(session: Session | undefined): Promise<void> {
    if (this.finding || !session?.usable) {
      return;
    }
    this.finding = true;
    try {
      await this.log.find(session);
    } catch (error) {
      for (const append of this.queue.filter(({ refusals, settled }) => refusals > 0 && !settled)) {
        const reason = error instanceof OtherKindError ? error : new Error(textOf(error));
        append.reject(unavailable(this.options.server, reason));
      }
    } finally {
      this.finding = false;
      this.flush();
    }
  }

  private subjectOf({ topic }: BrokerEntry): string {
    const { names, perTopic } = this.log;
    return perTopic ? `${names.subject}.t.${tokenOf(topic ?? '')}` : names.subject;
  }

  private onAnswered(append: Append): void {
    this.inFlight--;
    append.sent = undefined;
  }

  /** Rejects entries that a later one has overtaken. */
  private rejectRefused(): void {
    for (const append of this.refused.splice(0)) {
      append.reject(unavailable(this.options.server, new NoRespondersError()));
    }
  }

  private afterAnswer(): void {
    if (this.inFlight === 0 && (this.refused.length > 0 || this.queue.length > 0)) {
      this.flush();
    }
  }

  private send(append: Append, session: Session): void {
    const { subject, payload, bytes, once } = append;
    if (bytes + HEADER_BYTES > session.mostBytes) {
      append.reject(tooLarge(bytes, session.mostBytes - HEADER_BYTES));
      return;
    }
    this.inFlight++;
    // The stream remembers keys of an earlier epoch, although its records are lost.
    const header = once === undefined ? undefined : onceHeader(once, positionOf(this.log.end).epoch);
    append.sent = '';
    const token = session.send(subject, payload, append, header);
    append.sent = append.sent === undefined ? undefined : token;
  }
}

function onceHeader(once: string, epoch: string): Header {
  return ['Nats-Msg-Id', `${once} ${epoch}`];
}
