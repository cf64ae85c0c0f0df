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
import type { Transport } from '../../transport/transport.js';
import { isError, textOf } from '../../util/error-text.js';
import { type StreamCloseError, StreamError } from '../../util/errors.js';
import { type Losses, PROMISE_COST } from '../../util/queue-limits.js';
import { isThenable, shelter } from '../../util/thenable.js';
import type { BodySettings } from './body-settings.js';
import { Encoding } from './encoding.js';
import { Outbox, type OutboxOwner } from './outbox.js';
import { Waiters } from './waiters.js';

/** What a stream is that has nothing to tell its format by. */
const EMPTY = chooseFormat(ndjsonFormat);

/** Shared chunks above it are written in slices, so that a client that takes some of it is seen to take something. */
const LARGE = 131_072;

/** Counts the chunks that a client was not sent, and those of them that it still has to be told about. */
class LossCount implements Losses {
  dropped = 0;
  lagged = 0;
  untold = 0;
}

/** The body of a stream: chunks in their format on their way out, within the bounds of the queue. */
export class Body {
  /** The format with its content type, once it is chosen. */
  private chosen: ChosenFormat | undefined;
  private encoding: Encoding | undefined;
  /** `silent`: nothing is sent in answer to HEAD, with a status that has no body, or after the end. */
  private stage: 'empty' | 'begun' | 'silent' = 'empty';
  /** Whether an id has been, or is being, sent. */
  hasIds = false;
  /** How many chunks it was given, without those it has dropped. */
  chunks = 0;
  /** What it has dropped, if anything. */
  lost: LossCount | undefined;
  /** The first half of a surrogate pair at the end of the last string. It waits for the second half, as in `TextEncoderStream`. */
  private half = '';
  private waiters: Waiters | undefined;
  readonly outbox: Outbox;

  /** @param chosen the format, or `undefined` when the first chunk decides */
  constructor(
    private readonly transport: Transport,
    private readonly settings: BodySettings,
    chosen: ChosenFormat | undefined,
    owner: OutboxOwner,
  ) {
    this.outbox = new Outbox(transport, settings, owner);
    if (chosen) {
      this.choose(chosen);
    }
  }

  get format(): StreamFormat | undefined {
    return this.encoding?.format;
  }

  get contentType(): ContentType | undefined {
    return this.chosen?.contentType;
  }

  /** How many bytes were handed to the transport. */
  get bytes(): number {
    return this.outbox.bytes;
  }

  /** See {@link Outbox}. */
  get blocked(): boolean {
    return this.outbox.blocked;
  }

  /** Whether nothing waits to be written. The half of a character does not count. */
  get empty(): boolean {
    return this.outbox.empty;
  }

  /** About how many bytes wait to be written. */
  get size(): number {
    return this.outbox.size;
  }

  /** When the client was last seen to take something, on the clock of the streams. */
  get progressAt(): number {
    return this.outbox.progressAt;
  }

  /** Counts what is dropped: most streams drop nothing. */
  get losses(): Losses {
    this.lost ??= new LossCount();
    return this.lost;
  }

  /** Whether the body was given nothing, not even the half of a character. */
  get void(): boolean {
    return this.empty && this.half === '';
  }

  /** The head is fixed: whether there will be a body is known. */
  open(): void {
    if (!this.transport.hasBody) {
      this.stage = 'silent';
    }
  }

  /** Notes that the client took something, or is not expected to have. */
  progress(): void {
    this.outbox.progress();
  }

  flush(): void {
    this.outbox.flush();
  }

  /** Drops what waits: nobody will read it. */
  clear(): void {
    this.half = '';
    this.outbox.clear();
  }

  /** Sets how many bytes it has to have, if that is known. What is sent for the connection's sake is then left out. */
  declare(length: number | undefined): void {
    if (length !== undefined && this.stage !== 'silent') {
      this.outbox.declared = length;
    }
  }

  /** Whether bytes may be sent that the application has not counted. */
  get extensible(): boolean {
    return this.outbox.declared === Infinity;
  }

  choose(chosen: ChosenFormat): void {
    this.chosen = chosen;
    this.encoding = Encoding.of(chosen.format);
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
      if (this.encoding?.counts) {
        void this.encoding.head;
      }
      if (chunk instanceof HubEvent) {
        this.hasIds = true;
        const format = this.formatFor(chunk.data);
        return !this.encoding?.counts ? encodeShared(chunk, format) : encodeHubEvent(chunk, format);
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
    if (encoded.length === 0 || this.stage === 'silent') {
      return;
    }
    this.chunks++;
    if (this.encoding?.framed) {
      this.putFrame(encoded);
    } else {
      this.stage = 'begun';
      this.encoding?.continues === false ? this.outbox.add(encoded) : this.add(encoded);
    }
  }

  /** Adds what is no chunk of its own, as it is. */
  insert(encoded: Encoded): void {
    if (encoded.length > 0 && this.stage !== 'silent') {
      this.outbox.add(encoded);
    }
  }

  /** Makes the client remember an id, if the format has a record for that. */
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
    const { encoding } = this;
    const alike = encoding !== undefined && !encoding.counts && !encoding.framed;
    return alike && this.stage !== 'silent' && this.settings.flush === 'auto';
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
      this.outbox.share(chunk);
    } else {
      for (const slice of chunk.slices) {
        this.outbox.share(slice);
      }
    }
    return !this.blocked;
  }

  /** Adds what stands after the last chunk. */
  close(): void {
    this.tellDropped();
    this.addHalf();
    this.insert(joined(this.opener, this.encoding?.tail ?? ''));
    this.stage = 'silent';
  }

  /** Adds the record of an error, if the format has one. Whether its clients know that record as the end. */
  putError(body: StreamErrorBody, error: unknown): boolean {
    const { format } = this;
    let record: Encoded = '';
    if (this.extensible) {
      this.tellDropped();
      this.addHalf();
      const before = this.opener;
      record = format?.error?.(body, this.settings.errorEvent, error) ?? '';
      this.insert(record.length > 0 ? joined(before, record) : '');
    }
    this.stage = 'silent';
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
    const { outbox } = this;
    if (outbox.held) {
      return 'take';
    }
    const { items, bytes } = this.settings.queue;
    const full = (): boolean =>
      outbox.queuedItems + alsoWaiting >= items || outbox.queuedCost + alsoWaiting * PROMISE_COST >= bytes;
    if (!full()) {
      return 'take';
    }
    const { overflow } = this.settings;
    if (overflow === 'disconnect') {
      return 'disconnect';
    }
    while (overflow === 'drop-oldest' && full() && outbox.dropOldest()) {
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
  onDrain(): void {
    this.outbox.onDrain();
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

  /** Drops what waits, and rejects the promises of {@link drained}. */
  release(reason: () => StreamCloseError): void {
    this.stage = 'silent';
    this.clear();
    this.waiters?.reject(reason);
  }

  /** What stands before the first chunk, as long as there was none. */
  private get opener(): Encoded {
    return this.stage === 'empty' ? (this.encoding?.head ?? '') : '';
  }

  /** Adds a chunk. A string is text that the next string continues. */
  private add(chunk: Encoded): void {
    if (typeof chunk !== 'string') {
      this.addHalf();
      this.outbox.add(chunk);
      return;
    }
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
      this.outbox.add(text);
    }
  }

  /** Adds the half of a character that waits, as what follows is not its second half. It becomes U+FFFD. */
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
      // Nothing is dropped, and what many are sent is not copied.
      this.add(before);
      this.add(encoded);
      return;
    }
    // One piece, so that a chunk that is dropped takes what stands before it along.
    this.add(joined(before, encoded));
    if (begins) {
      outbox.keepOldest();
    }
  }

  private lose(): void {
    this.lost ??= new LossCount();
    this.lost.untold++;
    this.lost.dropped++;
  }

  private tellDropped(): void {
    const { format, lost } = this;
    if (lost === undefined || lost.untold === 0) {
      return;
    }
    const { untold: dropped } = lost;
    lost.untold = 0;
    lost.lagged++;
    this.settings.services.logger.warn(
      `${this.settings.route}: ${dropped} chunks were dropped for a client that is too slow`,
    );
    this.put(format?.lagged?.(dropped) ?? '');
  }
}
