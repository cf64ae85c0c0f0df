import { StreamError } from '../../errors.js';
import type { Losses } from '../../source/shared-source.js';
import { endsInHalf } from '../../transport/shared-chunk.js';
import type { Transport } from '../../transport/transport.js';
import { atEndOfTurn } from '../../util/scheduler.js';
import type { StreamSettings } from '../stream-settings.js';
import { ChunkQueue } from './chunk-queue.js';

/** What is gathered before it is written, in characters or bytes: one chunk of an HTTP body, one system call. */
const GATHER = 16_384;
/** Nothing larger is written at once, so that a client that takes some of it is seen to take something. */
const SLICE = 65_536;

/** Whose stream fails when a write does that nobody waits for. */
export interface OutboxOwner {
  fail(error: unknown): void;
}

/**
 * What waits to be written. Chunks are gathered into one write; what comes while the client can take no
 * more waits in a queue, whose bounds are the connection's concern.
 */
export class Outbox {
  /** Whether the client can take no more. */
  blocked = false;
  /** Whether all is held back until the end, to be one body of known length. */
  whole = false;
  /** How many chunks it was given, without those it has dropped. */
  chunks = 0;
  /** How many bytes it has handed over. */
  bytes = 0;
  /** What it has dropped, if anything. */
  lost: Losses | undefined;
  /** How many bytes the application has declared that the body has. */
  protected declared = Infinity;
  /** When it was last seen to take something, on the clock of the registry. */
  progressAt = 0;
  /**
   * The first half of a character that takes two code units, at the end of the last string. It waits for the second half, which the next
   * string begins with, as in `TextEncoderStream`.
   */
  half = '';
  private text = '';
  private parts: Uint8Array[] | undefined;
  private gathered = 0;
  private queue: ChunkQueue | undefined;
  /** Whether a flush is due: at the end of the turn, or by the timer. */
  private waiting: boolean | NodeJS.Timeout = false;
  /** How much is written at once. */
  private readonly enough: number;

  constructor(
    protected readonly transport: Transport,
    protected readonly settings: StreamSettings,
    private readonly owner: OutboxOwner,
  ) {
    const { flush } = settings;
    this.enough = typeof flush === 'object' ? flush.bytes : flush === 'each' ? 1 : GATHER;
    this.progress();
  }

  /** Where to count what is dropped: most drop nothing. */
  get losses(): Losses {
    this.lost ??= { dropped: 0, lagged: 0 };
    return this.lost;
  }

  get empty(): boolean {
    return this.gathered === 0 && this.queuedItems === 0;
  }

  get queuedItems(): number {
    return this.queue?.length ?? 0;
  }

  get queuedBytes(): number {
    return this.queue?.bytes ?? 0;
  }

  /** About how many bytes of memory what is queued takes. */
  get queuedCost(): number {
    return this.queue?.cost ?? 0;
  }

  /** About how many bytes wait here. */
  get size(): number {
    return this.gathered + this.queuedBytes;
  }

  /** Notes that the client took something, or is not expected to have. */
  progress(): void {
    this.progressAt = this.settings.services.registry.clock.now();
  }

  /** Adds a chunk to what has to be written. A string is text that the next string continues. */
  add(chunk: string | Uint8Array): void {
    if (typeof chunk === 'string') {
      this.addText(chunk);
    } else {
      this.addHalf();
      this.addWhole(chunk);
    }
  }

  /** Adds what is no part of the text: the half of a character goes on waiting. */
  protected addWhole(chunk: string | Uint8Array): void {
    if (typeof chunk !== 'string' && chunk.length >= GATHER) {
      this.flush();
    }
    if (this.blocked || this.whole) {
      this.queue ??= new ChunkQueue();
      this.queue.push(this.blocked ? chunk : owned(chunk));
      return;
    }
    if (typeof chunk === 'string' && this.parts === undefined) {
      this.text += chunk;
      this.gathered += chunk.length;
    } else {
      this.gatherBytes(chunk);
    }
    if (this.gathered >= this.enough) {
      this.flush();
    } else if (!this.waiting) {
      this.flushLater();
    }
  }

  /** Adds the half of a character that waits, as what follows is not its second half. It becomes U+FFFD. */
  protected addHalf(): void {
    const { half } = this;
    if (half !== '') {
      this.half = '';
      this.addWhole(half);
    }
  }

  private addText(chunk: string): void {
    let text = chunk;
    if (this.half !== '') {
      text = this.half + chunk;
      this.half = '';
    }
    if (endsInHalf(text)) {
      this.half = text.slice(-1);
      text = text.slice(0, -1);
    }
    if (text !== '') {
      this.addWhole(text);
    }
  }

  /** Hands over what is gathered. */
  flush(): void {
    if (!this.blocked && !this.whole && this.gathered > 0) {
      this.write(this.take());
    }
  }

  /** Sends what was held back, piece by piece as the client takes it. */
  sendHeld(): void {
    this.whole = false;
    if (!this.blocked) {
      this.onDrain();
    }
  }

  /** Takes what is gathered, for one write. */
  take(): string | Uint8Array {
    const { text, parts } = this;
    this.text = '';
    this.parts = undefined;
    this.gathered = 0;
    if (parts === undefined) {
      return text;
    }
    const [only] = parts;
    return only && parts.length === 1 ? only : Buffer.concat(parts);
  }

  onDrain(): void {
    this.blocked = false;
    this.progress();
    while (!this.blocked && this.queue && this.queue.length > 0) {
      for (const chunk of this.queue.take(GATHER)) {
        this.gatherBytes(chunk);
      }
      this.flush();
    }
    this.flush();
    if (this.queue?.length === 0) {
      this.queue = undefined;
    }
  }

  /**
   * Takes what is gathered, for the write that ends the body.
   * @param whole whether the client is to know that it has all of it
   * @throws {StreamError} `invalid-header` when the body is whole and not as long as it was declared
   */
  takeLast(whole: boolean): string | Uint8Array {
    for (const chunk of this.queue?.take(Infinity) ?? []) {
      this.gatherBytes(chunk);
    }
    const rest = this.take();
    const length = this.bytes + Buffer.byteLength(rest);
    if (this.declared !== Infinity) {
      if (!whole && length >= this.declared) {
        // With all of its bytes, it would look whole.
        return '';
      }
      this.demandRoom(length - this.bytes);
      if (whole && length < this.declared) {
        this.gatherBytes(rest);
        throw this.wrongLength(`has ${length} bytes`);
      }
    }
    this.bytes = length;
    return rest;
  }

  /** Drops the oldest queued chunk that has not to stay. Whether there was one. */
  dropOldest(): boolean {
    return this.queue?.dropOldest() ?? false;
  }

  /** Has the oldest queued chunk, if there is one, stay when others are dropped. */
  protected keepOldest(): void {
    this.queue?.keepFirst();
  }

  /** Forgets everything: nobody will read it. */
  clear(): void {
    this.take();
    this.half = '';
    this.queue = undefined;
    if (typeof this.waiting === 'object') {
      clearTimeout(this.waiting);
    }
  }

  /** Refuses to write more than was declared: what follows would be read as the next response. */
  protected demandRoom(size: number): void {
    if (this.bytes + size > this.declared) {
      throw this.wrongLength(`has more: ${this.bytes + size} bytes so far`);
    }
  }

  private wrongLength(has: string): StreamError {
    return new StreamError(
      'invalid-header',
      `${this.settings.route}: Content-Length is ${this.declared}, and the body ${has}. Correct the header, or leave it out`,
    );
  }

  private gatherBytes(chunk: string | Uint8Array): void {
    this.gathered += chunk.length;
    if (this.parts === undefined) {
      this.parts = this.text === '' ? [] : [Buffer.from(this.text)];
      this.text = '';
    }
    const own = owned(chunk);
    this.parts.push(typeof own === 'string' ? Buffer.from(own) : own);
  }

  private write(data: string | Uint8Array): void {
    const size = Buffer.byteLength(data);
    this.demandRoom(size);
    this.bytes += size;
    if (data.length <= SLICE || this.transport.whole) {
      this.blocked = !this.transport.write(data);
    } else {
      this.writeSlices(typeof data === 'string' ? Buffer.from(data) : data);
    }
    this.progress();
  }

  private writeSlices(bytes: Uint8Array): void {
    let start = 0;
    while (start < bytes.length && !this.blocked) {
      this.blocked = !this.transport.write(bytes.subarray(start, start + SLICE));
      start += SLICE;
    }
    if (start < bytes.length) {
      // Counted again when they are written.
      this.bytes -= bytes.length - start;
      this.queue ??= new ChunkQueue();
      this.queue.putBack(bytes.subarray(start));
    }
  }

  private flushLater(): void {
    const { flush: policy } = this.settings;
    const flush = (): void => {
      this.waiting = false;
      try {
        this.flush();
      } catch (error) {
        this.owner.fail(error);
      }
    };
    if (typeof policy === 'object') {
      this.waiting = setTimeout(flush, policy.ms).unref();
      return;
    }
    this.waiting = true;
    // Runs when no microtask is left, so mostly after a source that never waits has filled and sent what there was to
    // gather. To have the event loop turn for it would cost as much as a hundred chunks.
    process.nextTick(() => {
      if (this.gathered > 0) {
        atEndOfTurn(flush);
      } else {
        this.waiting = false;
      }
    });
  }
}

/** Copies small bytes: their producer may use the memory again as soon as it is asked for more. */
function owned(chunk: string | Uint8Array): string | Uint8Array {
  return typeof chunk === 'string' || chunk.length >= GATHER ? chunk : Buffer.from(chunk);
}
