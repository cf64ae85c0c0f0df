/** What a message is made of (RFC 6455 §5.6). */
const TEXT = 0x1;
const BINARY = 0x2;
/** Set in the last frame of a message: ours are one frame each. */
const FIN = 0x80;
/** The largest payload length that stands in the second byte, and what stands there for longer ones. */
const SHORT = 125;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/**
 * A whole message as the frame a server sends, which is not masked (RFC 6455 §5.1):
 * `FIN and opcode (1 byte), payload length (1, 3 or 9 bytes), payload` (§5.2).
 */
function frame(opcode: number, size: number, write: (target: Buffer, at: number) => void): Buffer {
  const head = size <= SHORT ? 2 : size <= 0xffff ? 4 : 10;
  const target = Buffer.allocUnsafe(head + size);
  target[0] = FIN | opcode;
  if (size <= SHORT) {
    target[1] = size;
  } else if (size <= 0xffff) {
    target[1] = LENGTH_16;
    target.writeUInt16BE(size, 2);
  } else {
    target[1] = LENGTH_64;
    target.writeBigUInt64BE(BigInt(size), 2);
  }
  write(target, head);
  return target;
}

/** A text message. */
export function textFrame(text: string): Buffer {
  return frame(TEXT, Buffer.byteLength(text), (target, at) => target.write(text, at));
}

/** Bytes that are UTF-8, as a text message. */
export function utf8Frame(bytes: Uint8Array): Buffer {
  return frame(TEXT, bytes.length, (target, at) => target.set(bytes, at));
}

/** A binary message. */
export function binaryFrame(bytes: Uint8Array): Buffer {
  return frame(BINARY, bytes.length, (target, at) => target.set(bytes, at));
}
