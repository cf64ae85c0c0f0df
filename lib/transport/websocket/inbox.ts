import { StreamStateError } from '../../util/errors.js';
import { DONE } from '../../util/iteration.js';
import type { QueueLimits } from '../../util/queue-limits.js';
import { type Message, PackedMessages } from './packed-messages.js';

/** What an inbox asks of its connection. */
interface InboxFlow {
  /** There is no room for more. */
  pause(): void;
  /** There is room again. */
  resume(): void;
  /** It is read, and empty. */
  wait(): void;
}

/** This much more than twice its length may be kept alive by a message. */
const SPARE_BYTES = 1_024;

/** What a client has sent and nobody has read yet. */
export class Inbox implements AsyncIterableIterator<Message> {
  private readonly waiting = new PackedMessages();
  private readers: ((result: IteratorResult<Message>) => void)[] = [];
  /** Whether there is no room for more. */
  full = false;
  private ended = false;
  private taken = false;

  constructor(
    private readonly limits: QueueLimits,
    private readonly flow: InboxFlow,
  ) {}

  [Symbol.asyncIterator](): this {
    if (this.taken) {
      throw new StreamStateError('The messages of a stream can be read once: hand on what you have read');
    }
    this.taken = true;
    return this;
  }

  /**
   * Takes a message.
   * @param data its bytes; of a text message they are UTF-8
   * @returns whether anybody will read it
   */
  push(data: Buffer, binary: boolean): boolean {
    if (this.ended) {
      return false;
    }
    const reader = this.readers.shift();
    if (reader) {
      reader({ done: false, value: binary ? owned(data) : data.toString() });
      return true;
    }
    this.waiting.push(data, binary);
    this.regulate();
    return true;
  }

  next(): Promise<IteratorResult<Message>> {
    const message = this.waiting.shift();
    if (message !== undefined) {
      this.regulate();
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

  /** Its reader wants no more: what still comes is dropped. */
  return(): Promise<IteratorResult<Message>> {
    this.waiting.clear();
    this.end();
    return Promise.resolve(DONE);
  }

  /** Nothing more comes. What waits can still be read. */
  end(): void {
    this.ended = true;
    this.regulate();
    for (const reader of this.readers.splice(0)) {
      reader(DONE);
    }
  }

  private regulate(): void {
    const full = !this.ended && (this.waiting.count >= this.limits.items || this.waiting.bytes >= this.limits.bytes);
    if (full !== this.full) {
      this.full = full;
      full ? this.flow.pause() : this.flow.resume();
    }
  }
}

/** A message may be a view of all that was read from the socket with it. Whoever keeps it need not keep that too. */
function owned(data: Buffer): Buffer {
  return data.buffer.byteLength > 2 * data.length + SPARE_BYTES ? Buffer.from(data) : data;
}
