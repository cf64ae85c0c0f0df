import type { SharedChunk } from '../../transport/shared-chunk.js';
import type { Transport } from '../../transport/transport.js';
import { StreamError } from '../../util/errors.js';
import { atEndOfTurn } from '../../util/scheduler.js';
import type { BodySettings } from './body-settings.js';
import { ChunkQueue } from './chunk-queue.js';

/** What is gathered before it is written, in characters or bytes: one chunk of an HTTP body, one system call. */
const GATHER = 16_384;
/** Nothing larger is written at once, so that a client that takes some of it is seen to take something. */
const SLICE = 65_536;

/** What may be written: everything at once, nothing until the client has taken something, or nothing until the end. */
type Flow = 'free' | 'blocked' | 'held';

/** The stream that fails when a write fails that nobody waits for. */
export interface OutboxOwner {
  fail(error: unknown): void;
}

/**
 * What waits to be written. Chunks are gathered into one write. What comes while the client can take no more waits in a queue, whose
 * bounds are kept by the body.
 */
export class Outbox {
  private flow: Flow = 'free';
  /** How many bytes were handed to the transport. */
  bytes = 0;
  /** The length that the application has declared for the body, in bytes. */
  declared = Infinity;
  /** When it was last seen to take something, on the clock of the registry. */
  progressAt = 0;
  /** Text, or where bytes are among it a list of bytes. */
  private gathered: string | Uint8Array[] = '';
  private gatheredSize = 0;
  private queue: ChunkQueue | undefined;
  /** Whether a flush is due: at the end of the turn, or by the timer. */
  private waiting: boolean | NodeJS.Timeout = false;
  /** How much is written at once. */
  private readonly enough: number;

  constructor(
    private readonly transport: Transport,
    private readonly settings: BodySettings,
    private readonly owner: OutboxOwner,
  ) {
    const { flush } = settings;
    this.enough = typeof flush === 'object' ? flush.bytes : flush === 'each' ? 1 : GATHER;
    this.progress();
  }

  /** Whether what comes has to wait: the client can take no more, or the head is not written yet. */
  get blocked(): boolean {
    return this.flow === 'blocked';
  }

  /** Whether everything is held back until the end, to be one body of known length. */
  get held(): boolean {
    return this.flow === 'held';
  }

  /** Has what comes wait for {@link onDrain}. */
  block(): void {
    this.flow = 'blocked';
  }

  /** Holds everything back that comes. */
  hold(): void {
    this.flow = 'held';
  }

  /** Holds nothing back any more. What was held leaves with the end, or with {@link sendHeld}. */
  letGo(): void {
    if (this.flow === 'held') {
      this.flow = 'free';
    }
  }

  get empty(): boolean {
    return this.gatheredSize === 0 && this.queuedItems === 0;
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
    return this.gatheredSize + this.queuedBytes;
  }

  /** Notes that the client took something, or is not expected to have. */
  progress(): void {
    this.progressAt = this.settings.services.registry.clock.now();
  }

  /** Adds a chunk to what is to be written. */
  add(chunk: string | Uint8Array): void {
    if (typeof chunk !== 'string' && chunk.length >= GATHER) {
      this.flush();
    }
    if (this.flow !== 'free') {
      this.queue ??= new ChunkQueue();
      this.queue.push(this.blocked ? chunk : owned(chunk));
      return;
    }
    if (typeof chunk === 'string' && typeof this.gathered === 'string') {
      this.gathered += chunk;
      this.gatheredSize += chunk.length;
    } else {
      this.gatherBytes(chunk);
    }
    if (this.gatheredSize >= this.enough) {
      this.flush();
    } else if (!this.waiting) {
      this.flushLater();
    }
  }

  /** Hands over what is gathered. */
  flush(): void {
    if (this.flow === 'free' && this.gatheredSize > 0) {
      this.write(this.take());
    }
  }

  /** Sends what was held back, piece by piece as the client takes it. */
  sendHeld(): void {
    this.letGo();
    if (!this.blocked) {
      this.onDrain();
    }
  }

  /** Takes what is gathered, for one write. */
  take(): string | Uint8Array {
    const { gathered } = this;
    this.gathered = '';
    this.gatheredSize = 0;
    if (typeof gathered === 'string') {
      return gathered;
    }
    const [only] = gathered;
    return only && gathered.length === 1 ? only : Buffer.concat(gathered);
  }

  onDrain(): void {
    this.flow = 'free';
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

  /** Drops the oldest queued chunk that need not stay. Returns whether there was one. */
  dropOldest(): boolean {
    return this.queue?.dropOldest() ?? false;
  }

  /** Keeps the oldest queued chunk, if there is one, when others are dropped. */
  keepOldest(): void {
    this.queue?.keepFirst();
  }

  /** Drops everything: nobody will read it. */
  clear(): void {
    this.take();
    this.queue = undefined;
    if (typeof this.waiting === 'object') {
      clearTimeout(this.waiting);
    }
  }

  /** Refuses to write more than was declared: what follows would be read as the next response. */
  private demandRoom(size: number): void {
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
    this.gatheredSize += chunk.length;
    if (typeof this.gathered === 'string') {
      this.gathered = this.gathered === '' ? [] : [Buffer.from(this.gathered)];
    }
    const own = owned(chunk);
    this.gathered.push(typeof own === 'string' ? Buffer.from(own) : own);
  }

  /** Writes what many connections are sent, behind what waits. */
  share(chunk: SharedChunk): void {
    if (this.blocked) {
      this.add(chunk.bytes);
    } else {
      this.demandRoom(chunk.size);
      this.bytes += chunk.size;
      this.flow = this.transport.writeShared(chunk) ? 'free' : 'blocked';
      this.progress();
    }
  }

  private write(data: string | Uint8Array): void {
    const size = Buffer.byteLength(data);
    this.demandRoom(size);
    this.bytes += size;
    if (data.length <= SLICE || this.transport.whole) {
      this.flow = this.transport.write(data) ? 'free' : 'blocked';
    } else {
      this.writeSlices(typeof data === 'string' ? Buffer.from(data) : data);
    }
    this.progress();
  }

  private writeSlices(bytes: Uint8Array): void {
    let start = 0;
    while (start < bytes.length && !this.blocked) {
      this.flow = this.transport.write(bytes.subarray(start, start + SLICE)) ? 'free' : 'blocked';
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
      if (this.gatheredSize > 0) {
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
