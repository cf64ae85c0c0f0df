const CRLF = '\r\n';

/** Bytes that go to many connections at once, framed for them once. */
export class SharedChunk {
  /** As a chunk of the chunked coding: `chunk-size CRLF chunk-data CRLF` (RFC 9112 §7.1). */
  readonly chunked: Buffer;
  /** The data alone. */
  readonly bytes: Buffer;

  /** @param data not empty: an empty chunk would end the body */
  constructor(data: string | Uint8Array) {
    const size = Buffer.byteLength(data);
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
}
