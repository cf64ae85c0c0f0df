const CRLF = '\r\n';
/** The size of the slices of a chunk that is too large to be written at once. */
const SLICE = 65_536;
/** The bits that tell the two code units of a surrogate pair from all others (Unicode, D91). */
const SURROGATE_MASK = 0xfc00;
const HIGH_SURROGATE = 0xd800;
const LOW_SURROGATE = 0xdc00;

/** The data of a chunk as deflate blocks that fit into any gzip body. */
export interface DeflatedChunk {
  readonly encoded: SharedChunk;
  /** The CRC-32 of the data before it was encoded. */
  readonly crc: number;
  /** The factor by which the CRC-32 of the bytes before the data is multiplied. */
  readonly crcShift: number;
  /** The number of bytes of the data before it was encoded. */
  readonly size: number;
}

/** The shared chunks that were written to a socket directly, past the stream that it carries, in total. */
export interface DirectTotals {
  /** The number of chunks of the stream. */
  readonly chunks: number;
  /** The number of bytes of its body. */
  readonly bytes: number;
  /** When the last one was written, on the clock of the streams. */
  readonly at: number;
}

/** Bytes that are sent on many connections, and framed only once. */
export class SharedChunk {
  /** The data as a chunk of the chunked coding: `chunk-size CRLF chunk-data CRLF` (RFC 9112 §7.1). */
  readonly chunked: Buffer;
  /** The data alone. */
  readonly bytes: Buffer;
  /** The length of the data in bytes. */
  readonly size: number;
  /** For connections with gzip; `undefined` until the first of them writes the chunk. */
  deflated: DeflatedChunk | undefined;
  /** The data, if it is text that begins or ends with half of a surrogate pair: the other half may be different for each client. */
  readonly partial: string | undefined;
  private cut: readonly SharedChunk[] | undefined;

  /**
   * @param data must not be empty: an empty chunk would end the body
   * @param count the number of chunks of a stream that it contains
   */
  constructor(
    data: string | Uint8Array,
    readonly count = 1,
  ) {
    const size = Buffer.byteLength(data);
    this.partial = typeof data === 'string' && (endsInHalf(data) || beginsInHalf(data)) ? data : undefined;
    this.size = size;
    const head = size.toString(16) + CRLF;
    const end = head.length + size;
    this.chunked = Buffer.allocUnsafeSlow(end + CRLF.length);
    this.chunked.write(head, 'latin1');
    this.bytes = this.chunked.subarray(head.length, end);
    if (typeof data === 'string') {
      this.bytes.write(data);
    } else {
      this.bytes.set(data);
    }
    this.chunked.write(CRLF, end, 'latin1');
  }

  /** The number of bytes that are kept in memory for it. */
  get held(): number {
    return this.chunked.length;
  }

  /** Its data as chunks of at most 64 KiB, made once for all connections. */
  get slices(): readonly SharedChunk[] {
    this.cut ??= Array.from(
      { length: Math.ceil(this.bytes.length / SLICE) },
      (_, i) => new SharedChunk(this.bytes.subarray(i * SLICE, (i + 1) * SLICE)),
    );
    return this.cut;
  }
}

/** The maximum number of texts that are kept as chunks. */
const KEPT_TEXTS = 16;
const texts = new Map<string, SharedChunk>();

/**
 * Returns a text that is no chunk of a stream, such as a heartbeat, as a chunk that connections share. The newest texts are kept: at most times, all
 * connections are sent the same one.
 */
export function chunkOfText(text: string): SharedChunk {
  let chunk = texts.get(text);
  if (!chunk) {
    if (texts.size >= KEPT_TEXTS) {
      texts.clear();
    }
    chunk = new SharedChunk(text, 0);
    texts.set(text, chunk);
  }
  return chunk;
}

/** Whether a text ends with the first code unit of a surrogate pair. */
export function endsInHalf(text: string): boolean {
  // Reads NaN from an empty text.
  return (text.charCodeAt(text.length - 1) & SURROGATE_MASK) === HIGH_SURROGATE;
}

function beginsInHalf(text: string): boolean {
  return (text.charCodeAt(0) & SURROGATE_MASK) === LOW_SURROGATE;
}
