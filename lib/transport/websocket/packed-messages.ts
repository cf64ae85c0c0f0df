/** A text message, or a binary one. */
export type Message = string | Uint8Array;

/** Bytes before each message: whether it is binary, and its length. */
const HEAD_BYTES = 5;
const SMALLEST_BLOCK = 1_024;
const LARGEST_SPARE = 65_536;

const EMPTY = Buffer.alloc(0);

/**
 * Messages that wait, packed into one block. An object for each would make a client that sends many small messages cost a multiple of what
 * it has sent, and a view of what was read from the socket would keep all of that alive.
 */
export class PackedMessages {
  /** How many there are. */
  count = 0;
  private block = EMPTY;
  private start = 0;
  private end = 0;

  /** What they cost, in bytes. */
  get bytes(): number {
    return this.end - this.start;
  }

  /** Adds a message, of which the bytes are copied. */
  push(data: Buffer, binary: boolean): void {
    this.reserve(HEAD_BYTES + data.length);
    this.block.writeUInt8(binary ? 1 : 0, this.end);
    this.block.writeUInt32LE(data.length, this.end + 1);
    this.block.set(data, this.end + HEAD_BYTES);
    this.end += HEAD_BYTES + data.length;
    this.count++;
  }

  /** Removes the oldest message and returns it, or `undefined` if there is none. */
  shift(): Message | undefined {
    if (this.count === 0) {
      return undefined;
    }
    const binary = this.block.readUInt8(this.start) === 1;
    const from = this.start + HEAD_BYTES;
    const to = from + this.block.readUInt32LE(this.start + 1);
    const message = binary ? Buffer.from(this.block.subarray(from, to)) : this.block.toString('utf8', from, to);
    this.start = to;
    this.count--;
    if (this.count === 0) {
      this.clear();
    }
    return message;
  }

  clear(): void {
    this.block = EMPTY;
    this.start = 0;
    this.end = 0;
    this.count = 0;
  }

  /** Makes room for this number of bytes at the end. */
  private reserve(bytes: number): void {
    if (this.end + bytes <= this.block.length) {
      return;
    }
    const needed = this.bytes + bytes;
    const { block, start, end } = this;
    if (needed > block.length) {
      // Not pooled: a pool would be kept alive by what else is in it.
      this.block = Buffer.allocUnsafeSlow(Math.max(SMALLEST_BLOCK, needed + Math.min(needed, LARGEST_SPARE)));
    }
    block.copy(this.block, 0, start, end);
    this.end -= start;
    this.start = 0;
  }
}
