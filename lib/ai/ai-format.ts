import { defineFormat } from '../format/define-format.js';
import type { StreamErrorBody, StreamFormat, StreamFormatState } from '../format/format.js';
import { jsonText } from '../format/json-text.js';
import { formatSse } from '../format/sse.format.js';
import { kindOf } from '../util/error-text.js';
import { type StreamCloseCode, StreamError } from '../util/errors.js';
import { type Failure, failureOf, failureOfClose } from './failure.js';

/** One event of a protocol, before it is encoded. */
export interface AiItem {
  readonly type?: string;
  readonly [field: string]: unknown;
}

/** What a protocol does with the items of one stream. */
export interface Session {
  /** Called for every item that was encoded. */
  note?(item: AiItem): void;
  /** Returns the JSON of an item. Default: `JSON.stringify`. */
  json?(item: AiItem): string;
  /** Returns the items that tell the client that the answer is not complete. */
  fail(failure: Failure): readonly AiItem[];
}

/** A protocol on top of Server-Sent Events. */
interface Protocol {
  readonly name: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Text that its clients ignore. Default: a comment. */
  readonly heartbeat?: string;
  /** Whether the `type` of an item is also the type of its event. Default: `false`, events have only data. */
  readonly named?: boolean;
  /** Whether every item has a `type`. Default: `true`. */
  readonly typed?: boolean;
  /** The types of items after which the client expects no other. */
  readonly last: ReadonlySet<string>;
  /** The data of the event at the end of every stream. Default: there is no such event. */
  readonly done?: string;
  readonly hint?: string;
  session(): Session;
}

/** A comment is one line: some clients dispatch an event at every blank line. */
const COMMENT = ':\n';

/** Returns the text that is sent for the JSON of an item. */
type Frame = (json: string, item: AiItem) => string;

const dataOnly: Frame = (json) => `data: ${json}\n\n`;
const named: Frame = (json, { type }) => formatSse({ type, data: json });
const message: Frame = (json) => json;

/** The first chunk is sent at once. Then a write every 20 ms costs less than one for every token of a fast model, up to half of it. */
const FLUSH = { bytes: 16_384, ms: 20, leading: true } as const;

/** The items of one stream as text. */
class AiStream implements StreamFormatState {
  private readonly session: Session;
  private lastType: string | undefined;

  constructor(
    private readonly protocol: Protocol,
    private readonly frame: Frame,
    private readonly done: string,
  ) {
    this.session = protocol.session();
  }

  encode(value: unknown): string {
    const item = this.itemOf(value);
    const text = this.frame(this.session.json?.(item) ?? jsonText(item), item);
    this.session.note?.(item);
    this.lastType = item.type;
    return text;
  }

  close(code: StreamCloseCode): string {
    return this.end(failureOfClose(code));
  }

  error(body: StreamErrorBody, _type: string, error: unknown): string {
    // The body only ends cleanly after a record. If the client has received its last event, that is a comment.
    return this.end(failureOf(body, error)) || (this.frame === message ? '' : COMMENT);
  }

  private end(failure: Failure | undefined): string {
    const { last } = this.protocol;
    // After its last event, the client expects no other: some report an error for it.
    const over = failure === undefined || (this.lastType !== undefined && last.has(this.lastType));
    const items = over ? [] : this.session.fail(failure);
    if (this.frame === message) {
      // The end of a WebSocket is one message.
      return items
        .slice(-1)
        .map((item) => this.encode(item))
        .join('');
    }
    return items.map((item) => this.encode(item)).join('') + this.done;
  }

  private itemOf(value: unknown): AiItem {
    const { name, typed = true, hint = '' } = this.protocol;
    if (typeof value === 'object' && value !== null && !(typed && typeof (value as AiItem).type !== 'string')) {
      return value as AiItem;
    }
    const what = typed ? 'an object with a "type"' : 'an object';
    throw new StreamError('not-serializable', `${kindOf(value)} is not ${what}, as each chunk of ${name} is${hint}`);
  }
}

/** Returns the format of a protocol. Over WebSocket, each item is a message with its JSON. */
export function aiFormat(protocol: Protocol): StreamFormat {
  const { name, headers, heartbeat = COMMENT, done } = protocol;
  const frame = protocol.named ? named : dataOnly;
  const end = done === undefined ? '' : `data: ${done}\n\n`;
  const common = { name, mediaTypes: ['text/event-stream'], truncate: false };
  return defineFormat({
    ...common,
    headers,
    status: 200,
    events: false,
    heartbeat,
    flush: FLUSH,
    perStream: () => new AiStream(protocol, frame, end),
    messages: defineFormat({ ...common, perStream: () => new AiStream(protocol, message, '') }),
  });
}
