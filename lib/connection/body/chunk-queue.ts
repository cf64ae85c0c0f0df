import { BYTES_COST, TEXT_COST } from '../../util/queue-limits.js';

type Chunk = string | Uint8Array;

/** The chunks that wait for a slow client, with their size. */
export class ChunkQueue {
  bytes = 0;
  /** About how many bytes of memory the chunks take, which is more than their content. */
  cost = 0;
  private chunks: Chunk[] = [];
  /** Whether the first chunk must not be dropped: it is partly sent, or contains bytes that must precede all other chunks. */
  private keepsFirst = false;

  get length(): number {
    return this.chunks.length;
  }

  push(chunk: Chunk): void {
    this.chunks.push(chunk);
    this.count(chunk, 1);
  }

  /** Adds the rest of a partly written chunk before all others. */
  putBack(rest: Uint8Array): void {
    this.chunks.unshift(rest);
    this.count(rest, 1);
    this.keepsFirst = true;
  }

  /** Prevents the first chunk from being dropped. */
  keepFirst(): void {
    this.keepsFirst = true;
  }

  /** Removes and returns the first chunks, at most `size` in total, but at least one chunk. */
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

  /** Drops the oldest chunk that may be dropped. Returns whether there was one. */
  dropOldest(): boolean {
    return this.remove(this.keepsFirst ? 1 : 0, 1).length > 0;
  }

  /** Drops all chunks that may be dropped. */
  dropUnsent(): void {
    this.remove(this.keepsFirst ? 1 : 0, Infinity);
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
