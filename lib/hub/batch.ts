import type { StreamFormat } from '../format/format.js';
import { SharedChunk } from '../transport/shared-chunk.js';
import { CHUNK, type LogEvent } from './log-event.js';

/** Events in one write. */
interface BatchChunk {
  readonly shared: SharedChunk;
  /** How many of the events it ends. */
  readonly count: number;
}

/** Events that follow each other, for everyone who hears the same in the same format. */
export class Batch {
  private made: readonly BatchChunk[] | undefined;

  /**
   * @param first the number with which it begins
   * @param last the number up to which there is nothing else to hear
   * @param format nothing: for those who are given the events one by one
   */
  constructor(
    readonly first: number,
    readonly last: number,
    readonly events: readonly LogEvent[],
    readonly format: StreamFormat | undefined,
  ) {}

  get chunks(): readonly BatchChunk[] {
    this.made ??= this.format ? chunksOf(this.events, this.format) : [];
    return this.made;
  }

  /** How many bytes of memory its chunks hold. */
  get size(): number {
    return this.chunks.reduce((sum, { shared }) => sum + shared.held, 0);
  }
}

/** Joins encoded events into as few writes as may be. A large event is a write of its own, and the same one in every batch. */
export function chunksOf(events: readonly LogEvent[], format: StreamFormat): BatchChunk[] {
  const chunks: BatchChunk[] = [];
  let parts: (string | Uint8Array)[] = [];
  let size = 0;
  const join = (count: number): void => {
    if (size > 0) {
      chunks.push({ shared: new SharedChunk(joined(parts), parts.length), count });
      parts = [];
      size = 0;
    }
  };
  events.forEach((event, index) => {
    const encoded = event.encode(format);
    if (encoded.length >= CHUNK) {
      join(index);
      chunks.push({ shared: event.share(format), count: index + 1 });
    } else if (encoded.length > 0) {
      parts.push(encoded);
      size += encoded.length;
    }
    if (size >= CHUNK) {
      join(index + 1);
    }
  });
  join(events.length);
  return chunks;
}

function joined(parts: readonly (string | Uint8Array)[]): string | Uint8Array {
  return parts.every((part) => typeof part === 'string')
    ? parts.join('')
    : Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}
