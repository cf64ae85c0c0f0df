import { StreamStateError } from '../../util/errors.js';
import { DONE } from '../../util/iteration.js';
import type { QueueLimits } from '../../util/queue-limits.js';
import { type Message, PackedMessages } from './packed-messages.js';

/** Callbacks of an inbox to its connection. */
interface InboxFlow {
  /** Called when the queue is full. */
  pause(): void;
  /** Called when the queue is no longer full. */
  resume(): void;
  /** Called when a reader starts to wait for a message. */
  wait(): void;
}

/** A message may keep a buffer of at most twice its own length plus this number of bytes in memory. */
const SPARE_BYTES = 1_024;

/** The messages of a client that are not read yet. */
export class Inbox implements AsyncIterableIterator<Message> {
  private readonly waiting = new PackedMessages();
  private readers: ((result: IteratorResult<Message>) => void)[] = [];
  /** Whether the queue has reached one of its limits. */
  full = false;
  private ended = false;
  private iterated = false;

  constructor(
    private readonly limits: QueueLimits,
    private readonly flow: InboxFlow,
  ) {}

  [Symbol.asyncIterator](): this {
    if (this.iterated) {
      throw new StreamStateError('The messages of a stream can be iterated only once: pass them on to other readers');
    }
    this.iterated = true;
    return this;
  }

  /**
   * Adds a message, or hands it to a waiting reader.
   * @param data its bytes, for a text message as UTF-8
   * @returns `false` if the message is dropped, as nobody reads any more
   */
  push(data: Buffer, binary: boolean): boolean {
    if (this.ended) {
      return false;
    }
    const reader = this.readers.shift();
    if (reader) {
      reader({ done: false, value: binary ? ownCopyOf(data) : data.toString() });
      return true;
    }
    this.waiting.push(data, binary);
    this.updateFull();
    return true;
  }

  next(): Promise<IteratorResult<Message>> {
    const message = this.waiting.shift();
    if (message !== undefined) {
      this.updateFull();
      return Promise.resolve({ done: false, value: message });
    }
    if (this.ended) {
      return Promise.resolve(DONE);
    }
    return new Promise((resolve) => {
      this.readers.push(resolve);
      this.flow.wait();
    });
  }

  /** Called when the reader stops. Later messages are dropped. */
  return(): Promise<IteratorResult<Message>> {
    this.waiting.clear();
    this.end();
    return Promise.resolve(DONE);
  }

  /** Ends the iteration after the queued messages. */
  end(): void {
    this.ended = true;
    this.updateFull();
    for (const reader of this.readers.splice(0)) {
      reader(DONE);
    }
  }

  private updateFull(): void {
    const full = !this.ended && (this.waiting.count >= this.limits.items || this.waiting.bytes >= this.limits.bytes);
    if (full !== this.full) {
      this.full = full;
      full ? this.flow.pause() : this.flow.resume();
    }
  }
}

/** A message may be a view of a buffer with everything that was read from the socket. It is copied if that buffer is much larger. */
function ownCopyOf(data: Buffer): Buffer {
  return data.buffer.byteLength > 2 * data.length + SPARE_BYTES ? Buffer.from(data) : data;
}
