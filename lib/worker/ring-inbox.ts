import type { Control } from './control.js';
import { type Inbox, MessageInbox } from './inbox.js';
import type { Batch } from './messages.js';
import { FrameKind, RingReader } from './ring.js';

/** Reads the chunks of a worker from a ring, and those of messages in their places. */
export class RingInbox implements Inbox {
  private readonly messages: MessageInbox;
  private readonly ring: RingReader;
  private readonly receiveNow: () => void;
  private cleared = false;

  /**
   * @param onRoom called when the producer, which waited, may continue
   * @param receiveNow passes on the messages that the event loop has not delivered yet
   */
  constructor(memory: SharedArrayBuffer, control: Control, onRoom: () => void, receiveNow: () => void) {
    this.messages = new MessageInbox(control, onRoom);
    this.ring = new RingReader(memory, () => {
      if (control.takeWaiting()) {
        onRoom();
      }
    });
    this.receiveNow = receiveNow;
  }

  receive(batch: Batch): void {
    this.messages.receive(batch);
  }

  next(): IteratorYieldResult<unknown> | undefined {
    if (this.cleared) {
      return undefined;
    }
    if (this.messages.isWithinBatch) {
      return this.messages.next();
    }
    const kind = this.ring.next();
    if (kind === FrameKind.none) {
      return undefined;
    }
    if (kind !== FrameKind.message) {
      return { done: false, value: this.ring.chunk };
    }
    // The worker has sent the message before it wrote the frame.
    this.receiveNow();
    return this.messages.next();
  }

  clear(): void {
    this.cleared = true;
    this.messages.clear();
  }
}
