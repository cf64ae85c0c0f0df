import { constants, crc32, deflateRawSync } from 'node:zlib';
import { type DeflatedChunk, SharedChunk } from '../shared-chunk.js';
import { crcShift } from './crc32.js';

/** Text up to this length may be sent to other clients too: heartbeats, positions, events that pass the same filter. */
const MAX_CACHED_LENGTH = 4_096;
const MAX_CACHED_BLOCKS = 64;

/**
 * Bytes as deflate blocks that end at a byte boundary and do not refer to data before them, so that they can be part of any gzip
 * body (RFC 1951, RFC 1952).
 */
export class DeflateBlock implements DeflatedChunk {
  readonly encoded: SharedChunk;
  readonly crc: number;
  readonly crcShift: number;
  readonly size: number;

  constructor(data: string | Uint8Array) {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    this.encoded = new SharedChunk(deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }));
    this.crc = crc32(bytes);
    this.crcShift = crcShift(bytes.length);
    this.size = bytes.length;
  }
}

/** Returns the deflated form of a chunk. It is made once for all connections. */
export function blockOf(chunk: SharedChunk): DeflatedChunk {
  chunk.deflated ??= new DeflateBlock(chunk.bytes);
  return chunk.deflated;
}

const cache = new Map<string, DeflateBlock>();

/** Returns a block of data that one connection writes. It is cached, as many connections often write the same data. */
export function ownBlockOf(data: string | Uint8Array): DeflateBlock {
  if (typeof data !== 'string' || data.length > MAX_CACHED_LENGTH) {
    return new DeflateBlock(data);
  }
  const known = cache.get(data);
  if (known) {
    return known;
  }
  if (cache.size >= MAX_CACHED_BLOCKS) {
    cache.clear();
  }
  const block = new DeflateBlock(data);
  cache.set(data, block);
  return block;
}
