/**
 * A queue of strings and byte arrays in shared memory, with one writer and one reader, which are in different threads.
 *
 * Each chunk is a frame: a word with its kind and length, and its bytes. A frame begins at a multiple of four, and is never split: if it does not fit before the end of the
 * memory, padding fills the rest. Positions only increase, wrap around at 2³², and are compared by their difference.
 */
export const FrameKind = {
  /** No frame. Within the memory: padding up to its end. */
  none: 0,
  /** A string of ASCII characters, which is the fastest to decode. */
  ascii: 1,
  utf8: 2,
  /** A string with a half of a surrogate pair, which UTF-8 cannot represent. */
  utf16: 3,
  bytes: 4,
  /** The next message of the port stands in this place. */
  message: 5,
} as const;
export type FrameKind = (typeof FrameKind)[keyof typeof FrameKind];

const WRITTEN = 0;
const READ = 1;
const LISTENING = 2;
/** The bytes of the shared words, before those of the frames. */
const HEAD = 64;
const WORD = 4;
const KIND_BITS = 3;
/** The reader reports what it has read after this part of the capacity. */
const REPORTS = 8;

/** Creates the memory of a ring. @param capacity in bytes, a power of two */
export function ringMemory(capacity: number): SharedArrayBuffer {
  return new SharedArrayBuffer(HEAD + capacity);
}

/** Returns the bytes that a frame takes. */
function frameSize(length: number): number {
  return WORD + ((length + WORD - 1) & -WORD);
}

/** The views of the memory of a ring. */
class RingView {
  readonly state: Int32Array;
  readonly words: Int32Array;
  readonly bytes: Buffer;
  readonly capacity: number;
  readonly mask: number;

  constructor(memory: SharedArrayBuffer) {
    this.capacity = memory.byteLength - HEAD;
    this.mask = this.capacity - 1;
    this.state = new Int32Array(memory, 0, HEAD / WORD);
    this.words = new Int32Array(memory, HEAD);
    this.bytes = Buffer.from(memory, HEAD);
  }
}

/** `String.prototype.isWellFormed()`, which the types of ES2023 lack. */
function isWellFormed(text: string): boolean {
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed();
}

function kindOfText(text: string, length: number): FrameKind {
  if (length === text.length) {
    return FrameKind.ascii;
  }
  return isWellFormed(text) ? FrameKind.utf8 : FrameKind.utf16;
}

/** Writes frames. */
export class RingWriter {
  private readonly view: RingView;
  private written = 0;
  /** What the reader has reported so far. */
  private read = 0;

  constructor(memory: SharedArrayBuffer) {
    this.view = new RingView(memory);
  }

  /** Returns whether a chunk fits into the ring at all. Half of the capacity fits wherever the next frame begins. */
  accepts(chunk: string | Uint8Array): boolean {
    const most = this.view.capacity / 2 - WORD;
    if (typeof chunk !== 'string') {
      return chunk.byteLength <= most;
    }
    return chunk.length * 2 <= most && Buffer.byteLength(chunk) <= most;
  }

  /** Writes a chunk. Returns false if there is no room for it now. */
  write(chunk: string | Uint8Array): boolean {
    const { bytes } = this.view;
    if (typeof chunk !== 'string') {
      const at = this.reserve(FrameKind.bytes, chunk.byteLength);
      return at >= 0 && this.commit(bytes.set(chunk, at), chunk.byteLength);
    }
    const size = Buffer.byteLength(chunk);
    const kind = kindOfText(chunk, size);
    const length = kind === FrameKind.utf16 ? chunk.length * 2 : size;
    const at = this.reserve(kind, length);
    return at >= 0 && this.commit(bytes.write(chunk, at, length, ENCODINGS[kind]), length);
  }

  /** Writes a frame that stands for the next message. Returns false if there is no room for it now. */
  writeMessage(): boolean {
    return this.reserve(FrameKind.message, 0) >= 0 && this.commit(undefined, 0);
  }

  /** Whether more than half of the memory is in use. */
  get isCrowded(): boolean {
    return !this.hasRoom(this.view.capacity / 2);
  }

  /** Whether the reader waits for a frame, and has to be woken. */
  get isListening(): boolean {
    return Atomics.load(this.view.state, LISTENING) === 1;
  }

  /** Returns whether the reader waits for a frame, and has to be woken. Returns true only once for each time that it waits. */
  takeListening(): boolean {
    return this.isListening && Atomics.exchange(this.view.state, LISTENING, 0) === 1;
  }

  /** Returns where to write the bytes of a frame, after its first word was written, or -1 if there is no room. */
  private reserve(kind: FrameKind, length: number): number {
    const { capacity, mask, words } = this.view;
    const position = this.written & mask;
    const size = frameSize(length);
    const padding = size > capacity - position ? capacity - position : 0;
    if (!this.hasRoom(size + padding)) {
      return -1;
    }
    if (padding > 0) {
      words[position / WORD] = FrameKind.none;
      this.written = (this.written + padding) | 0;
    }
    const start = this.written & mask;
    words[start / WORD] = (length << KIND_BITS) | kind;
    return start + WORD;
  }

  private hasRoom(size: number): boolean {
    const { capacity, state } = this.view;
    if (((this.written - this.read) | 0) + size <= capacity) {
      return true;
    }
    this.read = Atomics.load(state, READ);
    return ((this.written - this.read) | 0) + size <= capacity;
  }

  /** Lets the reader see a frame, whose bytes were written by the expression for the first argument. */
  private commit(_: unknown, length: number): true {
    this.written = (this.written + frameSize(length)) | 0;
    Atomics.store(this.view.state, WRITTEN, this.written);
    return true;
  }
}

const ENCODINGS: Partial<Record<FrameKind, BufferEncoding>> = {
  [FrameKind.ascii]: 'latin1',
  [FrameKind.utf8]: 'utf8',
  [FrameKind.utf16]: 'utf16le',
};

/** Reads frames. */
export class RingReader {
  /** The chunk of the last frame, if its kind has one. */
  chunk: string | Uint8Array = '';
  private readonly view: RingView;
  private written = 0;
  private read = 0;
  private reported = 0;

  constructor(
    memory: SharedArrayBuffer,
    /** Called when half of the ring or more is free. */
    private readonly onRoom: () => void,
  ) {
    this.view = new RingView(memory);
  }

  /** Reads the next frame, and returns its kind. After `none`, the writer wakes the reader when it has written a frame. */
  next(): FrameKind {
    if (this.read === this.written && !this.look()) {
      return FrameKind.none;
    }
    const { mask, words } = this.view;
    const position = this.read & mask;
    const word = words[position / WORD] as number;
    const kind = (word & ((1 << KIND_BITS) - 1)) as FrameKind;
    if (kind === FrameKind.none) {
      this.advance(this.view.capacity - position);
      return this.next();
    }
    const length = word >>> KIND_BITS;
    this.chunk = this.decode(kind, position + WORD, length);
    this.advance(frameSize(length));
    return kind;
  }

  /** Looks for new frames. If there are none, says so, and looks once more. */
  private look(): boolean {
    const { state } = this.view;
    this.written = Atomics.load(state, WRITTEN);
    if (this.read === this.written) {
      this.report();
      Atomics.store(state, LISTENING, 1);
      this.written = Atomics.load(state, WRITTEN);
    }
    return this.read !== this.written;
  }

  private decode(kind: FrameKind, start: number, length: number): string | Uint8Array {
    const { bytes } = this.view;
    switch (kind) {
      case FrameKind.ascii:
        return bytes.toString('latin1', start, start + length);
      case FrameKind.utf8:
        return bytes.toString('utf8', start, start + length);
      case FrameKind.utf16:
        return bytes.toString('utf16le', start, start + length);
      default: {
        // The memory is written again: the chunk needs its own.
        const copy = Buffer.allocUnsafe(length);
        bytes.copy(copy, 0, start, start + length);
        return copy;
      }
    }
  }

  private advance(size: number): void {
    this.read = (this.read + size) | 0;
    if (((this.read - this.reported) | 0) * REPORTS >= this.view.capacity) {
      this.report();
    }
  }

  /** Lets the writer use the memory of the frames that were read. */
  private report(): void {
    const { state, capacity } = this.view;
    if (this.reported === this.read) {
      return;
    }
    this.reported = this.read;
    Atomics.store(state, READ, this.read);
    if (((Atomics.load(state, WRITTEN) - this.read) | 0) * 2 <= capacity) {
      this.onRoom();
    }
  }
}
