import type { SharedChunk } from '../transport/shared-chunk.js';
import type { Audience, AudienceMember } from './audience.js';
import type { Batch } from './batch.js';
import type { DirectRow } from './direct-row.js';

/** A batch on its way to the members of an audience: first to those in its row, and then to the others one by one. */
export class Delivery {
  private readonly others: Iterator<AudienceMember>;
  private begun = false;
  /** What is written to the sockets of the row. `undefined`: the members of the row are delivered to one by one too. */
  private chunk: SharedChunk | undefined;

  constructor(
    readonly audience: Audience,
    readonly batch: Batch,
  ) {
    this.others = audience.others.values();
  }

  /** Delivers to some members, at most `most`. Returns their number: 0 when all have been delivered to. */
  step(most: number): number {
    const { row } = this.audience;
    if (row && !this.begun) {
      this.begin(row);
    }
    this.begun = true;
    const member = row?.firstPending;
    if (row && member) {
      return this.chunk ? row.write(this.chunk, most) : this.deliverTo(member);
    }
    const next = this.others.next();
    return next.done ? 0 : this.deliverTo(next.value);
  }

  private begin(row: DirectRow<AudienceMember>): void {
    const { batch } = this;
    let isEmpty = false;
    try {
      this.chunk = batch.direct;
      isEmpty = batch.chunks.length === 0;
    } catch {
      // An event that cannot be encoded fails the stream of each member, when it is delivered to that member.
    }
    row.begin(batch.last, this.chunk);
    if (isEmpty) {
      row.skip();
    }
  }

  private deliverTo(member: AudienceMember): number {
    const { audience, batch } = this;
    member.deliver(batch);
    audience.enterRow(member, batch.last);
    return 1;
  }
}
