import type { StreamFormat } from '../format/format.js';
import type { Batch } from './batch.js';
import type { LogEvent } from './log-event.js';
import type { PageReader, PageSource } from './pages.js';
import type { FindStart } from './start.js';

/** A subscriber that is live. */
export interface AudienceMember {
  deliver(batch: Batch): void;
  /**
   * Called when it has to find out again where it continues, since events are missing.
   * @param continueAfter returns the function that finds it out, for the sequence number of the last event that it has received
   */
  restart(continueAfter: (reached: number) => FindStart): void;
}

/** Subscribers of the same topics in the same format: all of them receive the same bytes. */
export class Audience implements PageReader {
  /** The live subscribers: they have received everything that was delivered so far. */
  readonly members = new Set<AudienceMember>();
  /** The state of its members: a state for each of them would take 40 bytes. */
  readonly live: { readonly phase: 'live'; readonly audience: Audience } = { phase: 'live', audience: this };
  /** The number of members, and of subscribers that still read the history. */
  private users = 0;
  private readonly wanted: ReadonlySet<string> | undefined;
  /** The place and the key of the page that was read last: the readers of an audience mostly read the same pages in succession. */
  private place = '';
  private pageKey = '';

  /**
   * @param topics `undefined`: all topics
   * @param format `undefined`: its members receive the events one by one
   * @param formatNumber identifies the format
   */
  constructor(
    readonly key: string,
    readonly topics: readonly string[] | undefined,
    readonly format: StreamFormat | undefined,
    readonly formatNumber: number,
    private readonly pages: PageSource,
  ) {
    this.wanted = topics && new Set(topics);
  }

  get unused(): boolean {
    return this.users === 0;
  }

  /** Counts a subscriber that reads the history. */
  enter(): void {
    this.users++;
    this.pages.enter();
  }

  /** Makes a subscriber a member that has read the history to its end. */
  join(member: AudienceMember): void {
    this.members.add(member);
    this.pages.leave();
  }

  leave(member: AudienceMember): void {
    this.users--;
    if (!this.members.delete(member)) {
      this.pages.leave();
    }
  }

  receives(event: LogEvent): boolean {
    return event.isFor(this.wanted);
  }

  keyAt(place: string): string | undefined {
    if (this.topics === undefined) {
      return place;
    }
    return place === this.place ? this.pageKey : undefined;
  }

  noteKey(place: string, key: string): void {
    this.place = place;
    this.pageKey = key;
  }

  /** Returns a page of the history; see {@link PageSource.read}. */
  page(after: number, upTo: number, each?: ReadonlyMap<string, number>): Batch | undefined {
    return this.pages.read(after, upTo, this, each);
  }
}
