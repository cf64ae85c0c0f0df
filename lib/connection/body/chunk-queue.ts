import { BYTES_COST, TEXT_COST } from '../../util/queue-limits.js';

type Chunk = string | Uint8Array;

/** Chunks that wait for a client that can take no more, and what they amount to. */
export class ChunkQueue {
  bytes = 0;
  /** About how many bytes of memory they take: more than they have. */
  cost = 0;
  private chunks: Chunk[] = [];
  /** Whether the first has to stay: it is the rest of a chunk of which some has been sent, or what others build on. */
  private keepsFirst = false;

  get length(): number {
    return this.chunks.length;
  }

  push(chunk: Chunk): void {
    this.chunks.push(chunk);
    this.count(chunk, 1);
  }

  /** Puts the rest of a chunk before all others. */
  putBack(rest: Uint8Array): void {
    this.chunks.unshift(rest);
    this.count(rest, 1);
    this.keepsFirst = true;
  }

  /** Has the first chunk stay when others are dropped. */
  keepFirst(): void {
    this.keepsFirst = true;
  }

  /** Takes chunks from the front that amount to no more than `size`, but at least one. */
  take(size: number): Chunk[] {
    let count = 0;
    let taken = this.chunks[0]?.length ?? 0;
    while (count < this.chunks.length && (count === 0 || taken <= size)) {
      count++;
      taken += this.chunks[count]?.length ?? 0;
    }
    this.keepsFirst = false;
    return this.remove(0, count);
  }

  /** Drops the oldest chunk that has not to stay. Whether there was one. */
  dropOldest(): boolean {
    return this.remove(this.keepsFirst ? 1 : 0, 1).length > 0;
  }

  private remove(from: number, count: number): Chunk[] {
    const removed = this.chunks.splice(from, count);
    for (const chunk of removed) {
      this.count(chunk, -1);
    }
    return removed;
  }

  private count(chunk: Chunk, sign: 1 | -1): void {
    const bytes = Buffer.byteLength(chunk);
    this.bytes += sign * bytes;
    this.cost += sign * (bytes + (typeof chunk === 'string' ? TEXT_COST : BYTES_COST));
  }
}
