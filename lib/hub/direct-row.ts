import type { Socket } from 'node:net';
import { writeToAll } from '../transport/round-writer.js';
import type { DirectTotals, SharedChunk } from '../transport/shared-chunk.js';

/** What the members of a row were sent by its rounds, in total, and the sequence number of the last event that they were sent. */
export interface RowTotals extends DirectTotals {
  readonly seq: number;
}

/** A member of a row. */
export interface RowMember {
  /** Its place in the row. `-1`: it is in no row. Set by the row. */
  seat: number;
  /** Called when a round has filled its socket. It has to leave the row. */
  onFull(): void;
}

const NOTHING: RowTotals = { seq: 0, chunks: 0, bytes: 0, at: 0 };

/**
 * The sockets of members of an audience for which nothing waits, side by side. A round writes to the sockets alone: fetching the objects of each member from memory would take as long as
 * a third of the write. What the members were sent is added up here, for all of them together. So a member subtracts the totals from its own figures when it enters the row, and adds
 * the totals of that time when it leaves.
 *
 * During a round, the row has three parts: members that were sent the batch, members that still have to be sent it, and members that have entered since the round began, after they had
 * received the batch one by one. A member that leaves is replaced by the last one of its part.
 */
export class DirectRow<M extends RowMember> {
  private readonly list: M[] = [];
  private readonly sockets: Socket[] = [];
  /** The totals of members that still have to be sent the batch. */
  private before = NOTHING;
  /** The totals of all other members. */
  private after = NOTHING;
  /** Members from here to `end` still have to be sent the batch. */
  private next = 0;
  private end = 0;

  /** @param clock the clock of the streams of its members */
  constructor(readonly clock: { now(): number }) {}

  get members(): readonly M[] {
    return this.list;
  }

  /** The number of members that still have to be sent the batch of the round. */
  get pending(): number {
    return this.end - this.next;
  }

  /** The first member that still has to be sent the batch of the round. */
  get firstPending(): M | undefined {
    return this.pending > 0 ? this.list[this.next] : undefined;
  }

  /** Returns what the member at a seat was sent. */
  sent(seat: number): RowTotals {
    return this.isPending(seat) ? this.before : this.after;
  }

  /** Adds a member that has received everything up to the batch of the round. Returns the totals at this time. */
  enter(member: M, socket: Socket): RowTotals {
    member.seat = this.list.length;
    this.list.push(member);
    this.sockets.push(socket);
    return this.after;
  }

  /** Removes a member. Returns the totals at this time, as far as it was sent them. */
  leave(member: M): RowTotals {
    let { seat } = member;
    const sent = this.sent(seat);
    member.seat = -1;
    if (seat < this.next) {
      this.next--;
      seat = this.move(this.next, seat);
    }
    if (seat < this.end) {
      this.end--;
      seat = this.move(this.end, seat);
    }
    this.move(this.list.length - 1, seat);
    this.list.pop();
    this.sockets.pop();
    return sent;
  }

  /**
   * Begins a round. The round before must have ended.
   * @param seq the last sequence number of the batch
   * @param chunk what {@link write} writes. `undefined`: nothing is written by it
   */
  begin(seq: number, chunk: SharedChunk | undefined): void {
    const { chunks, bytes, at } = this.after;
    this.before = this.after;
    this.after = chunk
      ? { seq, chunks: chunks + chunk.count, bytes: bytes + chunk.size, at: this.clock.now() }
      : { seq, chunks, bytes, at };
    this.next = 0;
    this.end = this.list.length;
  }

  /** Writes the chunk of the round to at most `most` members. Returns their number. */
  write(chunk: SharedChunk, most: number): number {
    const from = this.next;
    const to = Math.min(from + most, this.end);
    // Copies, so that a member that leaves during a write moves no other one out of the way.
    const sockets = this.sockets.slice(from, to);
    const members = this.list.slice(from, to);
    this.next = to;
    for (const index of writeToAll(sockets, chunk.chunked) ?? []) {
      members[index]?.onFull();
    }
    return to - from;
  }

  /** Ends a round in which no member has to be sent anything. */
  skip(): void {
    this.next = this.end;
  }

  private isPending(seat: number): boolean {
    return seat >= this.next && seat < this.end;
  }

  /** Moves a member to a seat that is free. Returns its former seat, which is free now. */
  private move(from: number, to: number): number {
    const member = this.list[from] as M;
    this.list[to] = member;
    this.sockets[to] = this.sockets[from] as Socket;
    if (from !== to) {
      member.seat = to;
    }
    return from;
  }
}
