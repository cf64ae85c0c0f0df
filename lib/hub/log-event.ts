import type { BrokerRecord } from '../broker/broker.js';
import { HubEvent, type HubReset, MEMBERS, type SharedEncoder } from '../event/hub-event.js';
import { encodeHubEvent } from '../format/encode-hub-event.js';
import type { StreamFormat } from '../format/format.js';
import { JSON_FORMATS } from '../format/formats.js';
import { SerializedJson } from '../format/json-text.js';
import { takesJsonText } from '../format/message.formats.js';
import { SharedChunk } from '../transport/shared-chunk.js';
import { EVENT_COST } from '../util/queue-limits.js';
import type { ByteBudget, Evictable } from './byte-budget.js';

/** About how many bytes are sent in one write. Bytes of a write that has begun do not count towards the queue of a slow client. */
export const CHUNK = 65_536;
/** About how much memory decoded JSON takes, as a multiple of the size of its text. */
const DECODED = 4;

interface Encoding {
  readonly format: StreamFormat;
  encoded: string | Uint8Array;
  /** The bytes of a large event, ready to be written. */
  chunk?: SharedChunk;
}

/** Shared by the events that were not encoded yet. */
const NO_ENCODINGS: readonly Encoding[] = [];

/**
 * An event of the log. It is encoded once for each format, for all subscribers. While the event is in the history, its encoded forms
 * count towards the budget of the hub: they may be evicted, and created again. After that, they are kept as long as the event is in a
 * backlog.
 */
export class LogEvent implements Evictable, SharedEncoder {
  /** The number of bytes of its data. */
  readonly size: number;
  private made: HubEvent | undefined;
  private encodings = NO_ENCODINGS;

  /**
   * @param seq its sequence number in this process, which increases by one with every event, also across epochs
   * @param source the record, or an event with a notice of the hub, which all subscribers receive
   */
  constructor(
    readonly seq: number,
    readonly id: string,
    private readonly source: BrokerRecord | HubEvent,
    private budget?: ByteBudget,
  ) {
    this.size = source instanceof HubEvent ? 0 : Buffer.byteLength(source.data);
  }

  /** The number of bytes for which it counts in a queue. */
  get weight(): number {
    return this.isNotice ? 0 : this.size + EVENT_COST;
  }

  static reset(seq: number, id: string, data: HubReset): LogEvent {
    return new LogEvent(seq, id, HubEvent.of({ type: 'reset', data }, id));
  }

  /** The id of a client that has received everything before this event. For a notice, that is its own id. */
  get idBefore(): string {
    const { source, id } = this;
    return source instanceof HubEvent ? id : `${id.slice(0, id.lastIndexOf('.'))}.${(source.offset - 1).toString(36)}`;
  }

  /** Whether it is a notice of the hub, which all subscribers receive, whatever their topics. */
  get isNotice(): boolean {
    return this.source instanceof HubEvent;
  }

  /** Whether users have published it, so that it counts for `last` of `subscribe()`. */
  get isPublished(): boolean {
    return !this.isNotice && this.source.type !== MEMBERS;
  }

  get topic(): string | undefined {
    return this.source.topic;
  }

  /** Returns whether it was created from this record. */
  is({ data, time }: BrokerRecord): boolean {
    return !(this.source instanceof HubEvent) && this.source.data === data && this.source.time === time;
  }

  /** Returns whether subscribers of these topics receive it. `undefined`: all topics. */
  isFor(topics: ReadonlySet<string> | undefined): boolean {
    return this.isNotice || topics === undefined || (this.topic !== undefined && topics.has(this.topic));
  }

  /** Its topic and key. With the overflow policy `latest`, a newer event with the same topic and key replaces it. */
  get key(): string | undefined {
    const { key, topic = '' } = this.source;
    return key === undefined ? undefined : `${topic}\n${key}`;
  }

  /** The event that subscribers receive. It is created when it is first read. */
  get event(): HubEvent {
    const { source } = this;
    if (source instanceof HubEvent) {
      return source;
    }
    if (!this.made) {
      const { type, topic, key } = source;
      this.made = new HubEvent({ id: this.id, type, data: decoded(source), topic, key }, this);
      this.budget?.use(this);
    }
    return this.made;
  }

  encode(format: StreamFormat): string | Uint8Array {
    return this.encodingFor(format).encoded;
  }

  /** Returns the bytes of a large event, which all connections of a format share. */
  share(format: StreamFormat): SharedChunk {
    const encoding = this.encodingFor(format);
    if (!encoding.chunk) {
      encoding.chunk = new SharedChunk(encoding.encoded);
      encoding.encoded = encoding.chunk.bytes;
      this.budget?.use(this);
    }
    return encoding.chunk;
  }

  get cost(): number {
    return this.encodings.reduce(
      (sum, { encoded, chunk }) => sum + (chunk?.held ?? encoded.length),
      this.made ? DECODED * this.size : 0,
    );
  }

  evict(): void {
    this.made = undefined;
    this.encodings = NO_ENCODINGS;
  }

  /** Called when the history evicts the event. From then on, only backlogs contain it. */
  leaveHistory(): void {
    this.budget?.release(this);
    this.budget = undefined;
  }

  /** Encodes the event for a single connection. For a large event, returns the bytes that all connections share. */
  encodeShared(format: StreamFormat): string | Uint8Array {
    const encoded = this.encode(format);
    if (encoded.length < CHUNK) {
      return encoded;
    }
    const { partial, bytes } = this.share(format);
    return partial ?? bytes;
  }

  private encodingFor(format: StreamFormat): Encoding {
    let encoding = this.encodings.find((each) => each.format === format);
    if (!encoding) {
      encoding = { format, encoded: unpooled(this.encodeNow(format)) };
      this.encodings = [...this.encodings, encoding];
      this.budget?.use(this);
    }
    return encoding;
  }

  private encodeNow(format: StreamFormat): string | Uint8Array {
    const { source, id } = this;
    if (source instanceof HubEvent || !(JSON_FORMATS.has(format) || takesJsonText(format))) {
      return encodeHubEvent(this.event, format);
    }
    const data = source.encoding === 'json' ? new SerializedJson(source.data) : decoded(source);
    return format.encode(format.fields ? { id, type: source.type, data } : data);
  }
}

/** Copies bytes into separate memory. They may be kept for long, and would keep the whole pool in memory that they are a part of. */
function unpooled(encoded: string | Uint8Array): string | Uint8Array {
  if (typeof encoded === 'string') {
    return encoded;
  }
  const own = Buffer.allocUnsafeSlow(encoded.length);
  own.set(encoded);
  return own;
}

function decoded({ data, encoding }: BrokerRecord): unknown {
  switch (encoding) {
    case 'json':
      return JSON.parse(data);
    case 'text':
      return data;
    case 'base64':
      return Buffer.from(data, 'base64');
  }
}
