import type { StreamFormat } from '../format/format.js';
import { SharedChunk } from '../transport/shared-chunk.js';
import { CHUNK, type LogEvent } from './log-event.js';

/** Encoded events that are sent in one write. */
interface BatchChunk {
  readonly shared: SharedChunk;
  /** The number of events of the batch that are written with the end of this chunk. */
  readonly count: number;
}

/** Consecutive events for all members of an audience. */
export class Batch {
  private made: readonly BatchChunk[] | undefined;

  /**
   * @param first the first sequence number that it covers
   * @param last the last sequence number that it covers, also if the audience does not receive the event with this number
   * @param format `undefined`: for subscribers that receive the events one by one
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

  /** Its only chunk, if the same bytes of it can be written to the socket of every client. */
  get direct(): SharedChunk | undefined {
    const { chunks } = this;
    const shared = chunks.length === 1 ? chunks[0]?.shared : undefined;
    return shared && shared.partial === undefined && shared.size <= CHUNK ? shared : undefined;
  }

  /** The number of bytes of memory that its chunks hold. */
  get size(): number {
    return this.chunks.reduce((sum, { shared }) => sum + shared.held, 0);
  }
}

/** Joins encoded events into few chunks. A large event is a separate chunk, which all batches share. */
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
