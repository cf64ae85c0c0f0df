import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { PendingAppends } from '../broker/pending-appends.js';
import { StreamError } from '../util/errors.js';
import { Append, type AppendOwner } from './append.js';
import { type AppendCommandOptions, appendCommand } from './append-command.js';
import type { Connection } from './connection.js';
import type { KnownLog } from './known-log.js';
import { isOtherEpoch, unavailable, unknownOutcome } from './redis-errors.js';
import { positionOf } from './stream-id.js';

type EntryAppend = Append<BrokerEntry, BrokerPosition>;

export interface AppenderOptions extends AppendCommandOptions {
  readonly server: string;
  readonly pending: PendingAppends;
}

/**
 * Appends to one log, in the order of the calls. An entry is sent again only if it is known that it was not appended: if the log was lost before,
 * or if the server was not the right one.
 */
export class Appender implements AppendOwner<BrokerEntry, BrokerPosition> {
  /** The epoch that entries are appended to. `undefined` until the log was found on the present connection. */
  private epoch: string | undefined;
  /** The newest position that is known on the present connection. */
  private newest: BrokerPosition = { epoch: '', offset: 0 };
  /** Entries that wait to be sent. */
  private queue: EntryAppend[] = [];
  /** Entries that were sent and not appended. They are sent again before `queue`, once all others that were sent are answered. */
  private refused: EntryAppend[] = [];
  private inFlight = 0;
  /**
   * Whether the server of this connection knows the script by its digest. Until then the script itself is sent: if an entry were refused, and another process
   * loaded the script before the next one, the next one would overtake it.
   */
  private scriptLoaded = false;
  private finding = false;

  constructor(
    readonly log: KnownLog,
    private readonly options: AppenderOptions,
    /** Returns the connection, if there is one, and why there is none. */
    private readonly link: { readonly connection: Connection | undefined; readonly failure: StreamError | undefined },
    /** Called when the log has begun another epoch. */
    private readonly onEpoch: (position: BrokerPosition) => void,
  ) {}

  append(entry: BrokerEntry): Promise<BrokerPosition> {
    const { pending } = this.options;
    return new Promise((resolve, reject) => {
      const append = new Append<BrokerEntry, BrokerPosition>(
        this,
        pending,
        entry,
        1,
        Buffer.byteLength(entry.data),
        resolve,
        reject,
      );
      pending.admit(append);
      if (this.queue.length > 0 || !this.send(append)) {
        this.queue.push(append);
        this.flush();
      }
    });
  }

  /** Finds the log on a new connection. */
  async adopt(connection: Connection): Promise<void> {
    this.epoch = undefined;
    this.scriptLoaded = false;
    const position = await this.log.adopt(connection);
    this.epoch = this.log.refusal ? undefined : position.epoch;
    this.newest = position;
    this.onEpoch(position);
  }

  /** Sends what waits. Called when there is a connection, and when entries were answered. */
  flush(): void {
    if (this.inFlight === 0 && this.refused.length > 0) {
      this.queue = [...this.refused.splice(0), ...this.queue];
    }
    if (this.queue.length === 0 || this.refused.length > 0) {
      return;
    }
    if (this.epoch === undefined) {
      this.find();
      return;
    }
    let sent = 0;
    for (const append of this.queue) {
      if (!append.settled && !this.send(append)) {
        break;
      }
      sent++;
    }
    this.queue.splice(0, sent);
  }

  onAnswer(append: EntryAppend, answer: unknown): void {
    this.inFlight--;
    append.sent = false;
    if (typeof answer !== 'string') {
      this.onLostLog(append);
    } else if (append.payload.once === undefined && !this.isNext(positionOf(answer))) {
      this.log.forget();
      this.onLostLog(append);
    } else {
      const position = positionOf(answer);
      this.newest = this.isNext(position) ? position : this.newest;
      this.log.saw(position);
      append.resolve(position);
      this.scriptLoaded = true;
    }
    this.afterAnswer();
  }

  onError(append: EntryAppend, message: string): void {
    this.inFlight--;
    append.sent = false;
    if (isOtherEpoch(message)) {
      this.onLostLog(append);
    } else if (message.startsWith('NOSCRIPT')) {
      this.scriptLoaded = false;
      this.refused.push(append);
    } else {
      append.reject(unavailable(this.options.server, message));
    }
    this.afterAnswer();
  }

  onRefused(append: EntryAppend): void {
    this.inFlight--;
    append.sent = false;
    this.epoch = undefined;
    this.refused.push(append);
  }

  onLost(append: EntryAppend, message: string): void {
    this.inFlight--;
    append.sent = false;
    this.epoch = undefined;
    append.reject(unknownOutcome(this.options.server, message));
  }

  onExpired(append: EntryAppend): void {
    const { server } = this.options;
    append.reject(
      append.sent
        ? unknownOutcome(server, 'it did not answer in time')
        : (this.link.failure ?? unavailable(server, new Error('it did not answer in time'))),
    );
    while (this.queue[0]?.settled) {
      this.queue.shift();
    }
  }

  /**
   * Returns whether a record is behind all others that are known. If it is not, the log was lost, and another process has begun an earlier epoch, by a
   * clock that was set back: `XADD` has changed it to this epoch, with small offsets. Tails do not receive these records, so a new epoch has to begin.
   */
  private isNext({ epoch, offset }: BrokerPosition): boolean {
    return epoch !== this.newest.epoch || offset > this.newest.offset;
  }

  /** The log does not exist in this epoch: the entry was not appended. */
  private onLostLog(append: EntryAppend): void {
    this.epoch = undefined;
    append.losses++;
    if (append.losses > 1) {
      append.reject(unavailable(this.options.server, new Error('the log was lost twice')));
    } else {
      this.refused.push(append);
    }
  }

  private afterAnswer(): void {
    if (this.inFlight === 0 && (this.refused.length > 0 || this.queue.length > 0)) {
      this.flush();
    }
  }

  /** Sends an entry. Returns `false` if it cannot be sent yet. */
  private send(append: EntryAppend): boolean {
    const { connection } = this.link;
    if (this.epoch === undefined || this.refused.length > 0 || !connection?.usable) {
      return false;
    }
    append.sent = true;
    this.inFlight++;
    connection.send(appendCommand(this.log, this.options, append.payload, this.epoch, this.scriptLoaded), append);
    return true;
  }

  /** Finds the log again after it was lost, once everything that was sent is answered. */
  private find(): void {
    const { connection } = this.link;
    if (this.finding || this.inFlight > 0 || !connection?.usable) {
      return;
    }
    this.finding = true;
    this.adopt(connection)
      .then(() => (this.log.refusal ? Promise.reject(this.log.refusal) : undefined))
      .catch((error: unknown) => this.onNotFound(connection, error))
      .finally(() => {
        this.finding = false;
        this.flush();
      });
  }

  /** Redis does not say where the log is: what waits for it cannot be appended. */
  private onNotFound(connection: Connection, error: unknown): void {
    if (connection.usable) {
      for (const append of this.queue.splice(0)) {
        if (!append.settled) {
          append.reject(error instanceof StreamError ? error : unavailable(this.options.server, error));
        }
      }
    }
  }
}
