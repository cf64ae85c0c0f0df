/** A message of a WebSocket: text or binary. */
export type Message = string | Uint8Array;

/** The number of bytes before each message: whether it is binary, and its length. */
const HEAD_BYTES = 5;
const SMALLEST_BLOCK = 1_024;
const LARGEST_SPARE = 65_536;

const EMPTY = Buffer.alloc(0);

/**
 * Queued messages, packed into one block of memory. With an object for each message, many small messages would take several times as much
 * memory as the client has sent. With a view for each message, the buffer of everything that was read from the socket would stay in memory.
 */
export class PackedMessages {
  /** The number of messages. */
  count = 0;
  private block = EMPTY;
  private start = 0;
  private end = 0;

  /** The memory that the messages take, in bytes. */
  get bytes(): number {
    return this.end - this.start;
  }

  /** Adds a message. Its bytes are copied. */
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
      // Not from the pool of Node.js: other buffers would keep the pooled memory alive.
      this.block = Buffer.allocUnsafeSlow(Math.max(SMALLEST_BLOCK, needed + Math.min(needed, LARGEST_SPARE)));
    }
    block.copy(this.block, 0, start, end);
    this.end -= start;
    this.start = 0;
  }
}
