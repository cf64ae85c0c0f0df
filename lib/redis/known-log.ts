import type { BrokerPosition, BrokerRetention } from '../broker/broker.js';
import type { StreamError } from '../util/errors.js';
import type { Connection } from './connection.js';
import type { LogKeys } from './log-keys.js';
import { unusable } from './redis-errors.js';
import { ADOPT } from './scripts.js';
import { isLater, positionOf } from './stream-id.js';

/** How many records are kept, and how long. With `all`, the log has a history for each topic: see `TopicRetention`. */
export interface LogRetention extends BrokerRetention {
  readonly all?: boolean | undefined;
}

/** What this process knows of a log that is open. */
export class KnownLog {
  /** Why this process cannot append. `undefined` if it can. */
  refusal: StreamError | undefined;
  /** The newest position that is known. The epoch is empty if none is. */
  private newest: BrokerPosition = { epoch: '', offset: 0 };
  /** The position up to which tails have received the log. `undefined` without a tail. */
  private delivered: BrokerPosition | undefined;
  /** A position that tails have not received, and since when it is known. */
  private behind: { readonly position: BrokerPosition; readonly since: number } | undefined;

  constructor(
    readonly name: string,
    readonly keys: LogKeys,
    /** How many records are kept, and how long: as the newest process that has opened the log wants it. */
    public retention: LogRetention,
    private readonly trustRestarts: boolean,
  ) {}

  /** The newest epoch that is known. Empty if none is. */
  get epoch(): string {
    return this.newest.epoch;
  }

  /** Called with every position that the log is known to have. */
  saw(position: BrokerPosition): void {
    const { epoch, offset } = this.newest;
    if (position.epoch === epoch ? position.offset > offset : isLater(position.epoch, epoch)) {
      this.newest = position;
    }
    this.compare();
  }

  /** Called when the log has lost records of its present epoch, wherever it ends now: adopt() then begins another one. */
  forget(): void {
    this.newest = { epoch: this.newest.epoch, offset: Number.MAX_SAFE_INTEGER };
  }

  /** Called when tails have received the log up to a position; with `undefined` if there are no tails. */
  reached(position: BrokerPosition | undefined): void {
    this.delivered = position;
    if (position) {
      this.saw(position);
    }
    this.compare();
  }

  /** How long a record is known that tails have not received, in milliseconds. */
  get behindMs(): number {
    return this.behind === undefined ? 0 : performance.now() - this.behind.since;
  }

  /**
   * Returns the end of the log. If the log is lost, or may have lost its newest records, it begins a new epoch. Called on every new connection before
   * anything is appended on it.
   * @param opens whether the retention of this process becomes that of all. Otherwise, this process takes over that of the newest one that has opened the log
   */
  async adopt(connection: Connection, opens = false): Promise<BrokerPosition> {
    const { epoch, offset } = this.newest;
    const { stream, run } = this.keys;
    const { limit, ttl } = this.retention;
    const random = `${Math.floor(Math.random() * 1_000)}`.padStart(3, '0');
    const kept = keptIn(this.retention);
    const args = [epoch, offset, random, Number(this.trustRestarts), limit, ttl, Number(opens), kept].map(String);
    const answer = await connection.run(ADOPT, [stream, run], ...args);
    const [id, newestLimit, newestTtl, newestKept] = answer as [string, string, string, string];
    this.takeOver({ limit: Number(newestLimit), ttl: Number(newestTtl) }, newestKept);
    const position = positionOf(id);
    this.saw(position);
    return position;
  }

  private takeOver(retention: BrokerRetention, kept: string): void {
    const { all } = this.retention;
    const same = (kept === '') === (all === undefined);
    this.retention = all === undefined || !same ? { ...retention, all } : { ...retention, all: kept === 'all' };
    this.refusal = same
      ? undefined
      : unusable(
          `Another process has opened the hub "${this.name}" ${all === undefined ? 'with' : 'without'} a history for each topic: it receives no events of this process. Give the hub another name, or stop the other processes`,
        );
  }

  private compare(): void {
    const { newest, delivered, behind } = this;
    if (!delivered || includes(delivered, newest)) {
      this.behind = undefined;
    } else if (!behind || includes(delivered, behind.position)) {
      this.behind = { position: newest, since: performance.now() };
    }
  }
}

/** Returns what a log keeps: one history, one for each topic, or both. */
function keptIn({ all }: LogRetention): '' | 'topic' | 'all' {
  return all === undefined ? '' : all ? 'all' : 'topic';
}

/** Returns whether a log that was received up to one position includes another. */
function includes(received: BrokerPosition, position: BrokerPosition): boolean {
  return received.epoch === position.epoch
    ? received.offset >= position.offset
    : isLater(received.epoch, position.epoch);
}
