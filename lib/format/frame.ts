/** Opcodes of a text message and a binary message (RFC 6455 §5.6). */
const TEXT = 0x1;
const BINARY = 0x2;
/** The bit of the last frame of a message. Here, every message is a single frame. */
const FIN = 0x80;
/** The largest payload length that fits in the second byte, and the values of that byte for greater lengths (16 and 64 bits). */
const SHORT = 125;
const LENGTH_16 = 126;
const LENGTH_64 = 127;

/**
 * Returns a message as one frame. Frames of a server are not masked (RFC 6455 §5.1):
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

/** Returns the frame of a text message. */
export function textFrame(text: string): Buffer {
  return frame(TEXT, Buffer.byteLength(text), (target, at) => target.write(text, at));
}

/** Returns the frame of a text message. The bytes must be valid UTF-8. */
export function utf8Frame(bytes: Uint8Array): Buffer {
  return frame(TEXT, bytes.length, (target, at) => target.set(bytes, at));
}

/** Returns the frame of a binary message. */
export function binaryFrame(bytes: Uint8Array): Buffer {
  return frame(BINARY, bytes.length, (target, at) => target.set(bytes, at));
}
