import { Deadline } from '../util/deadline.js';
import { busy } from './broker-errors.js';

/** How many entries may wait for a store, and how many bytes of data they may have. */
export interface PendingLimits {
  readonly entries: number;
  readonly bytes: number;
}

/** One call that waits until its entries are appended. */
export interface WaitingAppend {
  readonly settled: boolean;
  readonly time: number;
  /** The number of its entries, and of the bytes of their data. */
  readonly entries: number;
  readonly bytes: number;
  /** Called when it has waited for too long. It settles then. */
  expire(): void;
}

/** Limits the number, the size and the age of the entries that wait for a store, over all logs of a broker. */
export class PendingAppends {
  /** In the order of their times. Contains settled ones, too. */
  private readonly appends: WaitingAppend[] = [];
  /** The index of the oldest one that may not be settled. */
  private oldest = 0;
  /** One deadline watches the oldest entry. It is not restarted for every entry. */
  private readonly deadline = new Deadline(() => this.onPassed());
  private entries = 0;
  private bytes = 0;

  constructor(
    private readonly limits: PendingLimits,
    private readonly timeout: number,
    private readonly server: string,
  ) {}

  get count(): number {
    return this.entries;
  }

  /** Adds an entry. @throws {StreamError} `broker-busy` if too many wait */
  admit(append: WaitingAppend): void {
    const { entries, bytes } = this.limits;
    if (this.entries >= entries) {
      throw busy(this.server, `${entries} events`);
    }
    if (this.bytes + append.bytes > bytes && this.entries > 0) {
      throw busy(this.server, `${bytes} bytes of events`);
    }
    this.entries += append.entries;
    this.bytes += append.bytes;
    this.appends.push(append);
    this.deadline.start(this.timeout);
  }

  remove({ entries, bytes }: WaitingAppend): void {
    this.entries -= entries;
    this.bytes -= bytes;
    if (this.entries === 0) {
      this.appends.length = 0;
      this.oldest = 0;
    } else if (this.oldest > 1_000) {
      this.appends.splice(0, this.oldest);
      this.oldest = 0;
    }
    while (this.appends[this.oldest]?.settled) {
      this.oldest++;
    }
  }

  /** Rejects all entries. */
  close(): void {
    this.deadline.clear();
    for (const append of this.appends.slice(this.oldest)) {
      if (!append.settled) {
        append.expire();
      }
    }
  }

  private onPassed(): void {
    const end = performance.now() - this.timeout;
    for (let oldest = this.appends[this.oldest]; oldest && oldest.time <= end; oldest = this.appends[this.oldest]) {
      if (!oldest.settled) {
        oldest.expire();
      }
      if (this.appends[this.oldest] === oldest) {
        this.oldest++;
      }
    }
    const next = this.appends[this.oldest];
    if (next) {
      this.deadline.start(Math.max(1, next.time - end));
    }
  }
}
