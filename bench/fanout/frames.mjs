/** Counts messages of a WebSocket by the lengths of their frames, without looking at the payload. Answers pings. */

const HEAD_END = '\r\n\r\n';
/** Shorter data frames are not messages: they belong to the protocol. */
const SHORTEST_MESSAGE = 200;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const OPCODE = 0x0f;
const PAYLOAD_LENGTH = 0x7f;
export const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/**
 * Returns a frame of a client. Its mask is 0, which leaves the payload unchanged.
 * @param {number} opcode
 * @param {Uint8Array} payload of at most 125 bytes
 */
export const maskedFrame = (opcode, payload) =>
  Buffer.concat([Uint8Array.of(0x80 | opcode, 0x80 | payload.length, 0, 0, 0, 0), payload]);

/**
 * Returns where the payload of a frame begins and ends, or `undefined` if its length has not arrived.
 * @param {Buffer} input
 * @param {number} at
 * @param {number} end of what has come
 */
function payloadOf(input, at, end) {
  const length = at + 1 < end ? input[at + 1] & PAYLOAD_LENGTH : undefined;
  if (length !== undefined && length < LENGTH_16) {
    return { from: at + 2, to: at + 2 + length };
  }
  if (length === LENGTH_16 && at + 4 <= end) {
    return { from: at + 4, to: at + 4 + input.readUInt16BE(at + 2) };
  }
  if (length === LENGTH_64 && at + 10 <= end) {
    return { from: at + 10, to: at + 10 + Number(input.readBigUInt64BE(at + 2)) };
  }
  return undefined;
}

/** Reads the frames of one client after its handshake. */
export class Frames {
  #inHead = true;
  /** The start of an incomplete frame header. */
  #rest = Buffer.alloc(0);
  /** The number of bytes that are missing of the last message. */
  #missing = 0;
  #send;
  #answer;

  /**
   * @param {(frame: Buffer) => unknown} send
   * @param {(opcode: number, payload: Buffer) => Buffer | undefined} [answer] to a short frame of a protocol on top
   */
  constructor(send, answer) {
    this.#send = send;
    this.#answer = answer;
  }

  /**
   * Returns the number of messages that are complete.
   * @param {Buffer} bytes
   * @param {number} end
   */
  count(bytes, end) {
    if (this.#missing > end) {
      this.#missing -= end;
      return 0;
    }
    if (this.#inHead) {
      this.#inHead = false;
      return this.#frames(bytes, bytes.indexOf(HEAD_END) + HEAD_END.length, end);
    }
    if (this.#rest.length > 0) {
      const joined = Buffer.concat([this.#rest, bytes.subarray(0, end)]);
      this.#rest = Buffer.alloc(0);
      return this.#frames(joined, 0, joined.length);
    }
    const ended = this.#missing > 0 ? 1 : 0;
    const from = this.#missing;
    this.#missing = 0;
    return ended + this.#frames(bytes, from, end);
  }

  /** @param {Buffer} input @param {number} from @param {number} end */
  #frames(input, from, end) {
    let count = 0;
    let at = from;
    while (at < end) {
      const payload = payloadOf(input, at, end);
      const isShort = payload !== undefined && payload.to - payload.from < SHORTEST_MESSAGE;
      if (payload === undefined || (isShort && payload.to > end)) {
        this.#rest = Buffer.from(input.subarray(at, end));
        return count;
      }
      if (isShort) {
        this.#onShort(input[at] & OPCODE, input.subarray(payload.from, payload.to));
      } else if (payload.to <= end) {
        count++;
      }
      at = payload.to;
    }
    this.#missing = at - end;
    return count;
  }

  /** @param {number} opcode @param {Buffer} payload */
  #onShort(opcode, payload) {
    if (opcode === PING || opcode === CLOSE) {
      this.#send(maskedFrame(opcode === PING ? PONG : CLOSE, payload));
      return;
    }
    const answer = this.#answer?.(opcode, payload);
    if (answer) {
      this.#send(answer);
    }
  }
}
