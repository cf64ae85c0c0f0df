import { EVENT, MARK } from '../event/event.js';
import { flush } from '../source/flush.js';
import type { Control } from './control.js';
import type { Batch } from './messages.js';

/** Replaces what stands for symbols by the symbols. */
function restored({ chunks, events = [], flushes = [] }: Batch): unknown[] {
  for (const index of events) {
    chunks[index] = { [MARK]: EVENT, ...(chunks[index] as object) };
  }
  for (const index of flushes) {
    chunks[index] = flush();
  }
  return chunks;
}

/** Keeps the chunks that have arrived from a worker, until they are read. */
export interface Inbox {
  receive(batch: Batch): void;
  /** Returns the next chunk as a step, or `undefined` if there is none yet. */
  next(): IteratorYieldResult<unknown> | undefined;
  /** Drops all chunks. */
  clear(): void;
}

/** Keeps the messages with chunks. */
export class MessageInbox implements Inbox {
  private readonly waiting: unknown[][] = [];
  private current: unknown[] = [];
  private index = 0;

  constructor(
    private readonly control: Control,
    /** Called when the producer, which waited, may continue. */
    private readonly onRoom: () => void,
  ) {}

  receive(batch: Batch): void {
    this.waiting.push(restored(batch));
  }

  /** Whether a message was read in part. */
  get isWithinBatch(): boolean {
    return this.index < this.current.length;
  }

  next(): IteratorYieldResult<unknown> | undefined {
    const { current } = this;
    if (this.index < current.length) {
      const value = current[this.index++];
      if (this.index === current.length) {
        this.consumed();
      }
      return { done: false, value };
    }
    const following = this.waiting.shift();
    if (!following) {
      return undefined;
    }
    this.current = following;
    this.index = 0;
    return this.next();
  }

  clear(): void {
    this.waiting.length = 0;
    this.current = [];
    this.index = 0;
  }

  private consumed(): void {
    this.current = [];
    this.index = 0;
    this.control.consume();
    if (this.control.takeWaiting()) {
      this.onRoom();
    }
  }
}
