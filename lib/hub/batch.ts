import type { StreamFormat } from '../format/format.js';
import { SharedChunk } from '../transport/shared-chunk.js';
import type { LogEvent } from './log-event.js';

/** About as much is written at once: what a slow client has not taken of it waits outside of the bounds of its queue. */
const CHUNK = 65_536;

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
}

/** Joins encoded events into as few writes as may be. */
export function chunksOf(events: readonly LogEvent[], format: StreamFormat): BatchChunk[] {
  const chunks: BatchChunk[] = [];
  let parts: (string | Uint8Array)[] = [];
  let size = 0;
  events.forEach((event, index) => {
    const encoded = event.encode(format);
    if (encoded.length > 0) {
      parts.push(encoded);
    }
    size += encoded.length;
    if (size >= CHUNK || (index === events.length - 1 && size > 0)) {
      chunks.push({ shared: new SharedChunk(join(parts), parts.length), count: index + 1 });
      parts = [];
      size = 0;
    }
  });
  return chunks;
}

function join(parts: readonly (string | Uint8Array)[]): string | Uint8Array {
  return parts.every((part) => typeof part === 'string')
    ? parts.join('')
    : Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
}
