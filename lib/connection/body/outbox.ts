import { chunkOfText, type DirectTotals, type SharedChunk } from '../../transport/shared-chunk.js';
import type { Transport } from '../../transport/transport.js';
import { StreamError } from '../../util/errors.js';
import { atEndOfTurn } from '../../util/scheduler.js';
import type { BodySettings } from './body-settings.js';
import { ChunkQueue } from './chunk-queue.js';
import { FlushTimer } from './flush-timer.js';

/** How many characters or bytes are gathered for one write, which is one chunk of an HTTP/1.1 body and one system call. */
const GATHER = 16_384;
/** The maximum number of bytes in one write, so that it is noticed when the client reads a part of a large chunk. */
const SLICE = 65_536;

/** A flow without any of these flags: chunks may be written. */
const FREE = 0;
/** The client can take no more: chunks wait for `onDrain`. */
const BLOCKED = 1;
/** Chunks wait for the end of the body. */
const HELD = 2;
/** The access of the client is checked: nothing is written before the verdict. */
const PAUSED = 4;
/** The source writes to the socket directly, past the outbox: the outbox stops it before anything else is written. */
const DIRECT = 8;

/** The stream. */
export interface OutboxOwner {
  readonly transport: Transport;
  readonly settings: BodySettings;
  /** Says whether the head is still to be written: no chunk is written before it. */
  readonly lifecycle: { readonly headPending: boolean };
  /** The reader of the source. `sent`: what the source has written to the socket directly. */
  readonly reader?: { readonly sent?: DirectTotals | undefined; endDirect?(): void } | undefined;
  /** Called if a write at the end of a turn throws. */
  fail(error: unknown): void;
}

/**
 * Gathers chunks into writes. Chunks that are added while the client can take no more wait in a queue. The body enforces the limits of that
 * queue.
 */
export class Outbox {
  private flow = FREE;
  /** The number of bytes that were written to the transport, without what is {@link sent}. */
  private written = 0;
  /** The length that the application has declared for the body, in bytes. `Infinity` would take 16 bytes in each stream. */
  declared: number | undefined;
  /** When the client last read bytes, as far as known, without what is {@link sent}. */
  private progressed = 0;
  /** The gathered chunks: a string, or a list of bytes if some of them are bytes. */
  private gathered: string | Uint8Array[] = '';
  private gatheredSize = 0;
  private queue: ChunkQueue | undefined;
  /** Whether a flush at the end of the turn is scheduled, or the timer of a policy that gathers longer. */
  private waiting: boolean | FlushTimer = false;

  constructor(private readonly owner: OutboxOwner) {
    this.progress();
  }

  private get transport(): Transport {
    return this.owner.transport;
  }

  private get settings(): BodySettings {
    return this.owner.settings;
  }

  /** What the source writes directly. `undefined`: it does not. */
  get sent(): DirectTotals | undefined {
    return (this.flow & DIRECT) === FREE ? undefined : this.owner.reader?.sent;
  }

  /** The number of bytes that were written to the transport. */
  get bytes(): number {
    return this.written + (this.sent?.bytes ?? 0);
  }

  /** When the client last read bytes, as far as known, on the clock of the streams. */
  get progressAt(): number {
    return Math.max(this.progressed, this.sent?.at ?? 0);
  }

  /** Whether the source may write to the socket directly: nothing waits, and nothing keeps chunks from being written. */
  get allowsDirect(): boolean {
    return this.free && this.empty && this.declared === undefined;
  }

  /** Called when the source begins to write to the socket directly. */
  beginDirect({ bytes }: DirectTotals): void {
    this.flow |= DIRECT;
    this.written -= bytes;
  }

  /** Called when it has ended. */
  endDirect({ bytes, at }: DirectTotals): void {
    this.flow &= ~DIRECT;
    this.written += bytes;
    this.progressed = Math.max(this.progressed, at);
  }

  /** Called when the source has written more than the client can take. */
  block(): void {
    this.flow |= BLOCKED;
  }

  /** The number of gathered characters or bytes that are written without waiting for a flush. */
  private get enough(): number {
    const { flush } = this.settings;
    if (flush === 'auto') {
      return GATHER;
    }
    return flush === 'each' ? 1 : flush.bytes;
  }

  /** Whether chunks have to wait, because the client can take no more, or because the head is not written yet. */
  get blocked(): boolean {
    return (this.flow & (BLOCKED | PAUSED)) !== FREE || this.owner.lifecycle.headPending;
  }

  /** Whether all chunks are kept until the end, to be sent as one body of known length. */
  get held(): boolean {
    return (this.flow & HELD) !== FREE;
  }

  /** Keeps all chunks until the end. */
  hold(): void {
    this.flow |= HELD;
  }

  /** Stops keeping chunks. Those that are kept are sent with the end, or by {@link sendHeld}. */
  stopHolding(): void {
    this.flow &= ~HELD;
  }

  /** Writes nothing until {@link resume} is called. */
  pause(): void {
    this.demandOrder();
    this.flow |= PAUSED;
  }

  /** Ends a pause. Returns whether the client can take more: {@link onDrain} has to be called then. */
  resume(): boolean {
    this.flow &= ~PAUSED;
    return !this.blocked;
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

  /** About how many bytes of memory the queued chunks take. */
  get queuedCost(): number {
    return this.queue?.cost ?? 0;
  }

  /** About how many bytes wait to be written. */
  get size(): number {
    return this.gatheredSize + this.queuedBytes;
  }

  /** Restarts the time of `sendTimeout`: the client has read bytes, or there were none to read. */
  progress(): void {
    this.progressed = this.settings.services.registry.clock.now();
  }

  /** Adds a chunk to the next write, or to the queue. */
  add(chunk: string | Uint8Array): void {
    if (typeof chunk !== 'string' && chunk.length >= GATHER) {
      this.flush();
    }
    this.demandOrder();
    if (!this.free) {
      this.queue ??= new ChunkQueue();
      this.queue.push(this.held ? owned(chunk) : chunk);
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
    } else if (this.waiting !== true) {
      this.flushLater();
    }
  }

  /** Returns whether chunks are gathered. */
  get gathers(): boolean {
    return this.gatheredSize > 0;
  }

  /** Writes the gathered chunks when a flush is due. An error fails the stream. */
  flushDue(): void {
    if (typeof this.waiting === 'object') {
      this.waiting.done();
    } else {
      this.waiting = false;
    }
    try {
      this.flush();
    } catch (error) {
      this.owner.fail(error);
    }
  }

  /** Writes the gathered chunks. */
  flush(): void {
    if (this.gatheredSize > 0 && this.free) {
      this.write(this.take());
    }
  }

  /** Sends the kept chunks at the pace of the client. */
  sendHeld(): void {
    this.stopHolding();
    if (!this.blocked) {
      this.onDrain();
    }
  }

  /** Whether a chunk may be written now. */
  private get free(): boolean {
    return this.flow === FREE && !this.owner.lifecycle.headPending;
  }

  /** Removes and returns the gathered chunks, for one write. */
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
    this.flow &= ~BLOCKED;
    this.progress();
    while (this.free && this.queue && this.queue.length > 0) {
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
   * Removes and returns all chunks, for the write that ends the body.
   * @param whole whether the body is complete
   * @throws {StreamError} `invalid-header` if the body is complete, but does not have the declared length
   */
  takeLast(whole: boolean): string | Uint8Array {
    for (const chunk of this.queue?.take(Infinity) ?? []) {
      this.gatherBytes(chunk);
    }
    const rest = this.take();
    const length = this.written + Buffer.byteLength(rest);
    if (this.declared !== undefined) {
      if (!whole && length >= this.declared) {
        // With the declared number of bytes, the client would mistake it for a complete body.
        return '';
      }
      this.demandRoom(length - this.written);
      if (whole && length < this.declared) {
        this.gatherBytes(rest);
        throw this.wrongLength(`has ${length} bytes`);
      }
    }
    this.written = length;
    return rest;
  }

  /** Drops the oldest queued chunk that may be dropped. Returns whether there was one. */
  dropOldest(): boolean {
    return this.queue?.dropOldest() ?? false;
  }

  /** Prevents the oldest queued chunk, if there is one, from being dropped. */
  keepOldest(): void {
    this.queue?.keepFirst();
  }

  /** Drops all chunks, except the rest of one that is partly written: a client could not read what follows half of a record. */
  clearUnsent(): void {
    this.take();
    this.queue?.dropUnsent();
  }

  /** Drops all chunks. */
  clear(): void {
    this.take();
    this.queue = undefined;
    if (typeof this.waiting === 'object') {
      this.waiting.stop();
    }
  }

  /** Throws if more bytes were written than declared: the client would read the rest as the next response. */
  private demandRoom(size: number): void {
    if (this.declared !== undefined && this.written + size > this.declared) {
      throw this.wrongLength(`has more: ${this.written + size} bytes so far`);
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

  /** Writes a chunk that many connections share, after the waiting bytes. */
  share(chunk: SharedChunk): void {
    this.demandOrder();
    if (this.blocked) {
      this.add(chunk.bytes);
    } else {
      this.demandRoom(chunk.size);
      this.written += chunk.size;
      this.flow = this.transport.writeShared(chunk) ? FREE : BLOCKED;
      this.progress();
    }
  }

  /** Writes a text that is no chunk of the stream, and that many connections are sent, such as a heartbeat. */
  shareText(text: string): void {
    this.demandOrder();
    // A timer that gathers chunks has to know of each write, and the messages of a WebSocket are text or binary by their own rules.
    if (this.free && this.empty && typeof this.waiting !== 'object' && this.transport.protocol !== 'websocket') {
      this.share(chunkOfText(text));
    } else {
      this.add(text);
      this.flush();
    }
  }

  /** Makes the source write no more to the socket directly, before something else is written. */
  demandOrder(): void {
    if ((this.flow & DIRECT) !== FREE) {
      this.owner.reader?.endDirect?.();
    }
  }

  private write(data: string | Uint8Array): void {
    const size = Buffer.byteLength(data);
    this.demandRoom(size);
    this.written += size;
    if (data.length <= SLICE || this.transport.whole) {
      this.flow = this.transport.write(data) ? FREE : BLOCKED;
    } else {
      this.writeSlices(typeof data === 'string' ? Buffer.from(data) : data);
    }
    this.progress();
    if (typeof this.waiting === 'object') {
      this.waiting.flushed();
    }
  }

  private writeSlices(bytes: Uint8Array): void {
    let start = 0;
    while (start < bytes.length && !this.blocked) {
      this.flow = this.transport.write(bytes.subarray(start, start + SLICE)) ? FREE : BLOCKED;
      start += SLICE;
    }
    if (start < bytes.length) {
      // The rest is counted when it is written.
      this.written -= bytes.length - start;
      this.queue ??= new ChunkQueue();
      this.queue.putBack(bytes.subarray(start));
    }
  }

  private flushLater(): void {
    const { flush: policy } = this.settings;
    if (typeof policy === 'object') {
      const timer = typeof this.waiting === 'object' ? this.waiting : new FlushTimer(policy, this);
      this.waiting = timer;
      timer.start();
    } else {
      this.waiting = true;
      this.flushAtEndOfTurn();
    }
  }

  /** Writes the gathered chunks once no code can run without waiting. */
  flushAtEndOfTurn(): void {
    // Runs when no microtask is left. By then, a source that never waits has mostly filled and flushed the gathered chunks, so that no turn of
    // the event loop is needed, which would cost as much as a hundred chunks.
    process.nextTick(flushSoon, this);
  }
}

/** Flushes at the end of the turn, unless all chunks were written meanwhile. A closure for each stream would cost memory. */
function flushSoon(outbox: Outbox): void {
  if (outbox.gathers) {
    atEndOfTurn(() => outbox.flushDue());
  } else {
    outbox.flushDue();
  }
}

/** Copies small byte arrays, since their producer may reuse the memory for the next chunk. */
function owned(chunk: string | Uint8Array): string | Uint8Array {
  return typeof chunk === 'string' || chunk.length >= GATHER ? chunk : Buffer.from(chunk);
}
