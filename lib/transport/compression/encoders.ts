import type { Transform } from 'node:stream';
import zlib, { type Zlib } from 'node:zlib';

/** Content codings in the words of `Accept-Encoding` (RFC 1952, RFC 7932, RFC 8878). */
export const CONTENT_CODINGS = ['zstd', 'br', 'gzip'] as const;

export type ContentCoding = (typeof CONTENT_CODINGS)[number];

export type Encoder = Transform & Zlib;

const { constants } = zlib;

/** What waits on either side of an encoder. A chunk is not larger than what is gathered for one write. */
const QUEUE = { highWaterMark: 16_384, chunkSize: 16_384 };

/** Of Node.js ≥ 22.15, by name and number: the types are those of Node.js 20. */
interface Zstd {
  readonly createZstdCompress?: (options: object) => Encoder;
}
const ZSTD_FLUSH = 1;
const ZSTD_COMPRESSION_LEVEL = 100;
const ZSTD_WINDOW_LOG = 101;

const { createZstdCompress } = zlib as Zstd;

/**
 * An encoder that flushes after every write. Windows are small and the effort is modest, as there are as many of them as clients:
 * 170 KB with gzip, 340 with br, 200 with zstd, where the defaults take 270, 600 and 900, and gain little when flushed often.
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

/** Whether this Node.js has it. */
export function hasEncoder(coding: ContentCoding): boolean {
  return coding !== 'zstd' || createZstdCompress !== undefined;
}
