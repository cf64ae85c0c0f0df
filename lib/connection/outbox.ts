import type { Transport } from '../transport/transport.js';
import { atEndOfTurn } from './scheduler.js';

/** When gathered chunks leave. */
export type FlushPolicy = 'auto' | 'each' | { readonly bytes: number; readonly ms: number };

/** What is gathered before it is written, in characters or bytes: one chunk of an HTTP body, one system call. */
export const GATHER = 16_384;
/** Nothing larger is written at once, so that a client that takes some of it is seen to take something. */
const SLICE = 65_536;

/** Shared by all that have nothing queued: an idle connection should cost little. */
const NONE: (string | Uint8Array)[] = [];

/**
 * What waits to be written. Chunks are gathered into one write; what comes while the client can take no
 * more waits in a queue, whose bounds are the connection's concern.
 */
export class Outbox {
  /** Whether the client can take no more. */
  blocked = false;
  /** When it was last seen to take something, on the clock of the heartbeat. */
  progressAt = 0;
  queuedItems = 0;
  queuedBytes = 0;
  private text = '';
  private parts: Uint8Array[] | undefined;
  private gathered = 0;
  private queue: (string | Uint8Array)[] = NONE;
  private partlySent = false;
  private waiting = false;

  constructor(
    private readonly transport: Transport,
    private readonly policy: FlushPolicy,
    private readonly now: () => number,
  ) {}

  get empty(): boolean {
    return this.gathered === 0 && this.queuedItems === 0;
  }

  /** About how many bytes wait here. */
  get size(): number {
    return this.gathered + this.queuedBytes;
  }

  add(chunk: string | Uint8Array): void {
    if (chunk.length === 0) {
      return;
    }
    if (this.blocked) {
      this.enqueue(chunk);
      return;
    }
    this.gather(chunk);
    const { policy } = this;
    if (policy === 'each' || this.gathered >= (policy === 'auto' ? GATHER : policy.bytes)) {
      this.flush();
    } else if (!this.waiting) {
      this.flushLater();
    }
  }

  /** Hands over what is gathered. */
  flush(): void {
    if (!this.blocked && this.gathered > 0) {
      this.write(this.take());
    }
  }

  /** Takes what is gathered, for a write that is also the last. Only when nothing is queued. */
  take(): string | Uint8Array {
    const { text, parts } = this;
    this.text = '';
    this.parts = undefined;
    this.gathered = 0;
    if (parts === undefined) {
      return text;
    }
    return Buffer.concat(text === '' ? parts : [...parts, Buffer.from(text)]);
  }

  onDrain(): void {
    this.blocked = false;
    this.progressAt = this.now();
    while (this.queuedItems > 0 && !this.blocked) {
      this.gatherQueued();
      this.flush();
    }
    this.flush();
  }

  /** Drops the oldest queued chunk of which nothing has been sent. Whether there was one. */
  dropOldest(): boolean {
    const [oldest] = this.queue.splice(this.partlySent ? 1 : 0, 1);
    if (oldest !== undefined) {
      this.forget(oldest);
    }
    return oldest !== undefined;
  }

  /** Forgets everything: nobody will read it. */
  clear(): void {
    this.take();
    this.queue = NONE;
    this.queuedItems = 0;
    this.queuedBytes = 0;
  }

  private gather(chunk: string | Uint8Array): void {
    this.gathered += chunk.length;
    if (typeof chunk === 'string') {
      this.text += chunk;
      return;
    }
    this.parts ??= [];
    if (this.text !== '') {
      this.parts.push(Buffer.from(this.text));
      this.text = '';
    }
    this.parts.push(chunk);
  }

  private gatherQueued(): void {
    let count = 0;
    for (let size = 0; size < GATHER && count < this.queue.length; count++) {
      size += (this.queue[count] as string | Uint8Array).length;
    }
    this.partlySent = false;
    for (const chunk of this.queue.splice(0, count)) {
      this.forget(chunk);
      this.gather(chunk);
    }
  }

  private enqueue(chunk: string | Uint8Array): void {
    if (this.queue === NONE) {
      this.queue = [];
    }
    this.queue.push(chunk);
    this.queuedItems++;
    this.queuedBytes += Buffer.byteLength(chunk);
  }

  private forget(chunk: string | Uint8Array): void {
    this.queuedItems--;
    this.queuedBytes -= Buffer.byteLength(chunk);
  }

  private write(data: string | Uint8Array): void {
    if (data.length <= SLICE) {
      this.blocked = !this.transport.write(data);
    } else {
      this.writeSlices(typeof data === 'string' ? Buffer.from(data) : data);
    }
    this.progressAt = this.now();
  }

  private writeSlices(bytes: Uint8Array): void {
    let start = 0;
    while (start < bytes.length && !this.blocked) {
      this.blocked = !this.transport.write(bytes.subarray(start, start + SLICE));
      start += SLICE;
    }
    if (start < bytes.length) {
      const newer = this.queue;
      this.queue = NONE;
      this.enqueue(bytes.subarray(start));
      this.queue = [...this.queue, ...newer];
      this.partlySent = true;
    }
  }

  private flushLater(): void {
    const { policy } = this;
    const flush = (): void => {
      this.waiting = false;
      this.flush();
    };
    this.waiting = true;
    if (typeof policy === 'object') {
      setTimeout(flush, policy.ms).unref();
    } else {
      atEndOfTurn(flush);
    }
  }
}
