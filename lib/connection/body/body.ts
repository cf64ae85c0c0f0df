import { type StreamCloseError, StreamError } from '../../errors.js';
import { eventIn, isAbsent, type StreamEvent } from '../../event/event.js';
import { HubEvent } from '../../event/hub-event.js';
import { joined } from '../../format/binary.js';
import { encodeHubEvent, encodeShared } from '../../format/encode-hub-event.js';
import {
  type Encoded,
  type StreamErrorBody,
  type StreamFormat,
  type StreamFormatState,
  withState,
} from '../../format/format.js';
import { JSON_FORMATS } from '../../format/formats.js';
import { noJson } from '../../format/json-text.js';
import { ndjsonFormat } from '../../format/ndjson.format.js';
import { type ChosenFormat, type ContentType, chooseFormat } from '../../format/negotiate.js';
import { PASSTHROUGH } from '../../format/passthrough.js';
import type { SharedChunk } from '../../transport/shared-chunk.js';
import type { Transport } from '../../transport/transport.js';
import { isError, textOf } from '../../util/error-text.js';
import { PROMISE_COST } from '../../util/queue-limits.js';
import { isThenable, shelter } from '../../util/thenable.js';
import type { StreamSettings } from '../stream-settings.js';
import { Outbox, type OutboxOwner } from './outbox.js';
import { Waiters } from './waiters.js';

/** What a stream is that has nothing to tell its format by. */
const EMPTY = chooseFormat(ndjsonFormat);

/** Shared chunks above it are written in slices, so that a client that takes some of it is seen to take something. */
const LARGE = 131_072;

/** The body of a stream: chunks in their format on their way out, within the bounds of the queue. */
export class Body extends Outbox {
  format: StreamFormat | undefined;
  contentType: ContentType | undefined;
  private begun = false;
  /** What the format keeps for this stream, if anything. */
  private state: StreamFormatState | undefined;
  private opener: Encoded | undefined;
  /** Whether an id has been, or is being, sent. */
  hasIds = false;
  /** Whether the format has something between chunks. */
  private framed = false;
  /** Whether what the format makes of a string may be continued by the next: it may end within a character. */
  private continues = true;
  /** Nothing is sent in answer to HEAD, with a status that has no body, or after the end. */
  private silent = false;
  /** What its client is still to be told of. */
  private dropped = 0;
  private waiters: Waiters | undefined;

  /** @param chosen the format, or nothing when the first chunk decides */
  constructor(transport: Transport, settings: StreamSettings, chosen: ChosenFormat | undefined, owner: OutboxOwner) {
    super(transport, settings, owner);
    if (chosen) {
      this.choose(chosen);
    }
  }

  /** The head is fixed: whether there will be a body is known. */
  open(): void {
    this.silent = !this.transport.hasBody;
  }

  /** Sets how many bytes it has to have, if that is known. What is sent for the connection's sake is then left out. */
  declare(length: number | undefined): void {
    if (length !== undefined && !this.silent) {
      this.declared = length;
    }
  }

  /** Whether bytes may be sent that the application has not counted. */
  get extensible(): boolean {
    return this.declared === Infinity;
  }

  choose({ format, contentType }: ChosenFormat): void {
    this.state = format.perStream?.();
    this.format = this.state ? withState(format, this.state) : format;
    this.contentType = contentType;
    this.continues = !JSON_FORMATS.has(format);
    this.framed = format.open !== undefined || format.separator !== undefined || this.state?.open !== undefined;
  }

  /** Chooses for a stream that ends without a chunk, if that is still open. */
  chooseEmpty(): void {
    if (this.format === undefined) {
      this.choose(this.transport.hasBody ? EMPTY : PASSTHROUGH);
    }
  }

  /** Encodes a chunk. A promise where it is an event whose data are one. */
  encode(chunk: unknown): Encoded | Promise<Encoded> {
    try {
      if (this.state !== undefined) {
        this.head();
      }
      if (chunk instanceof HubEvent) {
        this.hasIds = true;
        const format = this.formatFor(chunk.data);
        return this.state === undefined ? encodeShared(chunk, format) : encodeHubEvent(chunk, format);
      }
      const event = eventIn(chunk, this.settings.events);
      return event === undefined ? this.encodeData(chunk) : this.encodeEvent(event);
    } catch (cause) {
      shelter(chunk);
      const code = isError(cause) && cause instanceof StreamError ? cause.code : 'not-serializable';
      const how = this.format ? ` as ${this.format.name}` : '';
      throw new StreamError(code, `${this.settings.route}: a chunk cannot be sent${how}: ${textOf(cause)}`, { cause });
    }
  }

  private encodeEvent(event: StreamEvent): Encoded | Promise<Encoded> {
    const { data } = event;
    if (isThenable(data)) {
      return Promise.resolve(data).then((value) => this.encode({ ...event, data: value }));
    }
    if (this.format?.fields) {
      this.hasIds ||= !isAbsent(event.id);
      return this.format.encode(event, this.hasIds);
    }
    const format = this.formatFor(data);
    return data === undefined ? '' : format.encode(data);
  }

  private encodeData(data: unknown): Encoded {
    const format = this.formatFor(data);
    if (data !== undefined || !format.fields) {
      return format.encode(format.fields ? { data } : data);
    }
    if (this.settings.events === 'explicit') {
      throw noJson(data);
    }
    // As with Nest's own `@Sse()`: the values of a `Subject<void>` are events without data, which clients ignore.
    return '';
  }

  /** The format, which is chosen by these data if that is still open. */
  private formatFor(data: unknown): StreamFormat {
    if (this.format) {
      return this.format;
    }
    const chosen = this.settings.formatOfChunk(data);
    this.choose(chosen);
    return chosen.format;
  }

  /** Adds an encoded chunk. */
  put(encoded: Encoded): void {
    if (encoded.length === 0 || this.silent) {
      return;
    }
    this.chunks++;
    if (this.framed) {
      this.putFrame(encoded);
    } else {
      this.begun = true;
      this.continues ? this.add(encoded) : this.addWhole(encoded);
    }
  }

  /** Adds what is no chunk of its own, as it is. */
  insert(encoded: Encoded): void {
    if (encoded.length > 0 && !this.silent) {
      this.addWhole(encoded);
    }
  }

  /** Has the client remember an id, if the format can say so. */
  putPosition(id: string): void {
    this.hasIds = true;
    this.insert(this.format?.position?.(id) ?? '');
  }

  /** Adds an event of a type of ours, if the format has types. */
  putOwn(event: StreamEvent): void {
    const { format } = this;
    if (format?.fields) {
      this.put(format.encode(event, this.hasIds));
    }
  }

  /** Whether chunks look the same to all clients of the format, whatever came before them, and leave at the same time. */
  get shareable(): boolean {
    const alike = this.format !== undefined && this.state === undefined && !this.framed;
    return alike && !this.silent && this.settings.flush === 'auto';
  }

  /** Writes what many connections are given, behind what waits. Whether the client can take more. */
  share(chunk: SharedChunk): boolean {
    if (!this.empty) {
      this.flush();
    }
    this.hasIds = true;
    this.chunks += chunk.count;
    if (chunk.partial !== undefined || this.half !== '') {
      this.add(chunk.partial ?? chunk.bytes);
    } else if (chunk.size <= LARGE || this.transport.whole) {
      this.shareWhole(chunk);
    } else {
      for (const slice of chunk.slices) {
        this.shareWhole(slice);
      }
    }
    return !this.blocked;
  }

  /** Adds what stands after the last chunk. */
  close(): void {
    const { format, state } = this;
    this.tellDropped();
    this.addHalf();
    this.insert(joined(this.begun ? '' : this.head(), state?.close?.() ?? format?.close ?? ''));
    this.silent = true;
  }

  /** Adds the record of an error, if the format has one. Whether its clients know that record as the end. */
  putError(body: StreamErrorBody, error: unknown): boolean {
    const { format } = this;
    let record: Encoded = '';
    if (this.extensible) {
      this.tellDropped();
      this.addHalf();
      const before = this.begun ? '' : this.head();
      record = format?.error?.(body, this.settings.errorEvent, error) ?? '';
      this.insert(record.length > 0 ? joined(before, record) : '');
    }
    this.silent = true;
    return record.length > 0 && format?.truncate === false;
  }

  /** Sends what keeps a silent connection alive, which may be the position a client of a hub is at. Without it in the format, that is left to TCP. */
  beat(position?: string): void {
    const { heartbeat } = this.format ?? {};
    if (position !== undefined && this.format?.position && this.extensible) {
      this.putPosition(position);
    } else if (heartbeat === undefined || heartbeat === false || !this.extensible) {
      this.transport.probe();
      this.progress();
    } else {
      this.insert(typeof heartbeat === 'string' ? heartbeat : heartbeat(this.hasIds));
    }
    this.flush();
  }

  /** What to do with one more chunk that nobody waits for: take it, leave it, or give the client up. */
  admit(alsoWaiting: number): 'take' | 'drop' | 'disconnect' {
    if (this.whole) {
      return 'take';
    }
    const { items, bytes } = this.settings.queue;
    const full = (): boolean =>
      this.queuedItems + alsoWaiting >= items || this.queuedCost + alsoWaiting * PROMISE_COST >= bytes;
    if (!full()) {
      return 'take';
    }
    const { overflow } = this.settings;
    if (overflow === 'disconnect') {
      return 'disconnect';
    }
    while (overflow === 'drop-oldest' && full() && this.dropOldest()) {
      this.chunks--;
      this.lose();
    }
    if (!full()) {
      return 'take';
    }
    // With `drop-oldest`, what fills it cannot be dropped: it is half sent, or still in a hook.
    this.lose();
    return 'drop';
  }

  /** Goes on after the client could take no more. */
  override onDrain(): void {
    super.onDrain();
    if (this.blocked) {
      return;
    }
    this.tellDropped();
    this.waiters?.resolve();
  }

  /** Resolves when the client can take more; rejects when it never will. */
  drained(): Promise<void> {
    this.waiters ??= new Waiters();
    return this.waiters.wait();
  }

  /** Forgets what waits, and whoever waits for it. */
  release(reason: () => StreamCloseError): void {
    this.silent = true;
    this.clear();
    this.waiters?.reject(reason);
  }

  private shareWhole(chunk: SharedChunk): void {
    if (this.blocked) {
      this.add(chunk.bytes);
    } else {
      this.demandRoom(chunk.size);
      this.bytes += chunk.size;
      this.blocked = !this.transport.writeShared(chunk);
      this.progress();
    }
  }

  /** What stands before the first chunk. A format that keeps state makes it once, before that chunk. */
  private head(): Encoded {
    this.opener ??= this.state?.open?.() ?? this.format?.open ?? '';
    return this.opener;
  }

  private putFrame(encoded: Encoded): void {
    const before = this.begun ? (this.format?.separator ?? '') : this.head();
    if (this.whole) {
      // Nothing is dropped, and what many are sent is not copied.
      this.begun = true;
      this.add(before);
      this.add(encoded);
      return;
    }
    // One piece, so that a chunk that is dropped takes what stands before it along.
    this.add(joined(before, encoded));
    if (!this.begun) {
      this.begun = true;
      this.keepOldest();
    }
  }

  private lose(): void {
    this.dropped++;
    this.losses.dropped++;
  }

  private tellDropped(): void {
    const { format, dropped } = this;
    if (dropped === 0) {
      return;
    }
    this.dropped = 0;
    this.losses.lagged++;
    this.settings.services.logger.warn(
      `${this.settings.route}: ${dropped} chunks were dropped for a client that is too slow`,
    );
    this.put(format?.lagged?.(dropped) ?? '');
  }
}
