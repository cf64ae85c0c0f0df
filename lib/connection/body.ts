import { StreamError } from '../errors.js';
import { isEvent } from '../format/event.js';
import type { StreamErrorBody, StreamFormat } from '../format/format.js';
import { type ChosenFormat, formatOfChunk } from '../format/negotiate.js';
import type { Transport } from '../transport/transport.js';
import { Outbox } from './outbox.js';
import type { StreamSettings } from './stream-settings.js';

interface Waiter {
  resolve(): void;
  reject(error: StreamError): void;
}

/** The body of a stream: chunks in their format on their way into the outbox, within the bounds of its queue. */
export class Body {
  readonly outbox: Outbox;
  private begun = false;
  private dropped = 0;
  private waiters: Waiter[] | undefined;

  /** @param chosen the format, or nothing when the first chunk decides */
  constructor(
    private readonly transport: Transport,
    private readonly settings: StreamSettings,
    private chosen: ChosenFormat | undefined,
  ) {
    this.outbox = new Outbox(transport, settings.flush, settings.services.registry.now);
  }

  get format(): StreamFormat | undefined {
    return this.chosen?.format;
  }

  get contentType(): string | undefined {
    return this.chosen?.contentType;
  }

  choose(chosen: ChosenFormat): void {
    this.chosen = chosen;
  }

  /** Chooses by a chunk, if that is still open. */
  chooseFor(chunk: unknown): ChosenFormat {
    this.chosen ??= formatOfChunk(chunk);
    return this.chosen;
  }

  encode(chunk: unknown): string | Uint8Array {
    const { format } = this.chooseFor(chunk);
    try {
      if (!format.fields && this.settings.events && isEvent(chunk)) {
        return chunk.data === undefined ? '' : format.encode(chunk.data);
      }
      return format.encode(chunk);
    } catch (cause) {
      const code = cause instanceof StreamError ? cause.code : 'not-serializable';
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new StreamError(code, `${this.settings.route}: a chunk cannot be sent as ${format.name}: ${why}`, {
        cause,
      });
    }
  }

  /** Adds an encoded chunk. */
  put(encoded: string | Uint8Array): void {
    const { format, outbox } = this;
    if (encoded.length === 0 || !this.transport.hasBody || format === undefined) {
      return;
    }
    const before = this.begun ? format.separator : format.open;
    this.begun = true;
    if (before === undefined) {
      outbox.add(encoded);
    } else if (typeof encoded === 'string') {
      outbox.add(before + encoded);
    } else {
      outbox.add(before);
      outbox.add(encoded);
    }
  }

  /** Adds what stands after the last chunk. */
  close(): void {
    const { format } = this;
    if (format !== undefined && this.transport.hasBody) {
      this.outbox.add((this.begun ? '' : (format.open ?? '')) + (format.close ?? ''));
    }
  }

  /** Adds the record of an error, if the format has one. */
  putError(body: StreamErrorBody): void {
    const record = this.format?.error?.(body, this.settings.errorEvent);
    if (record !== undefined && this.transport.hasBody) {
      this.outbox.add(record);
    }
  }

  /** Sends what keeps a silent connection alive, if the format has it. */
  beat(): void {
    const { format } = this;
    if (format?.heartbeat !== undefined && this.transport.hasBody) {
      this.outbox.add(format.heartbeat);
      this.outbox.flush();
    }
  }

  /** What to do with one more chunk that nobody waits for: take it, leave it, or give the client up. */
  admit(alsoWaiting: number): 'take' | 'drop' | 'disconnect' {
    const { outbox, settings } = this;
    const { events, bytes } = settings.queue;
    const full = (): boolean => outbox.queuedItems + alsoWaiting >= events || outbox.queuedBytes >= bytes;
    if (!full()) {
      return 'take';
    }
    if (settings.overflow === 'disconnect') {
      return 'disconnect';
    }
    if (settings.overflow === 'drop-newest') {
      this.dropped++;
      return 'drop';
    }
    while (full() && outbox.dropOldest()) {
      this.dropped++;
    }
    return 'take';
  }

  /** Goes on after the client could take no more. */
  onDrain(): void {
    this.outbox.onDrain();
    if (this.outbox.blocked) {
      return;
    }
    if (this.dropped > 0) {
      this.tellDropped();
    }
    for (const waiter of this.waiters?.splice(0) ?? []) {
      waiter.resolve();
    }
  }

  /** Resolves when the client can take more; rejects when it never will. */
  drained(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiters ??= [];
      this.waiters.push({ resolve, reject });
    });
  }

  /** Forgets what waits, and whoever waits for it. */
  release(error: StreamError): void {
    this.outbox.clear();
    for (const waiter of this.waiters?.splice(0) ?? []) {
      waiter.reject(error);
    }
  }

  private tellDropped(): void {
    const { format, dropped } = this;
    this.dropped = 0;
    this.settings.services.logger.warn(
      `${this.settings.route}: ${dropped} chunks were dropped for a client that is too slow`,
    );
    if (format?.fields) {
      this.put(format.encode({ type: 'lagged', data: { dropped } }));
    } else if (format?.error) {
      this.put(format.encode({ lagged: { dropped } }));
    }
  }
}
