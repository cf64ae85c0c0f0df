import { textOf } from '../util/error-text.js';
import type { Connection } from './connection.js';
import type { Driver } from './driver.js';
import { Link } from './link.js';
import type { LogTail, Tails } from './log-tail.js';
import { countAfter, recordsOf, type StreamEntries, streamIdOf } from './stream-id.js';

/** How long Redis waits for records, in milliseconds. An answer without records shows that the connection works. */
const BLOCK_MS = 2_000;
/** How much longer the answer may take. */
const GRACE_MS = 2_000;
/** The shortest time between two reads, in milliseconds: to wake this process for every single record costs Redis more than the record. */
const PACE_MS = 5;
/** How many records of one log the first answer may have. */
const FIRST_COUNT = 64;

/** The answer to `XREAD`. `null`: no records within the time. */
type StreamsAnswer = readonly (readonly [key: string, entries: StreamEntries])[] | null;

export interface TailReaderOptions {
  readonly driver: Driver;
  /** A stream of this process, with entries that end a read. The reader connects to the server that has it. */
  readonly wakeKey: string;
  /** Adds an entry to that stream. */
  readonly wake: () => void;
  /** Called when the reader is connected, and when it is not any more. */
  readonly onChange: () => void;
}

/** Reads the new records of all logs of one slot by `XREAD`, on one connection. */
export class TailReader implements Tails {
  private readonly tails = new Map<string, LogTail>();
  private readonly link: Link;
  private wakeId = '0-0';
  /** How many records of one log the next answer may have. */
  private count = FIRST_COUNT;
  private readAt = 0;
  private timer: NodeJS.Timeout | undefined;
  private reading = false;

  constructor(private readonly options: TailReaderOptions) {
    this.link = new Link({
      driver: options.driver,
      key: options.wakeKey,
      timeout: BLOCK_MS + GRACE_MS,
      prepare: (connection) => this.prepare(connection),
      onChange: () => {
        options.onChange();
        this.read();
      },
    });
  }

  get connected(): boolean {
    return this.tails.size === 0 || this.link.connection !== undefined;
  }

  async add(tail: LogTail): Promise<void> {
    this.tails.set(tail.log.keys.stream, tail);
    if (this.reading) {
      this.options.wake();
    }
    await this.link.ready();
    this.read();
  }

  remove(tail: LogTail): void {
    this.tails.delete(tail.log.keys.stream);
  }

  /** Reads again if nothing is being read. A read that lost its connection continues on the next one. */
  check(): void {
    this.read();
  }

  close(): void {
    clearTimeout(this.timer);
    this.tails.clear();
    this.link.close();
  }

  /** On a new connection, finds out whether the logs are still those that were read before. */
  private async prepare(connection: Connection): Promise<void> {
    this.wakeId = '0-0';
    await Promise.all([...this.tails.values()].map((tail) => locate(tail, connection)));
  }

  private readonly read = (): void => {
    const { connection } = this.link;
    if (this.reading || this.timer !== undefined || this.tails.size === 0 || !connection?.usable) {
      return;
    }
    this.reading = true;
    this.readAt = Date.now();
    connection
      .request(this.command())
      .then((answer) => this.onAnswer(connection, answer as StreamsAnswer))
      .catch((error: unknown) => {
        this.reading = false;
        connection.lose(textOf(error));
      });
  };

  private command(): string[] {
    const keys = [...this.tails.keys()];
    const ids = [...this.tails.values()].map(({ position }) => streamIdOf(position));
    const { wakeKey } = this.options;
    return [
      'XREAD',
      'COUNT',
      `${this.count}`,
      'BLOCK',
      `${BLOCK_MS}`,
      'STREAMS',
      ...keys,
      wakeKey,
      ...ids,
      this.wakeId,
    ];
  }

  private async onAnswer(connection: Connection, answer: StreamsAnswer): Promise<void> {
    const { count } = this;
    let full = false;
    for (const [key, entries] of answer ?? []) {
      const tail = this.tails.get(key);
      full ||= entries.length === count;
      if (key === this.options.wakeKey) {
        this.wakeId = entries[entries.length - 1]?.[0] ?? this.wakeId;
      } else if (tail && entries.length === 0) {
        // The log has begun another epoch, and has no record yet.
        await locate(tail, connection);
      } else {
        const records = recordsOf(entries);
        this.count = countAfter(records);
        tail?.deliver(records);
      }
    }
    this.reading = false;
    this.readLater(answer === null || full ? 0 : this.readAt + PACE_MS - Date.now());
  }

  private readLater(ms: number): void {
    if (ms <= 0) {
      this.read();
    } else {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.read();
      }, ms);
    }
  }
}

async function locate(tail: LogTail, connection: Connection): Promise<void> {
  tail.announce(await tail.log.adopt(connection));
}
