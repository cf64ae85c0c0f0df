import { constants, crc32, deflateRawSync } from 'node:zlib';
import { type DeflatedChunk, SharedChunk } from '../shared-chunk.js';
import { crcShift } from './crc32.js';

/** Text up to it may be what other clients are sent as well: heartbeats, positions, the events that pass the same filter. */
const COMMON = 4_096;
const COMMON_BLOCKS = 64;

/** Bytes as deflate blocks that refer to nothing before them and end at a byte: they fit into any gzip body (RFC 1951, RFC 1952). */
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

/** The block of a chunk, made once for all its connections. */
export function blockOf(chunk: SharedChunk): DeflatedChunk {
  chunk.deflated ??= new DeflateBlock(chunk.bytes);
  return chunk.deflated;
}

const common = new Map<string, DeflateBlock>();

/** The block of what one connection writes by itself, which is often the same for many. */
export function ownBlockOf(data: string | Uint8Array): DeflateBlock {
  if (typeof data !== 'string' || data.length > COMMON) {
    return new DeflateBlock(data);
  }
  const known = common.get(data);
  if (known) {
    return known;
  }
  if (common.size >= COMMON_BLOCKS) {
    common.clear();
  }
  const block = new DeflateBlock(data);
  common.set(data, block);
  return block;
}
