import type { MessagePort } from 'node:worker_threads';
import type { Control } from './control.js';
import { type Ahead, DOORBELL } from './messages.js';
import { demandAttached, MessageOutbox, type Outbox } from './outbox.js';
import { RingWriter } from './ring.js';

/** Writes strings and byte arrays into a ring. All other chunks, and those that are too large, are sent in messages: a frame in the ring says when. */
export class RingOutbox implements Outbox {
  private readonly messages: MessageOutbox;
  private readonly ring: RingWriter;
  /** The messages for which there was no room for a frame yet. */
  private unannounced = 0;
  /** The chunk for which there was no room yet. */
  private pending: string | Uint8Array | undefined;

  constructor(
    private readonly port: MessagePort,
    control: Control,
    limits: Ahead,
    memory: SharedArrayBuffer,
  ) {
    this.ring = new RingWriter(memory);
    this.messages = new MessageOutbox(port, control, limits, () => {
      this.unannounced++;
    });
  }

  get hasRoom(): boolean {
    return (this.isComplete || this.write()) && this.messages.hasRoom;
  }

  get isWritten(): boolean {
    return this.write();
  }

  /** A reader that is not listening finds what is in the ring by itself. */
  get isFlushed(): boolean {
    return this.messages.isFlushed && !this.ring.isListening;
  }

  push(chunk: unknown): void {
    if (chunk instanceof Uint8Array && chunk.byteLength === 0) {
      demandAttached(chunk.buffer);
    }
    if ((typeof chunk === 'string' || chunk instanceof Uint8Array) && this.ring.accepts(chunk)) {
      this.messages.flush();
      this.pending = chunk;
    } else {
      this.messages.push(chunk);
    }
    // A reader that finds the ring empty is woken for many frames at once, and not for each.
    if (!this.writeFrames() || this.ring.isCrowded) {
      this.wake();
    }
  }

  flush(): void {
    this.messages.flush();
    this.write();
  }

  end(): void {
    this.messages.end();
  }

  fail(error: unknown): void {
    this.messages.fail(error);
  }

  private get isComplete(): boolean {
    return this.pending === undefined && this.unannounced === 0;
  }

  /** Writes what there was no room for, and wakes the reader. Returns whether all of it is written. */
  private write(): boolean {
    const all = this.writeFrames();
    this.wake();
    return all;
  }

  private wake(): void {
    if (this.ring.takeListening()) {
      this.port.postMessage(DOORBELL);
    }
  }

  private writeFrames(): boolean {
    for (; this.unannounced > 0; this.unannounced--) {
      if (!this.ring.writeMessage()) {
        return false;
      }
    }
    if (this.pending !== undefined) {
      if (!this.ring.write(this.pending)) {
        return false;
      }
      this.pending = undefined;
    }
    return true;
  }
}
