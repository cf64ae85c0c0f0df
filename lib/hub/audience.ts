import type { RecordWindow } from '../broker/record-window.js';
import type { StreamFormat } from '../format/format.js';
import { Batch } from './batch.js';
import type { LogEvent } from './log-event.js';

/** How many events are read from the history at once. */
const PAGE = 64;
/** The same, for one who takes them one by one, and comes back for each. */
const SMALL_PAGE = 8;

/** Who is told of what is published. */
export interface Listener {
  deliver(batch: Batch): void;
}

/** Subscribers who hear the same in the same format: what goes to one of them goes to all of them. */
export class Audience {
  /** Those who have all that was delivered so far. */
  readonly members = new Set<Listener>();
  /** What the round that begins has for them. */
  round: LogEvent[] = [];
  /** Members, and those who still read the history. */
  private users = 0;
  private pages: Map<number, Batch> | undefined;

  /**
   * @param topics nothing: all
   * @param format nothing: its members are given the events one by one
   */
  constructor(
    readonly key: string,
    readonly topics: readonly string[] | undefined,
    readonly format: StreamFormat | undefined,
    private readonly history: RecordWindow<LogEvent>,
  ) {}

  get unused(): boolean {
    return this.users === 0;
  }

  enter(): void {
    this.users++;
  }

  /** Adds one who has read the history to its end. */
  join(listener: Listener): void {
    this.members.add(listener);
    this.forgetPages();
  }

  leave(listener: Listener): void {
    this.users--;
    this.members.delete(listener);
    this.forgetPages();
  }

  /** The history after a number and up to another. Nothing: what follows the number is not there any more. */
  page(after: number, upTo: number): Batch | undefined {
    const known = this.pages?.get(after);
    if (known) {
      return known;
    }
    const size = this.format ? PAGE : SMALL_PAGE;
    const count = Math.min(size - (after % size), upTo - after);
    const events = this.history.after(after, count);
    if (events[0]?.seq !== after + 1) {
      return undefined;
    }
    const heard = events.filter((event) => event.isFor(this.topics));
    const page = new Batch(after + 1, after + count, heard, this.format);
    // So that those who read it at the same time are given the same bytes. Only whole ones, which begin where the pages of others do.
    if (count === PAGE && this.format) {
      this.keep(after, page);
    }
    return page;
  }

  private keep(after: number, page: Batch): void {
    this.pages ??= new Map();
    for (const start of this.pages.keys()) {
      if (start + 1 < this.history.oldest) {
        this.pages.delete(start);
      }
    }
    this.pages.set(after, page);
  }

  private forgetPages(): void {
    if (this.users === this.members.size) {
      this.pages = undefined;
    }
  }
}
