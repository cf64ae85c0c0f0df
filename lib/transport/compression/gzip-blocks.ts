import type { StreamCloseCode } from '../../util/errors.js';
import type { DeflatedChunk, SharedChunk } from '../shared-chunk.js';
import type { Transport, TransportListener } from '../transport.js';
import type { BodyCoding } from './body-coding.js';
import { combineCrc } from './crc32.js';
import { blockOf, ownBlockOf } from './deflate-block.js';

/** Magic number, method deflate, no flags, no time, unknown operating system (RFC 1952 §2.3). */
const HEADER = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
/** An empty deflate block with the flag of the last one (RFC 1951 §3.2.3). */
const LAST_BLOCK = Buffer.from([3, 0]);

/**
 * A gzip body of blocks that do not refer to each other, so that the blocks of a shared chunk are the same for all clients. The only state
 * of a client is the checksum and the size for the trailer.
 */
export class GzipBlocks implements BodyCoding {
  readonly bufferedAmount = 0;
  private begun = false;
  private crc = 0;
  private size = 0;

  constructor(
    private readonly transport: Transport,
    private readonly listener: TransportListener,
  ) {}

  write(data: string | Uint8Array): boolean {
    return this.put(ownBlockOf(data));
  }

  writeShared(chunk: SharedChunk): boolean {
    return this.put(blockOf(chunk));
  }

  end(data: string | Uint8Array | undefined, why: StreamCloseCode): void {
    const rest = this.rest(data ?? '');
    const trailer = Buffer.alloc(8);
    trailer.writeUInt32LE(this.crc);
    trailer.writeUInt32LE(this.size, 4);
    this.transport.end(Buffer.concat([...rest, LAST_BLOCK, trailer]), why);
  }

  truncate(data: string | Uint8Array = ''): void {
    this.transport.truncate(Buffer.concat(this.rest(data)));
  }

  onDrain(): void {
    this.listener.onDrain();
  }

  release(): void {
    return;
  }

  private put(block: DeflatedChunk): boolean {
    this.count(block);
    if (this.begun) {
      return this.transport.writeShared(block.encoded);
    }
    this.begun = true;
    return this.transport.write(Buffer.concat([HEADER, block.encoded.bytes]));
  }

  /** Returns the last bytes to write before the trailer, with the gzip header if nothing was written before. */
  private rest(data: string | Uint8Array): Uint8Array[] {
    const parts: Uint8Array[] = this.begun ? [] : [HEADER];
    this.begun = true;
    if (data.length > 0) {
      const block = ownBlockOf(data);
      this.count(block);
      parts.push(block.encoded.bytes);
    }
    return parts;
  }

  private count({ crc, crcShift, size }: DeflatedChunk): void {
    this.crc = combineCrc(this.crc, crc, crcShift);
    this.size = (this.size + size) >>> 0;
  }
}
