import type { BrokerRecord } from '../broker/broker.js';
import { HubEvent, type HubReset, type SharedEncoder } from '../event/hub-event.js';
import { encodeHubEvent } from '../format/encode-hub-event.js';
import type { StreamFormat } from '../format/format.js';
import { JSON_FORMATS } from '../format/formats.js';
import { SerializedJson } from '../format/json-text.js';
import { takesJsonText } from '../format/message.formats.js';
import { SharedChunk } from '../transport/shared-chunk.js';
import { EVENT_COST } from '../util/queue-limits.js';
import type { ByteBudget, Evictable } from './byte-budget.js';

/** About as much is written at once: what a slow client has not taken of it waits outside of the bounds of its queue. */
export const CHUNK = 65_536;
/** About how many times as much as its text decoded JSON takes. */
const DECODED = 4;

interface Encoding {
  readonly format: StreamFormat;
  encoded: string | Uint8Array;
  /** The bytes as they are written, of a large event. */
  chunk?: SharedChunk;
}

/**
 * What goes to subscribers, encoded once per format however many there are. While it is in the history, what is made of it is
 * kept within the budget of its hub, and else made again; later as long as somebody has it in a backlog.
 */
export class LogEvent implements Evictable, SharedEncoder {
  /** How many bytes its data has. */
  readonly size: number;
  private made: HubEvent | undefined;
  private encodings: Encoding[] = [];

  /**
   * @param seq its number in this process: counts up by one, whatever becomes of the log
   * @param source the record, or what the hub has to say itself, to everyone
   */
  constructor(
    readonly seq: number,
    readonly id: string,
    private readonly source: BrokerRecord | HubEvent,
    private budget?: ByteBudget,
  ) {
    this.size = source instanceof HubEvent ? 0 : Buffer.byteLength(source.data);
  }

  /** What it counts for in a queue. */
  get weight(): number {
    return this.isNotice ? 0 : this.size + EVENT_COST;
  }

  static reset(seq: number, id: string, data: HubReset): LogEvent {
    return new LogEvent(seq, id, HubEvent.of({ type: 'reset', data }, id));
  }

  /** Whether it is for everyone, whatever they listen to. */
  get isNotice(): boolean {
    return this.source instanceof HubEvent;
  }

  get topic(): string | undefined {
    return this.source.topic;
  }

  /** Whether it is this record. */
  is({ data, time }: BrokerRecord): boolean {
    return !(this.source instanceof HubEvent) && this.source.data === data && this.source.time === time;
  }

  /** Whether it is for those who listen to these topics; to all, without. */
  isFor(topics: ReadonlySet<string> | undefined): boolean {
    return this.isNotice || topics === undefined || (this.topic !== undefined && topics.has(this.topic));
  }

  /** What it supersedes others by: its key within its topic. */
  get key(): string | undefined {
    const { key, topic = '' } = this.source;
    return key === undefined ? undefined : `${topic}\n${key}`;
  }

  /** As its subscribers see it. */
  get event(): HubEvent {
    const { source } = this;
    if (source instanceof HubEvent) {
      return source;
    }
    if (!this.made) {
      this.made = new HubEvent({ ...source, id: this.id, data: decoded(source) }, this);
      this.budget?.use(this);
    }
    return this.made;
  }

  encode(format: StreamFormat): string | Uint8Array {
    return this.encodingFor(format).encoded;
  }

  /** The bytes of a large event, which are the same for all who are sent them in a format. */
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
    this.encodings = [];
  }

  /** It is in the history no more: only a backlog may still have it. */
  leaveHistory(): void {
    this.budget?.release(this);
    this.budget = undefined;
  }

  /** What a single connection is written: of a large event the bytes that all others are written too. */
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
      encoding = { format, encoded: alone(this.encodeNow(format)) };
      this.encodings.push(encoding);
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

/** It may be kept for long: not as a part of memory that others are in too. */
function alone(encoded: string | Uint8Array): string | Uint8Array {
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
