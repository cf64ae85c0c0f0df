import type { MessagePort, TransferListItem } from 'node:worker_threads';
import { EVENT, MARK } from '../event/event.js';
import { isFlushMark } from '../source/flush.js';
import { kindOf, textOf } from '../util/error-text.js';
import { StreamError } from '../util/errors.js';
import { carry } from './carried-error.js';
import type { Control } from './control.js';
import type { Ahead, Batch, FromWorker } from './messages.js';

/** Smaller byte arrays are copied, which is faster, and allows the producer to use them again. */
const TRANSFERRED_FROM = 1_024;
/** A message contains at most this part of what the producer may be ahead. */
const PARTS = 4;

/** The weight of a chunk, if it is known without reading all of it. */
function bytesOf(chunk: unknown): number {
  return typeof chunk === 'string' ? chunk.length : ArrayBuffer.isView(chunk) ? chunk.byteLength : 0;
}

function isMarked(chunk: unknown): chunk is Record<string, unknown> {
  return typeof chunk === 'object' && chunk !== null && (chunk as { readonly [MARK]?: unknown })[MARK] === EVENT;
}

function notCloneable(chunk: unknown, cause: unknown): StreamError {
  return new StreamError(
    'not-serializable',
    `A worker yielded a value (${kindOf(chunk)}) that cannot be cloned for the main thread: ${textOf(cause)}. Yield strings, byte arrays and plain data`,
    { cause },
  );
}

/** Returns the chunk as it is now: the producer may change an object before the message is sent. */
function snapshot(chunk: unknown): unknown {
  if (typeof chunk === 'number' || chunk === null || chunk === undefined) {
    return chunk;
  }
  try {
    return structuredClone(chunk);
  } catch (cause) {
    throw notCloneable(chunk, cause);
  }
}

function withoutMark({ [MARK]: _, ...fields }: Record<string, unknown>): Record<string, unknown> {
  return fields;
}

/** Where the chunks of a producer go. */
export interface Outbox {
  /** Whether the producer may continue. */
  readonly hasRoom: boolean;
  /** Whether everything that was flushed has reached the memory that the consumer reads. */
  readonly isWritten: boolean;
  /** Whether nothing waits for a flush. */
  readonly isFlushed: boolean;
  push(chunk: unknown): void;
  /** Sends the collected chunks. */
  flush(): void;
  end(): void;
  fail(error: unknown): void;
}

/** Collects the chunks of a producer, and sends those of one turn in one message. */
export class MessageOutbox implements Outbox {
  readonly isWritten = true;
  private chunks: unknown[] = [];
  private events: number[] | undefined;
  private flushes: number[] | undefined;
  private bytes = 0;
  private readonly transferred = new Set<ArrayBufferLike>();
  /** The messages that were not consumed yet, with what is still being collected. */
  private ahead = { items: 0, bytes: 0 };
  private readonly sent: Ahead[] = [];
  private consumed = 0;

  constructor(
    private readonly port: MessagePort,
    private readonly control: Control,
    private readonly limits: Ahead,
    /** Called after each message with chunks. */
    private readonly onBatch?: () => void,
  ) {}

  get hasRoom(): boolean {
    if (this.isBelowLimits) {
      return true;
    }
    this.settle();
    return this.isBelowLimits;
  }

  get isFlushed(): boolean {
    return this.chunks.length === 0;
  }

  push(chunk: unknown): void {
    const index = this.chunks.length;
    if (typeof chunk === 'string') {
      this.chunks.push(chunk);
    } else if (isFlushMark(chunk)) {
      this.flushes = [...(this.flushes ?? []), index];
      this.chunks.push(undefined);
    } else if (isMarked(chunk)) {
      this.chunks.push(snapshot(withoutMark(chunk)));
      this.events ??= [];
      this.events.push(index);
    } else {
      this.chunks.push(chunk instanceof Uint8Array ? this.ownBytes(chunk) : snapshot(chunk));
    }
    const bytes = bytesOf(chunk);
    this.bytes += bytes;
    this.ahead.bytes += bytes;
    this.ahead.items++;
    if (this.isFull || isFlushMark(chunk)) {
      this.flush();
    }
  }

  flush(): void {
    if (this.isFlushed) {
      return;
    }
    const batch: Batch = { chunks: this.chunks, events: this.events, flushes: this.flushes };
    const transferred = [...this.transferred] as unknown as TransferListItem[];
    const weight = { items: this.chunks.length, bytes: this.bytes };
    this.clear();
    try {
      this.sendBatch(batch, weight, transferred);
    } catch {
      this.sendSingly(batch);
    }
  }

  end(): void {
    this.send({ end: true });
  }

  fail(error: unknown): void {
    this.send({ error: carry(error) });
  }

  private sendBatch(batch: Batch, weight: Ahead, transferred: readonly TransferListItem[] = []): void {
    this.port.postMessage(batch, transferred);
    this.sent.push(weight);
    this.onBatch?.();
  }

  private send(message: FromWorker): void {
    this.port.postMessage(message);
  }

  private get isFull(): boolean {
    return this.chunks.length * PARTS >= this.limits.items || this.bytes * PARTS >= this.limits.bytes;
  }

  private get isBelowLimits(): boolean {
    return this.ahead.items < this.limits.items && this.ahead.bytes < this.limits.bytes;
  }

  /** Subtracts the messages that were consumed. */
  private settle(): void {
    for (const { consumed } = this.control; this.consumed !== consumed; this.consumed = (this.consumed + 1) | 0) {
      const { items, bytes } = this.sent.shift() ?? { items: 0, bytes: 0 };
      this.ahead.items -= items;
      this.ahead.bytes -= bytes;
    }
  }

  private clear(): void {
    this.chunks = [];
    this.events = undefined;
    this.flushes = undefined;
    this.bytes = 0;
    this.transferred.clear();
  }

  /**
   * Returns bytes that can be sent. An array that is all of its memory is transferred. Others share their memory with other arrays, such as the
   * pool of small Buffers, and are copied.
   */
  private ownBytes(bytes: Uint8Array): Uint8Array {
    const { buffer, byteLength } = bytes;
    if (byteLength === 0) {
      demandAttached(buffer);
    }
    if (byteLength < TRANSFERRED_FROM || byteLength !== buffer.byteLength || !(buffer instanceof ArrayBuffer)) {
      return new Uint8Array(bytes);
    }
    if (this.transferred.has(buffer)) {
      throw yieldedTwice();
    }
    this.transferred.add(buffer);
    return bytes;
  }

  /** Sends each chunk in a message of its own. Memory that cannot be transferred is copied, until one was moved by the producer. */
  private sendSingly({ chunks, events, flushes }: Batch): void {
    for (const [index, chunk] of chunks.entries()) {
      const own = (indexes: readonly number[] | undefined) => (indexes?.includes(index) ? [0] : undefined);
      try {
        const weight = { items: 1, bytes: bytesOf(chunk) };
        this.sendBatch({ chunks: [chunk], events: own(events), flushes: own(flushes) }, weight);
      } catch (cause) {
        throw notCloneable(chunk, cause);
      }
    }
  }
}

function yieldedTwice(): StreamError {
  return new StreamError(
    'invalid-argument',
    'A worker yielded a Uint8Array twice. Its memory is moved to the main thread: yield a new array each time, or a copy, such as bytes.slice()',
  );
}

/** Throws for memory that was moved: its arrays have become empty. */
export function demandAttached(buffer: ArrayBufferLike): void {
  try {
    new Uint8Array(buffer);
  } catch {
    throw yieldedTwice();
  }
}
