import { isUtf8 } from 'node:buffer';
import { isPosition, POSITION, retryText, type StreamEvent } from '../event/event.js';
import { isBinary, toBytes } from './binary.js';
import type { Encoded, StreamFormat, StreamFormatState } from './format.js';
import { ALL_FORMATS, FORMATS } from './formats.js';
import { binaryFrame, textFrame, utf8Frame } from './frame.js';
import { jsonText } from './json-text.js';
import { bytesFormat, encodeText, textFormat } from './text.format.js';

/** Encodes a chunk as one framed WebSocket message, or as an empty string, which sends nothing. */
type Encode = (value: unknown, hasIds?: boolean) => Uint8Array | '';

/** Records in the same form as those of NDJSON. */
const RECORDS: Pick<StreamFormat, 'lagged' | 'reset' | 'error'> = {
  lagged: (dropped) => textFrame(jsonText({ lagged: { dropped } })),
  reset: (reset) => textFrame(jsonText({ reset })),
  error: (body) => textFrame(jsonText({ error: body })),
};

const encodeJson: Encode = (value) => textFrame(jsonText(value));

/** Sends a string as it is, and any other value as JSON. */
const encodeData: Encode = (value) => (typeof value === 'string' ? textFrame(value) : encodeJson(value));

/** Like {@link encodeData}, but sends binary data as a binary message. For routes without the option `format`. */
const encodeAny: Encode = (value) => (isBinary(value) ? binaryFrame(toBytes(value)) : encodeData(value));

/** A text message has to be valid UTF-8 (RFC 6455 §8.1). Other bytes, such as a chunk of a file that ends within a character, are a binary message. */
const encodeAsText: Encode = (value) => {
  if (isBinary(value)) {
    const bytes = toBytes(value);
    return isUtf8(bytes) ? utf8Frame(bytes) : binaryFrame(bytes);
  }
  return typeof value === 'object' ? encodeJson(value) : encodeData(encodeText(value));
};

const encodeAsBytes: Encode = (value) =>
  isBinary(value)
    ? binaryFrame(toBytes(value))
    : binaryFrame(Buffer.from(typeof value === 'object' ? jsonText(value) : encodeText(value)));

/** Returns the result of a custom format as a message. */
function framed(encoded: Encoded): Uint8Array | '' {
  if (encoded.length === 0) {
    return '';
  }
  return typeof encoded === 'string' ? textFrame(encoded) : binaryFrame(encoded);
}

function messageFormatOf(base: StreamFormat, encode: Encode, records: Partial<StreamFormat>): StreamFormat {
  return { name: base.name, mediaTypes: base.mediaTypes, encode, ...records };
}

/**
 * Returns the messages of a custom format, or of the one that it has for messages. Its `open` and `close` are messages, `separator` is not sent, pings replace its
 * `heartbeat`, and its `status` is for HTTP responses only.
 */
function customMessages(format: StreamFormat): StreamFormat {
  const base = format.messages ?? format;
  const { fields, headers, truncate, lagged, reset, position, error, perStream } = base;
  return messageFormatOf(format, (value, hasIds) => framed(base.encode(value, hasIds)), {
    fields,
    headers,
    truncate,
    open: base.open === undefined ? undefined : framed(base.open),
    close: base.close === undefined ? undefined : framed(base.close),
    lagged: lagged && ((dropped, id) => framed(lagged(dropped, id))),
    reset: reset && ((body) => framed(reset(body))),
    position: position && ((id) => framed(position(id))),
    error: error && ((body, type, thrown) => framed(error(body, type, thrown))),
    perStream: perStream && (() => framedState(perStream.call(base))),
  });
}

/** Returns the state of one stream, with each of its results as a message. */
function framedState(state: StreamFormatState): StreamFormatState {
  return {
    encode: state.encode && ((value) => framed(state.encode?.(value) ?? '')),
    open: state.open && (() => framed(state.open?.() ?? '')),
    close: state.close && ((code) => framed(state.close?.(code) ?? '')),
    error: state.error && ((body, type, thrown) => framed(state.error?.(body, type, thrown) ?? '')),
  };
}

/** Returns the fields of an event that are set, each as `"name":value`. */
function members(event: StreamEvent): string {
  const { id, type, data, retry } = isPosition(event) ? { ...event, type: POSITION, data: {} } : event;
  const parts: string[] = [];
  if (id !== undefined && id !== null) {
    parts.push(`"id":${JSON.stringify(String(id))}`);
  }
  if (type !== undefined && type !== null && type !== '') {
    parts.push(`"type":${JSON.stringify(String(type))}`);
  }
  if (retry !== undefined && retry !== null) {
    parts.push(`"retry":${Number(retryText(retry))}`);
  }
  if (data !== undefined) {
    parts.push(`"data":${jsonText(data)}`);
  }
  return parts.join(',');
}

const encodeEvent: Encode = (value) => {
  const text = members(value as StreamEvent);
  // An event with only a comment is not sent: this format has no comments.
  return text === '' ? '' : textFrame(`{${text}}`);
};

/** Returns the format of the subprotocol `events.v1+json`: each message is a JSON object with the fields of an event. */
function eventMessages(base: StreamFormat): StreamFormat {
  return messageFormatOf(base, encodeEvent, {
    fields: true,
    lagged: (dropped, id) => encodeEvent({ id, type: 'lagged', data: { dropped } }),
    position: (id) => encodeEvent({ id, type: POSITION, data: {} }),
    error: (body, type) => encodeEvent({ type, data: body }),
  });
}

/** The format of a route without the option `format`. */
const ANY: StreamFormat = messageFormatOf({ ...FORMATS.ndjson, name: 'message' }, encodeAny, RECORDS);

/** The formats that were created. All routes share them, so that a hub encodes an event once for all routes. */
const made = {
  data: new Map<StreamFormat | undefined, StreamFormat>([
    [undefined, ANY],
    [textFormat, messageFormatOf(textFormat, encodeAsText, {})],
    [bytesFormat, messageFormatOf(bytesFormat, encodeAsBytes, {})],
    [FORMATS.sse, messageFormatOf(FORMATS.sse, encodeData, RECORDS)],
  ]),
  events: new Map<StreamFormat | undefined, StreamFormat>([[undefined, eventMessages(ANY)]]),
};
const builtIn = new Set<StreamFormat>([...ALL_FORMATS, FORMATS.jsonl]);
/** The formats that can send JSON text unchanged. */
const ofJsonText = new WeakSet<StreamFormat>([...made.data.values(), ...made.events.values()]);

/** Returns whether a format is not built in. A custom format has no form for `events.v1+json`. */
export function isCustom(format: StreamFormat | undefined): boolean {
  return format !== undefined && !builtIn.has(format);
}

/** Returns whether a message format can send JSON text unchanged. */
export function takesJsonText(format: StreamFormat): boolean {
  return ofJsonText.has(format);
}

/**
 * Returns the format of WebSocket messages for a route. Each chunk is encoded as one complete frame.
 * @param base the format of the route over HTTP; `undefined` for a route without the option `format`
 * @param events whether the client has chosen the subprotocol `events.v1+json`
 */
export function messageFormat(base: StreamFormat | undefined, events: boolean): StreamFormat {
  const known = events ? made.events : made.data;
  let format = known.get(base);
  if (!format && base) {
    const custom = isCustom(base);
    format = custom ? customMessages(base) : events ? eventMessages(base) : messageFormatOf(base, encodeJson, RECORDS);
    if (!custom) {
      ofJsonText.add(format);
    }
    known.set(base, format);
  }
  return format ?? ANY;
}

/** The format for the body of a web `Response`. */
export const PASSTHROUGH_MESSAGES: StreamFormat = messageFormat(bytesFormat, false);
