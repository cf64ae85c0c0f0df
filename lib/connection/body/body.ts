import { eventIn, isAbsent, type StreamEvent } from '../../event/event.js';
import { HubEvent } from '../../event/hub-event.js';
import { joined } from '../../format/binary.js';
import { encodeHubEvent, encodeShared } from '../../format/encode-hub-event.js';
import type { Encoded, StreamErrorBody, StreamFormat } from '../../format/format.js';
import { noJson } from '../../format/json-text.js';
import { ndjsonFormat } from '../../format/ndjson.format.js';
import { type ChosenFormat, type ContentType, chooseFormat } from '../../format/negotiate.js';
import { PASSTHROUGH } from '../../format/passthrough.js';
import { endsInHalf, type SharedChunk } from '../../transport/shared-chunk.js';
import { isError, textOf } from '../../util/error-text.js';
import { type StreamCloseCode, type StreamCloseError, StreamError } from '../../util/errors.js';
import type { Losses } from '../../util/queue-limits.js';
import { isThenable, markHandled } from '../../util/thenable.js';
import { admit, type Verdict } from './admission.js';
import { Encoding } from './encoding.js';
import { Outbox, type OutboxOwner } from './outbox.js';
import { Waiters } from './waiters.js';

/** The format of a stream that ends without a chunk by which it could be chosen. */
const EMPTY = chooseFormat(ndjsonFormat);

/** A shared chunk with more bytes than this is written in slices, so that it is noticed when the client reads a part of it. */
const LARGE = 131_072;

/** Counts the chunks that a client was not sent, and those of them that were not reported to it yet. */
class LossCount implements Losses {
  dropped = 0;
  lagged = 0;
  unreported = 0;

  count(): void {
    this.unreported++;
    this.dropped++;
  }
}

/** The body of a stream: encodes chunks, and sends them or keeps them in a queue with limits. */
export class Body {
  /** The format with its content type, once it is chosen. */
  private chosen: ChosenFormat | undefined;
  private encoding: Encoding | undefined;
  /** `silent`: no bytes are sent, because the request is a HEAD, the status has no body, or the body has ended. */
  private stage: 'empty' | 'begun' | 'silent' = 'empty';
  /** Whether an id or a `retry` was sent, or is being sent, or the source is one whose chunks have ids. */
  hasIds = false;
  /** The number of chunks, without dropped ones, and without those that are `sent` past the body. */
  private counted = 0;
  /** The counts of dropped chunks. `undefined` if none was dropped. */
  lost: LossCount | undefined;
  /** The first half of a surrogate pair, if the last string ended with one. It waits for the second half, as in `TextEncoderStream`. */
  private half = '';
  private waiters: Waiters | undefined;
  readonly outbox: Outbox;

  /** @param chosen the format, or `undefined` if the first chunk decides */
  constructor(
    private readonly owner: OutboxOwner,
    chosen: ChosenFormat | undefined,
  ) {
    this.outbox = new Outbox(owner);
    if (chosen) {
      this.choose(chosen);
    }
  }

  /** The number of chunks, without dropped ones. */
  get chunks(): number {
    return this.counted + (this.outbox.sent?.chunks ?? 0);
  }

  get format(): StreamFormat | undefined {
    return this.encoding?.format;
  }

  get contentType(): ContentType | undefined {
    return this.chosen?.contentType;
  }

  /** The number of bytes that were written to the transport. */
  get bytes(): number {
    return this.outbox.bytes;
  }

  /** See {@link Outbox.blocked}. */
  get blocked(): boolean {
    return this.outbox.blocked;
  }

  /** Whether no bytes wait to be written. A half of a surrogate pair does not count. */
  get empty(): boolean {
    return this.outbox.empty;
  }

  /** About how many bytes wait to be written. */
  get size(): number {
    return this.outbox.size;
  }

  /** When the client last read bytes, as far as known, on the clock of the streams. */
  get progressAt(): number {
    return this.outbox.progressAt;
  }

  /** The counts of dropped chunks, created at the first use, since most streams drop none. */
  get losses(): LossCount {
    this.lost ??= new LossCount();
    return this.lost;
  }

  /** Whether no bytes wait to be written, not even a half of a surrogate pair. */
  get hasNothing(): boolean {
    return this.empty && this.half === '';
  }

  /** Called when the head is fixed, so that it is known whether the response has a body. */
  open(): void {
    if (!this.owner.transport.hasBody) {
      this.stage = 'silent';
    }
  }

  /** Restarts the time of `sendTimeout`: the client has read bytes, or there were none to read. */
  progress(): void {
    this.outbox.progress();
  }

  flush(): void {
    this.outbox.flush();
  }

  /** Drops all bytes that wait to be written. */
  clear(): void {
    this.half = '';
    this.outbox.clear();
  }

  /**
   * Sets the length of the body in bytes, if the application has declared it. Heartbeats and the like are then not sent. The body may have ended
   * already, if the platform has taken longer to complete the head.
   */
  declare(length: number | undefined): void {
    if (length !== undefined && this.owner.transport.hasBody) {
      this.outbox.declared = length;
    }
  }

  /** Whether bytes may be sent that are not from the application, since it has declared no length. */
  get extensible(): boolean {
    return this.outbox.declared === undefined;
  }

  choose(chosen: ChosenFormat): void {
    this.chosen = chosen;
    this.encoding = Encoding.of(chosen.format);
  }

  /** Chooses the format of a stream that ends without a chunk, unless it is chosen already. */
  chooseEmpty(): void {
    if (this.format === undefined) {
      this.choose(this.owner.transport.hasBody ? EMPTY : PASSTHROUGH);
    }
  }

  /** Encodes a chunk. Returns a promise if the chunk is an event with a promise as data. */
  encode(chunk: unknown): Encoded | Promise<Encoded> {
    try {
      const { encoding } = this;
      if (typeof chunk === 'string' && encoding?.encodeString !== undefined) {
        return encoding.encodeString(chunk);
      }
      encoding?.prepare();
      if (chunk instanceof HubEvent) {
        this.hasIds = true;
        const format = this.formatFor(chunk.data);
        return this.encoding?.counts ? encodeHubEvent(chunk, format) : encodeShared(chunk, format);
      }
      const event = eventIn(chunk, this.owner.settings.events);
      return event === undefined ? this.encodeData(chunk) : this.encodeEvent(event);
    } catch (cause) {
      markHandled(chunk);
      const code = isError(cause) && cause instanceof StreamError ? cause.code : 'not-serializable';
      const how = this.format ? ` as ${this.format.name}` : '';
      throw new StreamError(code, `${this.owner.settings.route}: a chunk cannot be sent${how}: ${textOf(cause)}`, {
        cause,
      });
    }
  }

  private encodeEvent(event: StreamEvent): Encoded | Promise<Encoded> {
    const { data } = event;
    if (isThenable(data)) {
      return Promise.resolve(data).then((value) => this.encode({ ...event, data: value }));
    }
    if (this.format?.fields) {
      this.hasIds ||= !(isAbsent(event.id) && isAbsent(event.retry));
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
    if (this.owner.settings.events === 'explicit') {
      throw noJson(data);
    }
    // Nest's own `@Sse()` sends events without data for the values of a `Subject<void>`, which clients ignore.
    return '';
  }

  /** Returns the format. If it is not chosen yet, the data decides. */
  private formatFor(data: unknown): StreamFormat {
    if (this.format) {
      return this.format;
    }
    const chosen = this.owner.settings.formatOfChunk(data);
    this.choose(chosen);
    return chosen.format;
  }

  /** Adds an encoded chunk. */
  put(encoded: Encoded): void {
    if (encoded.length === 0 || this.stage === 'silent') {
      return;
    }
    this.counted++;
    if (this.encoding?.framed) {
      this.putFrame(encoded);
    } else {
      this.stage = 'begun';
      this.encoding?.continues === false ? this.outbox.add(encoded) : this.add(encoded);
    }
  }

  /** Adds bytes that do not count as a chunk. With `soon`, they are written at once: many clients are sent the same ones. */
  insert(encoded: Encoded, soon = false): void {
    if (encoded.length > 0 && this.stage !== 'silent') {
      soon && typeof encoded === 'string' ? this.outbox.shareText(encoded) : this.outbox.add(encoded);
    }
  }

  /** Sends an id that the client is to remember, if the format has a record for that. */
  putPosition(id: string, soon = false): void {
    this.hasIds = true;
    this.insert(this.format?.position?.(id) ?? '', soon);
  }

  /**
   * Adds the event `shutdown`, which asks the client to come back, if the format has events.
   * @param retry the time until then, in milliseconds. `undefined`: nothing is sent
   */
  putShutdown(retry: number | undefined): void {
    const { format } = this;
    if (retry !== undefined && format?.fields && this.extensible) {
      this.put(format.encode({ type: 'shutdown', retry, data: {} }, this.hasIds));
    }
  }

  /** Whether the bytes of a chunk are the same for all clients of the format, and are sent at the same time. */
  get shareable(): boolean {
    const { encoding } = this;
    const alike = encoding !== undefined && !encoding.counts && !encoding.framed;
    return alike && this.stage !== 'silent' && this.owner.settings.flush === 'auto';
  }

  /** Writes a chunk that many connections share, after the waiting bytes. Returns whether the client can take more. */
  share(chunk: SharedChunk): boolean {
    if (!this.empty) {
      this.flush();
    }
    this.hasIds = true;
    this.counted += chunk.count;
    if (chunk.partial !== undefined || this.half !== '') {
      this.add(chunk.partial ?? chunk.bytes);
    } else if (chunk.size <= LARGE || this.owner.transport.whole) {
      this.outbox.share(chunk);
    } else {
      for (const slice of chunk.slices) {
        this.outbox.share(slice);
      }
    }
    return !this.blocked;
  }

  /** Adds the bytes after the last chunk. */
  close(code: StreamCloseCode): void {
    this.reportDropped();
    this.addHalf();
    this.insert(joined(this.opener, this.encoding?.tail(code) ?? ''));
    this.stage = 'silent';
  }

  /** Adds the record of an error, if the format has one. Returns whether it has. */
  putError(body: StreamErrorBody, error: unknown): boolean {
    const { format } = this;
    let record: Encoded = '';
    if (this.extensible) {
      this.reportDropped();
      this.addHalf();
      const before = this.opener;
      record = format?.error?.(body, this.owner.settings.errorEvent, error) ?? '';
      this.insert(record.length > 0 ? joined(before, record) : '');
    }
    this.stage = 'silent';
    return record.length > 0;
  }

  /** Sends a heartbeat, or the position of a client of a hub. If the format has none, the transport checks the connection instead. */
  sendHeartbeat(position?: string): void {
    const { heartbeat } = this.format ?? {};
    if (position !== undefined && this.format?.position && this.extensible) {
      this.putPosition(position, true);
    } else if (heartbeat === undefined || heartbeat === false || !this.extensible) {
      this.owner.transport.probe();
      this.progress();
    } else {
      this.insert(typeof heartbeat === 'string' ? heartbeat : heartbeat(this.hasIds), true);
    }
    this.flush();
  }

  /** Counts chunks that the source has written past the body. */
  count(chunks: number): void {
    this.counted += chunks;
  }

  /** Decides what to do with one more chunk whose sender does not wait. */
  admit(alsoWaiting: number): Verdict {
    return admit(this, this.owner.settings, alsoWaiting);
  }

  /** Counts a dropped chunk. `queued`: it was counted as one of the body. */
  onDropped(queued: boolean): void {
    this.counted -= queued ? 1 : 0;
    this.losses.count();
  }

  /** Called when the transport can accept more bytes. */
  onDrain(): void {
    this.outbox.onDrain();
    if (this.blocked) {
      return;
    }
    this.reportDropped();
    this.waiters?.resolve();
  }

  /** Resolves when the client can take more. Rejects if the stream ends before that. */
  drained(): Promise<void> {
    this.waiters ??= new Waiters();
    return this.waiters.wait();
  }

  /** Drops all waiting bytes, and rejects the promises of {@link drained}. */
  release(reason: () => StreamCloseError): void {
    this.stage = 'silent';
    this.clear();
    this.waiters?.reject(reason);
  }

  /** The bytes before the first chunk, or an empty string if there was a chunk already. */
  private get opener(): Encoded {
    return this.stage === 'empty' ? (this.encoding?.head ?? '') : '';
  }

  /** Adds a chunk. If a string ends with half of a surrogate pair, the next string continues it. */
  private add(chunk: Encoded): void {
    if (typeof chunk !== 'string') {
      this.addHalf();
      this.outbox.add(chunk);
      return;
    }
    let text = this.half + chunk;
    this.half = '';
    if (endsInHalf(text)) {
      this.outbox.demandOrder();
      this.half = text.slice(-1);
      text = text.slice(0, -1);
    }
    if (text !== '') {
      this.outbox.add(text);
    }
  }

  /** Adds the waiting half of a surrogate pair, because its second half does not follow. It is sent as U+FFFD. */
  private addHalf(): void {
    const { half } = this;
    if (half !== '') {
      this.half = '';
      this.outbox.add(half);
    }
  }

  private putFrame(encoded: Encoded): void {
    const { outbox } = this;
    const begins = this.stage === 'empty';
    const before = begins ? this.opener : (this.format?.separator ?? '');
    this.stage = 'begun';
    if (outbox.held) {
      // No chunk is dropped while all are held, so they are added separately. That avoids a copy of shared bytes.
      this.add(before);
      this.add(encoded);
      return;
    }
    // Added as one piece, so that a dropped chunk is dropped together with its separator.
    this.add(joined(before, encoded));
    if (begins) {
      outbox.keepOldest();
    }
  }

  private reportDropped(): void {
    const { format, lost } = this;
    if (lost === undefined || lost.unreported === 0) {
      return;
    }
    const { unreported: dropped } = lost;
    lost.unreported = 0;
    lost.lagged++;
    this.owner.settings.services.logger.warn(
      `${this.owner.settings.route}: ${dropped} chunks were dropped for a client that is too slow`,
    );
    this.put(format?.lagged?.(dropped) ?? '');
  }
}
