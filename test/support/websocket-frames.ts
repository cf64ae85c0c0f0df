/** The headers of an upgrade request, with the key of RFC 6455 §1.3. */
export const HANDSHAKE: Record<string, string> = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Version': '13',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
};

/** The parts of a frame (RFC 6455 §5.2). */
export interface FrameParts {
  readonly opcode: number;
  readonly payload?: string | Buffer;
  /** Default: `true`. */
  readonly fin?: boolean;
  /** RSV1 to RSV3, as the three bits of a number. Default: 0. */
  readonly reserved?: number;
  /** The four bytes that mask the payload, or `false` for a frame without a mask. Default: zeros. */
  readonly mask?: Buffer | false;
}

const ZEROS = Buffer.alloc(4);

/** Returns a frame as a client sends it. */
export function maskedFrame({ opcode, payload = '', fin = true, reserved = 0, mask = ZEROS }: FrameParts): Buffer {
  const bytes = Buffer.from(payload as string);
  const head = Buffer.from([(fin ? 0x80 : 0) | (reserved << 4) | opcode, ...lengthOf(bytes.length)]);
  if (!mask) {
    return Buffer.concat([head, bytes]);
  }
  head[1] = (head[1] ?? 0) | 0x80;
  const masked = bytes.map((byte, at) => byte ^ (mask[at % 4] ?? 0));
  return Buffer.concat([head, mask, masked]);
}

function lengthOf(length: number): number[] {
  if (length < 126) {
    return [length];
  }
  if (length < 65_536) {
    return [126, length >> 8, length & 0xff];
  }
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(length));
  return [127, ...bytes];
}
