import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { PendingAppends } from '../broker/pending-appends.js';
import type { StreamError } from '../util/errors.js';
import { Append, type AppendOwner } from './append.js';
import type { Connection } from './connection.js';
import { unavailable, unknownRecords } from './redis-errors.js';
import { RUN_APPEND } from './run-scripts.js';
import { addFields, positionOf, streamIdOf } from './stream-id.js';

/** One call of `create()` or `appendAll()`. */
export interface RunWrite {
  readonly key: string;
  readonly entries: readonly BrokerEntry[];
  readonly after: BrokerPosition | undefined;
  /** Whether the log is created. */
  readonly creates: boolean;
  /** The time after which the log expires, in whole milliseconds. `undefined`: when it would have before. */
  readonly ms: number | undefined;
}

type Written = BrokerPosition | false;
type RunAppend = Append<RunWrite, Written>;

export interface RunAppenderOptions {
  readonly server: string;
  readonly pending: PendingAppends;
}

/**
 * Appends to the logs of runs, in the order of the calls. A call is sent again only if it is known that nothing was appended, and if no later call for the same
 * log was answered.
 */
export class RunAppender implements AppendOwner<RunWrite, Written> {
  /** Calls that wait to be sent. */
  private queue: RunAppend[] = [];
  /** Calls that were sent and not run. They are sent again before `queue`, once all others that were sent are answered. */
  private refused: RunAppend[] = [];
  private inFlight = 0;
  /**
   * Whether the server of this connection knows the script by its digest. Until then the script itself is sent: if a call were refused, and another process
   * loaded the script before the next one, the next one would overtake it.
   */
  private scriptLoaded = false;

  constructor(
    private readonly options: RunAppenderOptions,
    /** Returns the connection, if there is one, and why there is none. */
    private readonly link: { readonly connection: Connection | undefined; readonly failure: StreamError | undefined },
  ) {}

  /** @returns the position of the last record, or `false` if the condition is not met */
  write(write: RunWrite): Promise<Written> {
    const { pending } = this.options;
    const { entries } = write;
    const bytes = entries.reduce((sum, { data }) => sum + Buffer.byteLength(data), 0);
    return new Promise((resolve, reject) => {
      const append = new Append<RunWrite, Written>(this, pending, write, entries.length, bytes, resolve, reject);
      pending.admit(append);
      this.queue.push(append);
      this.flush();
    });
  }

  /** Called when there is another connection. */
  onConnection(): void {
    this.scriptLoaded = false;
    this.flush();
  }

  onAnswer(append: RunAppend, answer: unknown): void {
    this.onSettled(append);
    this.scriptLoaded = true;
    this.rejectEarlier(append);
    append.resolve(typeof answer === 'string' && positionOf(answer));
    this.afterAnswer();
  }

  onError(append: RunAppend, message: string): void {
    this.onSettled(append);
    if (message.startsWith('NOSCRIPT')) {
      this.scriptLoaded = false;
      this.refused.push(append);
    } else {
      this.rejectEarlier(append);
      append.reject(unavailable(this.options.server, message));
    }
    this.afterAnswer();
  }

  onRefused(append: RunAppend): void {
    this.onSettled(append);
    this.refused.push(append);
  }

  onLost(append: RunAppend, message: string): void {
    this.onSettled(append);
    append.reject(unknownRecords(this.options.server, message));
  }

  onExpired(append: RunAppend): void {
    const { server } = this.options;
    append.reject(
      append.sent
        ? unknownRecords(server, 'it did not answer in time')
        : (this.link.failure ?? unavailable(server, new Error('it did not answer in time'))),
    );
    while (this.queue[0]?.settled) {
      this.queue.shift();
    }
  }

  private onSettled(append: RunAppend): void {
    this.inFlight--;
    append.sent = false;
  }

  /** Rejects calls that were refused, and that a later call for the same log has overtaken. */
  private rejectEarlier({ payload: { key } }: RunAppend): void {
    for (const earlier of this.refused.filter(({ payload }) => payload.key === key)) {
      earlier.reject(unavailable(this.options.server, new Error('it refused the call, and not the next one')));
    }
    this.refused = this.refused.filter(({ settled }) => !settled);
  }

  private afterAnswer(): void {
    if (this.inFlight === 0 && (this.refused.length > 0 || this.queue.length > 0)) {
      this.flush();
    }
  }

  /** Sends what waits, unless calls that were refused come before it. */
  private flush(): void {
    if (this.inFlight === 0 && this.refused.length > 0) {
      this.queue = [...this.refused.splice(0), ...this.queue];
    }
    const { connection } = this.link;
    if (this.refused.length === 0 && connection?.usable) {
      for (const append of this.queue.splice(0)) {
        if (!append.settled) {
          append.sent = true;
          this.inFlight++;
          connection.send(this.commandOf(append.payload), append);
        }
      }
    }
  }

  private commandOf({ key, entries, after, creates, ms }: RunWrite): string[] {
    const args = this.scriptLoaded ? ['EVALSHA', RUN_APPEND.sha] : ['EVAL', RUN_APPEND.text];
    const random = creates ? `${Math.floor(Math.random() * 1_000)}`.padStart(3, '0') : '';
    args.push('1', key, after ? streamIdOf(after) : '', random, ms === undefined ? '' : `${ms}`);
    for (const entry of entries) {
      const fields: string[] = [];
      addFields(fields, entry);
      args.push(`${fields.length}`, ...fields);
    }
    return args;
  }
}
