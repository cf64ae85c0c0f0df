import { isUtf8 } from 'node:buffer';
import { isPosition, POSITION, retryText, type StreamEvent } from '../event/event.js';
import { isBinary, toBytes } from './binary.js';
import type { Encoded, StreamFormat, StreamFormatState } from './format.js';
import { ALL_FORMATS, FORMATS } from './formats.js';
import { binaryFrame, textFrame, utf8Frame } from './frame.js';
import { jsonText } from './json-text.js';
import { bytesFormat, encodeText, textFormat } from './text.format.js';

/** What every format makes of a chunk over WebSocket: one message, framed. */
type Encode = (value: unknown, hasIds?: boolean) => Uint8Array | '';

/** The records that stand among data, as in NDJSON. */
const RECORDS: Pick<StreamFormat, 'lagged' | 'reset' | 'error'> = {
  lagged: (dropped) => textFrame(jsonText({ lagged: { dropped } })),
  reset: (reset) => textFrame(jsonText({ reset })),
  error: (body) => textFrame(jsonText({ error: body })),
};

const encodeJson: Encode = (value) => textFrame(jsonText(value));

/** Strings as they are, JSON otherwise. */
const encodeData: Encode = (value) => (typeof value === 'string' ? textFrame(value) : encodeJson(value));

/** As {@link encodeData}; bytes as bytes. What a route without a format has. */
const encodeAny: Encode = (value) => (isBinary(value) ? binaryFrame(toBytes(value)) : encodeData(value));

/** A text message has to be UTF-8 (RFC 6455 §8.1); a chunk of a file may end within a character. */
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

/** What an encoder of the user made, as a message. */
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
 * A format of the user: what it writes before, between and after its chunks cannot be part of a message. Instead of its heartbeats there
 * are pings, and its status is that of an HTTP response.
 */
function customMessages(base: StreamFormat): StreamFormat {
  const { fields, headers, truncate, lagged, reset, position, error, perStream } = base;
  return messageFormatOf(base, (value, hasIds) => framed(base.encode(value, hasIds)), {
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

/** The state of one stream, with a message for each of what it makes. */
function framedState(state: StreamFormatState): StreamFormatState {
  return {
    encode: state.encode && ((value) => framed(state.encode?.(value) ?? '')),
    open: state.open && (() => framed(state.open?.() ?? '')),
    close: state.close && (() => framed(state.close?.() ?? '')),
    error: state.error && ((body, type, thrown) => framed(state.error?.(body, type, thrown) ?? '')),
  };
}

/** `"name":value`, for what is there. */
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
  // A comment alone says nothing here.
  return text === '' ? '' : textFrame(`{${text}}`);
};

/** One JSON object a message, with the fields of an event: the subprotocol `events.v1+json`. */
function eventMessages(base: StreamFormat): StreamFormat {
  return messageFormatOf(base, encodeEvent, {
    fields: true,
    lagged: (dropped, id) => encodeEvent({ id, type: 'lagged', data: { dropped } }),
    position: (id) => encodeEvent({ id, type: POSITION, data: {} }),
    error: (body, type) => encodeEvent({ type, data: body }),
  });
}

/** What a route without a list of formats sends. */
const ANY: StreamFormat = messageFormatOf({ ...FORMATS.ndjson, name: 'message' }, encodeAny, RECORDS);

/** Formats that stand for themselves are the same for all routes, so that a hub encodes an event once for all of them. */
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
/** Those that take JSON text over. */
const ofJsonText = new WeakSet<StreamFormat>([...made.data.values(), ...made.events.values()]);

/** Whether it is a format of the user, which has no form as `events.v1+json`. */
export function isCustom(format: StreamFormat | undefined): boolean {
  return format !== undefined && !builtIn.has(format);
}

/** Whether it is one of messages that takes JSON text over as it is. */
export function takesJsonText(format: StreamFormat): boolean {
  return ofJsonText.has(format);
}

/**
 * The format of WebSocket messages for a route: what it encodes is a whole frame each.
 * @param base the format the route has over HTTP; nothing: all
 * @param events whether the client takes events as JSON objects with their fields
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

/** What the bytes of a web `Response` are sent as. */
export const PASSTHROUGH_MESSAGES: StreamFormat = messageFormat(bytesFormat, false);
