import { StreamError } from '../errors.js';
import { isBinary, toBytes } from './binary.js';
import { display, fieldText, retryText, type StreamEvent } from './event.js';
import type { StreamFormat } from './format.js';
import { jsonText } from './json-text.js';

// stream = [ bom ] *event ; event = *( comment / field ) end-of-line ; end-of-line = ( cr lf / cr / lf )
// https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
const END_OF_LINE = /\r\n|\r|\n/;

function hasLineBreak(text: string): boolean {
  return text.includes('\n') || text.includes('\r');
}

function lines(prefix: string, text: string): string {
  return hasLineBreak(text) ? `${prefix}${text.split(END_OF_LINE).join(`\n${prefix}`)}\n` : `${prefix}${text}\n`;
}

function dataText(data: unknown): string {
  if (typeof data === 'string') {
    return data;
  }
  return isBinary(data) ? toBytes(data).toString('base64') : jsonText(data);
}

function typeField(type: unknown): string {
  const text = fieldText(type);
  if (text === undefined || hasLineBreak(text)) {
    throw new StreamError('invalid-event', `The type of an event is a string without CR or LF, not ${display(type)}`);
  }
  return text === '' ? '' : `event: ${text}\n`;
}

function idField(id: unknown): string {
  const text = fieldText(id);
  if (text === undefined || hasLineBreak(text) || text.includes('\0')) {
    throw new StreamError('invalid-event', `The id of an event is a string without CR, LF or NUL, not ${display(id)}`);
  }
  return `id: ${text}\n`;
}

/**
 * One Server-Sent Event as it goes on the wire, with the empty line that ends it. For hand-written use;
 * `@Stream` and `@Sse` do it for you.
 *
 * `data` is split at CRLF, LF and CR, as the WHATWG text parses it.
 *
 * @throws {StreamError} `invalid-event` for a CR or LF in `type` or `id`, a NUL in `id`, or a `retry` that
 * does not consist of digits: a client would misread it. `not-serializable` for data without a JSON form.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * @example
 * ```ts
 * formatSse({ type: 'price', id: '7', data: { eur: 4.2 } });
 * // 'event: price\nid: 7\ndata: {"eur":4.2}\n\n'
 * ```
 */
export function formatSse({ type, id, retry, comment, data }: StreamEvent): string {
  let text = '';
  if (type !== undefined && type !== null) {
    text += typeField(type);
  }
  if (id !== undefined && id !== null) {
    text += idField(id);
  }
  if (retry !== undefined && retry !== null) {
    text += `retry: ${retryText(retry)}\n`;
  }
  if (comment !== undefined && comment !== null) {
    text += lines(': ', String(comment));
  }
  if (data !== undefined) {
    text += lines('data: ', dataText(data));
  }
  return `${text}\n`;
}

function encodeSse(event: StreamEvent): string {
  const text = formatSse(event);
  return text === '\n' ? '' : text;
}

/** Server-Sent Events (WHATWG HTML §9.2). Heartbeats are comments. */
export const sseFormat: StreamFormat = {
  name: 'sse',
  mediaTypes: ['text/event-stream'],
  fields: true,
  encode: (event) => encodeSse(event as StreamEvent),
  heartbeat: ':\n\n',
  lagged: (dropped) => formatSse({ type: 'lagged', data: { dropped } }),
  // An event without data is none, but its id becomes the last event ID ("dispatch the event", step 1).
  position: (id) => formatSse({ id }),
  error: (body, type) => formatSse({ type, data: body.message }),
};
