import type { Transform } from 'node:stream';
import zlib, { type Zlib } from 'node:zlib';

/** Content codings by their names in `Accept-Encoding` (gzip: RFC 1952, br: RFC 7932, zstd: RFC 8878). */
export const CONTENT_CODINGS = ['zstd', 'br', 'gzip'] as const;

export type ContentCoding = (typeof CONTENT_CODINGS)[number];

export type Encoder = Transform & Zlib;

const { constants } = zlib;

/** The size of the buffers on both sides of an encoder, in bytes. The chunks it returns are no larger than the bytes gathered for one write. */
const QUEUE = { highWaterMark: 16_384, chunkSize: 16_384 };

/** Names and constants of Node.js ≥ 22.15, which are missing in the types of Node.js 20. */
interface Zstd {
  readonly createZstdCompress?: (options: object) => Encoder;
}
const ZSTD_FLUSH = 1;
const ZSTD_COMPRESSION_LEVEL = 100;
const ZSTD_WINDOW_LOG = 101;

const { createZstdCompress } = zlib as Zstd;

/**
 * Creates an encoder that flushes after every write. As every client needs one, its window is small and its compression level low. It takes
 * 170 KB for gzip, 340 KB for br and 200 KB for zstd. With the defaults it would take 270, 600 and 900 KB, and compress little better
 * when it is flushed often.
 */
export function encoderOf(coding: ContentCoding): Encoder {
  switch (coding) {
    case 'gzip':
      return zlib.createGzip({ ...QUEUE, flush: constants.Z_SYNC_FLUSH, windowBits: 13, memLevel: 6 });
    case 'br':
      return zlib.createBrotliCompress({
        ...QUEUE,
        flush: constants.BROTLI_OPERATION_FLUSH,
        params: { [constants.BROTLI_PARAM_QUALITY]: 3, [constants.BROTLI_PARAM_LGWIN]: 16 },
      });
    case 'zstd':
      if (!createZstdCompress) {
        throw new TypeError(`Node.js ${process.version} has no zstd`);
      }
      return createZstdCompress({
        ...QUEUE,
        flush: ZSTD_FLUSH,
        params: { [ZSTD_COMPRESSION_LEVEL]: 1, [ZSTD_WINDOW_LOG]: 16 },
      });
  }
}

/** Returns whether this version of Node.js has an encoder for a content coding. */
export function hasEncoder(coding: ContentCoding): boolean {
  return coding !== 'zstd' || createZstdCompress !== undefined;
}
