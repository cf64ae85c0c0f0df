import { constants, createGunzip, gunzipSync } from 'node:zlib';
import { MARK } from './message.mjs';

/** Compressed streams. The load generator cannot decompress all of them at once: that takes longer than the server needs to send them. */

const HEAD_END = '\r\n\r\n';
const LINE_END = '\r\n';
const WHAT_HAS_COME = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH };

/** The body of a response, without the chunked coding. */
class Body {
  #rest = Buffer.alloc(0);
  /** @type {'head' | 'chunked' | 'plain'} */
  #state = 'head';

  /**
   * @param {Buffer} bytes
   * @returns {Buffer[]}
   */
  read(bytes) {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    if (this.#state === 'head') {
      this.#readHead();
    }
    if (this.#state === 'chunked') {
      return this.#readChunks();
    }
    const all = this.#rest;
    this.#rest = Buffer.alloc(0);
    return [all];
  }

  #readHead() {
    const end = this.#rest.indexOf(HEAD_END) + HEAD_END.length;
    const head = this.#rest.latin1Slice(0, end).toLowerCase();
    this.#state = head.includes('\r\ntransfer-encoding: chunked\r\n') ? 'chunked' : 'plain';
    this.#rest = this.#rest.subarray(end);
  }

  #readChunks() {
    const chunks = [];
    let at = 0;
    for (;;) {
      const line = this.#rest.indexOf(LINE_END, at);
      const size = line < 0 ? Number.NaN : Number.parseInt(this.#rest.latin1Slice(at, line), 16);
      const start = line + LINE_END.length;
      if (Number.isNaN(size) || start + size + LINE_END.length > this.#rest.length) {
        break;
      }
      chunks.push(this.#rest.subarray(start, start + size));
      at = start + size + LINE_END.length;
    }
    this.#rest = this.#rest.subarray(at);
    return chunks;
  }
}

/** A stream whose bytes are kept, and decompressed at the end. */
export class KeptStream {
  /** @type {Buffer[]} */
  #reads = [];
  #looked = 0;
  #marks = 0;

  /** @param {Buffer} bytes */
  read(bytes) {
    this.#reads.push(Buffer.from(bytes));
  }

  /** Returns the number of messages since the client connected. */
  count() {
    if (this.#looked < this.#reads.length) {
      this.#looked = this.#reads.length;
      const chunks = new Body().read(Buffer.concat(this.#reads));
      this.#marks = marksIn(gunzipSync(Buffer.concat(chunks), WHAT_HAS_COME));
    }
    return this.#marks;
  }
}

/** @param {Buffer} text */
function marksIn(text) {
  let count = 0;
  for (let at = text.indexOf(MARK); at >= 0; at = text.indexOf(MARK, at + 1)) {
    count++;
  }
  return count;
}

/**
 * A stream that is decompressed while it arrives.
 * @param {(text: Buffer) => void} onText
 * @param {(error: Error) => void} onError
 * @returns {(bytes: Buffer) => void}
 */
export function liveStream(onText, onError) {
  const body = new Body();
  const gunzip = createGunzip({ flush: constants.Z_SYNC_FLUSH }).on('data', onText).on('error', onError);
  return (bytes) => {
    for (const chunk of body.read(Buffer.from(bytes))) {
      gunzip.write(chunk);
    }
  };
}
