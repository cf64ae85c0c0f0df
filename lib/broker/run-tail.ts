import type { BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from './broker.js';
import { countAfter } from './page-size.js';

/** How many records the first answer may have. */
const FIRST_COUNT = 64;
/** The position in a log that does not exist. */
const NOWHERE: BrokerPosition = { epoch: '', offset: 0 };

/** Some records of a log after a position, or from its beginning if the position is of another epoch, and where the log ends. */
export interface RunPage {
  readonly records: readonly BrokerRecord[];
  readonly end: BrokerPosition;
}

export interface RunTailOptions {
  /** Reads at most `count` records. Rejects if the store does not answer in time. */
  readonly read: (key: string, after: BrokerPosition, count: number) => Promise<RunPage>;
  /** Called when the tail has to be read because a message is missing. */
  readonly onGap: (tail: RunTail) => void;
  /** Called when the last listener has left. */
  readonly onUnused: (tail: RunTail) => void;
}

/** All listeners of one log of a run in this process. */
export class RunTail {
  private readonly listeners = new Set<BrokerListener>();
  /** The position up to which records were delivered. `undefined` until it was found. */
  private position: BrokerPosition | undefined;
  /** Messages that came while records before them are being read. `undefined` if none are being read. */
  private held: (readonly BrokerRecord[] | undefined)[] | undefined;
  private reading: Promise<void> | undefined;
  /** A read that begins after the present one. */
  private nextRead: Promise<void> | undefined;
  /** The calls of `tail()` that have not ended. */
  private calls = 0;

  constructor(
    /** Identifies the log in the store. */
    readonly key: string,
    private readonly options: RunTailOptions,
  ) {}

  get used(): boolean {
    return this.listeners.size > 0 || this.calls > 0;
  }

  /** Adds a listener, at a position that is at least where the log ends now. */
  async begin(listener: BrokerListener, subscribed: PromiseLike<unknown>): Promise<BrokerTail> {
    this.calls++;
    try {
      await subscribed;
      await this.catchUp();
      return this.add(listener);
    } finally {
      this.calls--;
      this.leave();
    }
  }

  /** Reads what was appended since the last record that was delivered, up to the end that the log has after this call. */
  catchUp(): Promise<void> {
    // The present read may have been answered before: another one has to follow.
    this.nextRead ??= this.readNext();
    return this.nextRead;
  }

  /** Called with the records of every message. Without records, they have to be read. */
  readonly onMessage = (records: readonly BrokerRecord[] | undefined): void => {
    if (this.held) {
      this.held.push(records);
    } else if (this.position) {
      this.accept(records, this.position);
    }
  };

  /** Delivers nothing more. */
  end(): void {
    this.listeners.clear();
  }

  private add(listener: BrokerListener): BrokerTail {
    // A new function, so that the same listener can be added twice.
    const deliver: BrokerListener = (records, position) => listener(records, position);
    this.listeners.add(deliver);
    const stop = (): void => {
      if (this.listeners.delete(deliver)) {
        this.leave();
      }
    };
    return { ...(this.position ?? NOWHERE), stop };
  }

  private leave(): void {
    if (!this.used) {
      this.options.onUnused(this);
    }
  }

  private async readNext(): Promise<void> {
    await this.reading?.catch(() => undefined);
    this.reading = this.nextRead;
    this.nextRead = undefined;
    try {
      await this.readAll();
    } finally {
      const held = this.held ?? [];
      this.held = undefined;
      held.forEach(this.onMessage);
    }
  }

  private async readAll(): Promise<void> {
    let count = FIRST_COUNT;
    for (let complete = false; !complete && this.used; ) {
      // Messages that came before are read as well.
      this.held = [];
      if (this.position) {
        const page = await this.options.read(this.key, this.position, count);
        complete = this.take(page, this.position);
        count = countAfter(page.records);
      } else {
        this.position = (await this.options.read(this.key, NOWHERE, 0)).end;
        complete = true;
      }
    }
  }

  /** Delivers records that were read. Returns whether the log has no more. */
  private take({ records, end }: RunPage, { epoch, offset }: BrokerPosition): boolean {
    const last = records[records.length - 1];
    if (last) {
      this.deliver(records, last);
      return last.offset >= end.offset;
    }
    this.position = end;
    if (end.epoch === epoch && end.offset < offset) {
      // The newest records are lost.
      this.notify([], end);
    }
    return true;
  }

  /** Delivers the records of a message if they are the next ones. The epoch changes so rarely that it is read where the log is then. */
  private accept(records: readonly BrokerRecord[] | undefined, { epoch, offset }: BrokerPosition): void {
    const fresh = records?.filter((record) => record.epoch !== epoch || record.offset > offset);
    const last = fresh?.[fresh.length - 1];
    if (last && last.epoch === epoch && fresh?.[0]?.offset === offset + 1) {
      this.deliver(fresh, last);
    } else if (last || !records) {
      this.options.onGap(this);
    }
  }

  private deliver(records: readonly BrokerRecord[], { epoch, offset }: BrokerRecord): void {
    this.position = { epoch, offset };
    this.notify(records);
  }

  private notify(records: readonly BrokerRecord[], position?: BrokerPosition): void {
    for (const listener of this.listeners) {
      position ? listener(records, position) : listener(records);
    }
  }
}
