import type { BrokerEntry } from '../broker/broker.js';
import { atEndOfTurn } from '../util/scheduler.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { RunWriter } from './run-writer.js';

/** How much may wait while the entries before are being appended. After that, the producer has to wait. */
const MOST = { items: 256, bytes: 65_536 };

/** How much a run has produced, also what is not appended yet. */
interface Total {
  readonly items: number;
  readonly bytes: number;
}

/** Gathers the chunks of one turn of the event loop into one append, and those that come while an append is in progress into the next one. */
export class RunGatherer {
  private entries: BrokerEntry[] = [];
  private bytes = 0;
  private added: Total = { items: 0, bytes: 0 };
  private scheduled = false;
  private appending: Promise<void> | undefined;
  private failed = false;
  /** Set while the producer waits. */
  private room: Deferred<void> | undefined;

  /** @param onError called once, if the entries could not be appended. Nothing is appended after that */
  constructor(
    private readonly writer: RunWriter,
    private readonly onError: (error: unknown) => void,
  ) {}

  get total(): Total {
    return this.added;
  }

  /** Adds a chunk. Returns a promise if the producer has to wait before it produces the next one. */
  add(entry: BrokerEntry): Promise<void> | undefined {
    const size = sizeOf(entry);
    this.entries.push(entry);
    this.bytes += size;
    this.added = { items: this.added.items + 1, bytes: this.added.bytes + size };
    if (!this.scheduled) {
      this.scheduled = true;
      atEndOfTurn(() => {
        this.scheduled = false;
        this.flush();
      });
    }
    if (this.failed || (this.entries.length < MOST.items && this.bytes < MOST.bytes)) {
      return undefined;
    }
    this.room ??= deferred();
    return this.room.promise;
  }

  /** Appends what is gathered, unless an append is in progress: then it is appended after that. */
  flush(): void {
    if (this.appending || this.failed || this.entries.length === 0) {
      return;
    }
    this.appending = this.write().then(
      () => {
        this.appending = undefined;
        this.flush();
      },
      (error: unknown) => {
        this.appending = undefined;
        this.failed = true;
        this.makeRoom();
        this.onError(error);
      },
    );
    this.makeRoom();
  }

  /**
   * Appends what is gathered, together with a last entry. Nothing may be added after that.
   * @param expire the time after which the log expires then, in milliseconds
   * @returns whether it could be appended. If not, `onError` was called
   */
  async finish(expire: number, last: (total: Total) => BrokerEntry): Promise<boolean> {
    while (this.appending) {
      await this.appending;
    }
    if (!this.failed) {
      try {
        await this.write(last(this.added), expire);
      } catch (error) {
        this.failed = true;
        this.onError(error);
      }
    }
    return !this.failed;
  }

  private write(last?: BrokerEntry, expire?: number): Promise<void> {
    const { entries, bytes } = this;
    this.entries = [];
    this.bytes = 0;
    return this.writer.append(last ? [...entries, last] : entries, { items: entries.length, bytes }, expire);
  }

  private makeRoom(): void {
    this.room?.resolve();
    this.room = undefined;
  }
}

/** Returns the number of bytes for which an entry counts. */
export function sizeOf({ data }: BrokerEntry): number {
  return Buffer.byteLength(data);
}
