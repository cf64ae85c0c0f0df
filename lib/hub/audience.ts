import type { StreamFormat } from '../format/format.js';
import type { DirectPort } from '../source/shared-source.js';
import type { Batch } from './batch.js';
import { DirectRow, type RowMember, type RowTotals } from './direct-row.js';
import type { LogEvent } from './log-event.js';
import type { PageReader, PageSource } from './pages.js';
import type { FindStart } from './start.js';

/** The number of members for which a row is made. For fewer, its memory costs more than it saves. */
const ROW_SIZE = 8;

/** A subscriber that is live. */
export interface AudienceMember extends RowMember {
  deliver(batch: Batch): void;
  /**
   * Called when it has to find out again where it continues, since events are missing.
   * @param continueAfter returns the function that finds it out, for the sequence number of the last event that it has received
   */
  restart(continueAfter: (reached: number) => FindStart): void;
  /**
   * Returns its connection if rounds may write to the socket of it: nothing waits for the client.
   * @param seq the sequence number of the last event that it must have received
   */
  directPort(seq: number, format: StreamFormat): DirectPort | undefined;
  /** Called when it has left the row. `sent` is what it was sent by then. */
  onRowLeft(sent: RowTotals): void;
}

/** Subscribers of the same topics in the same format: all of them receive the same bytes. */
export class Audience implements PageReader {
  /** The live subscribers that are not in the row. */
  readonly others = new Set<AudienceMember>();
  /** The live subscribers to whose sockets rounds write. */
  row: DirectRow<AudienceMember> | undefined;
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

  /** The live subscribers: they have received everything that was delivered so far. */
  get members(): AudienceMember[] {
    return [...(this.row?.members ?? []), ...this.others];
  }

  get unused(): boolean {
    return this.users === 0;
  }

  /** Counts a subscriber that reads the history. */
  enter(): void {
    this.users++;
  }

  /** Makes a subscriber a member that has read the history to its end. */
  join(member: AudienceMember): void {
    this.others.add(member);
  }

  /** Moves a member to the row, if the row can have it. It must have been delivered the batch up to `seq`. */
  enterRow(member: AudienceMember, seq: number): void {
    const { format, others } = this;
    const isLarge = this.row !== undefined || others.size >= ROW_SIZE;
    const port = isLarge && format ? member.directPort(seq, format) : undefined;
    const { socket } = port ?? {};
    if (!port || !socket || (this.row && this.row.clock !== port.clock) || !others.delete(member)) {
      return;
    }
    this.row ??= new DirectRow(port.clock);
    port.beginDirect(this.row.enter(member, socket));
  }

  /** Moves a member out of the row, if it is in the row. */
  leaveRow(member: AudienceMember): void {
    const { row } = this;
    if (member.seat < 0 || !row) {
      return;
    }
    const sent = row.leave(member);
    if (row.members.length === 0) {
      this.row = undefined;
    }
    this.others.add(member);
    member.onRowLeft(sent);
  }

  /** Moves all members out of the row. */
  dissolveRow(): void {
    for (const member of [...(this.row?.members ?? [])]) {
      this.leaveRow(member);
    }
  }

  leave(member: AudienceMember): void {
    this.users--;
    this.leaveRow(member);
    this.others.delete(member);
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
