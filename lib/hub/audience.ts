import type { StreamFormat } from '../format/format.js';
import type { Batch } from './batch.js';
import type { LogEvent } from './log-event.js';
import type { PageReader, Pages } from './pages.js';

/** Who is told of what is published. */
export interface AudienceMember {
  deliver(batch: Batch): void;
}

/** Subscribers who hear the same in the same format: what goes to one of them goes to all of them. */
export class Audience implements PageReader {
  /** Those who have all that was delivered so far. */
  readonly members = new Set<AudienceMember>();
  /** Members, and those who still read the history. */
  private users = 0;
  private readonly wanted: ReadonlySet<string> | undefined;
  /** Where the page is that was read last, and its key: readers of an audience mostly follow each other. */
  private place = '';
  private pageKey = '';

  /**
   * @param topics nothing: all
   * @param format nothing: its members are given the events one by one
   * @param formatNumber tells formats apart
   */
  constructor(
    readonly key: string,
    readonly topics: readonly string[] | undefined,
    readonly format: StreamFormat | undefined,
    readonly formatNumber: number,
    private readonly pages: Pages,
  ) {
    this.wanted = topics && new Set(topics);
  }

  get unused(): boolean {
    return this.users === 0;
  }

  /** Adds one who reads the history. */
  enter(): void {
    this.users++;
    this.pages.enter();
  }

  /** Makes one who has read the history to its end a member. */
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

  /** The key of the page at a place, if that is known without a look at its events. */
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

  /** The history after a number and up to another; see {@link Pages.read}. */
  page(after: number, upTo: number): Batch | undefined {
    return this.pages.read(after, upTo, this);
  }
}
