import type { BrokerRecord } from '../broker/broker.js';
import type { StreamFormat } from '../format/format.js';
import { FORMATS } from '../format/formats.js';
import { HubEvent, HubNotice, type HubReset } from '../format/hub-event.js';
import { takesJsonText } from '../format/message.formats.js';
import { SerializedJson } from '../format/serialized-json.js';

/** Formats that take JSON text over. Others are given the value. */
const JSON_FORMATS: ReadonlySet<StreamFormat> = new Set(
  (['sse', 'ndjson', 'jsonl', 'json-seq', 'json'] as const).map((name) => FORMATS[name]),
);

type Encoded = string | Uint8Array;

/** What goes to subscribers, encoded once per format however many there are. */
export class LogEvent {
  /** Bytes that wait with it: those of its data, about. */
  readonly size: number;
  private made: HubEvent | undefined;
  private readonly encoded: [StreamFormat, Encoded][] = [];

  /**
   * @param seq its number in this process: counts up by one, whatever becomes of the log
   * @param source the record, or what the hub has to say itself, to everyone
   */
  constructor(
    readonly seq: number,
    readonly id: string,
    private readonly source: BrokerRecord | HubNotice,
  ) {
    this.size = source instanceof HubNotice ? 0 : Buffer.byteLength(source.data);
  }

  static reset(seq: number, id: string, data: HubReset): LogEvent {
    return new LogEvent(seq, id, HubNotice.reset(id, data));
  }

  /** Whether it is for everyone, whatever they listen to. */
  get isNotice(): boolean {
    return this.source instanceof HubNotice;
  }

  get topic(): string | undefined {
    return this.source.topic;
  }

  /** Whether it is this record. */
  is({ data, time }: BrokerRecord): boolean {
    return !(this.source instanceof HubNotice) && this.source.data === data && this.source.time === time;
  }

  /** Whether it is for those who listen to these topics; to all, without. */
  isFor(topics: readonly string[] | undefined): boolean {
    return this.isNotice || topics === undefined || (this.topic !== undefined && topics.includes(this.topic));
  }

  /** What it supersedes others by: its key within its topic. */
  get key(): string | undefined {
    const { key, topic = '' } = this.source;
    return key === undefined ? undefined : `${topic}\n${key}`;
  }

  /** As its subscribers see it. */
  get event(): HubEvent {
    const { source } = this;
    this.made ??=
      source instanceof HubNotice ? source : new HubEvent({ ...source, id: this.id, data: decoded(source) });
    return this.made;
  }

  encode(format: StreamFormat): Encoded {
    const known = this.encoded.find(([other]) => other === format);
    if (known) {
      return known[1];
    }
    const encoded = alone(this.encodeNow(format));
    this.encoded.push([format, encoded]);
    return encoded;
  }

  private encodeNow(format: StreamFormat): Encoded {
    const { source, id } = this;
    if (source instanceof HubNotice || !(JSON_FORMATS.has(format) || takesJsonText(format))) {
      return this.event.encode(format);
    }
    const data = source.encoding === 'json' ? new SerializedJson(source.data) : decoded(source);
    return format.encode(format.fields ? { id, type: source.type, data } : data);
  }
}

/** It may be kept for long: not as a part of memory that others are in too. */
function alone(encoded: Encoded): Encoded {
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
