import { StreamError } from '../errors.js';
import { isBinary, toBytes } from './binary.js';
import { isEvent, type StreamEvent } from './event.js';
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
  if (typeof type !== 'string' || hasLineBreak(type)) {
    throw new StreamError(
      'invalid-event',
      `The type of an event is a string without CR or LF, not ${JSON.stringify(type)}`,
    );
  }
  return type === '' ? '' : `event: ${type}\n`;
}

function idField(id: unknown): string {
  const text = typeof id === 'number' ? String(id) : id;
  if (typeof text !== 'string' || hasLineBreak(text) || text.includes('\0')) {
    throw new StreamError(
      'invalid-event',
      `The id of an event is a string without CR, LF or NUL, not ${JSON.stringify(id)}`,
    );
  }
  return `id: ${text}\n`;
}

function retryField(retry: unknown): string {
  if (!Number.isSafeInteger(retry) || (retry as number) < 0) {
    throw new StreamError(
      'invalid-event',
      `The retry of an event is a whole number of milliseconds, not ${String(retry)}`,
    );
  }
  return `retry: ${retry as number}\n`;
}

/**
 * One Server-Sent Event as it goes on the wire, with the empty line that ends it. For hand-written use;
 * `@Stream` and `@Sse` do it for you.
 *
 * `data` is split at CRLF, LF and CR, as the WHATWG text parses it.
 *
 * @throws {StreamError} `invalid-event` for a CR or LF in `type` or `id`, a NUL in `id`, or a `retry` that
 * is not a whole number: a client would misread it. `not-serializable` for data without a JSON form.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * @example
 * ```ts
 * formatSse({ type: 'price', id: '7', data: { eur: 4.2 } });
 * // 'event: price\nid: 7\ndata: {"eur":4.2}\n\n'
 * ```
 */
export function formatSse(event: StreamEvent): string {
  let text = '';
  if (event.type !== undefined && event.type !== null) {
    text += typeField(event.type);
  }
  if (event.id !== undefined && event.id !== null) {
    text += idField(event.id);
  }
  if (event.retry !== undefined && event.retry !== null) {
    text += retryField(event.retry);
  }
  if (event.comment !== undefined && event.comment !== null) {
    text += lines(': ', String(event.comment));
  }
  if (event.data !== undefined) {
    text += lines('data: ', dataText(event.data));
  }
  return `${text}\n`;
}

function encodeSse(value: unknown): string {
  if (typeof value === 'string') {
    return hasLineBreak(value) ? `${lines('data: ', value)}\n` : `data: ${value}\n\n`;
  }
  if (isEvent(value)) {
    return formatSse(value);
  }
  // JSON text and base64 have no line breaks.
  return `data: ${dataText(value)}\n\n`;
}

/** Server-Sent Events (WHATWG HTML §9.2). Heartbeats are comments. */
export const sseFormat: StreamFormat = {
  name: 'sse',
  mediaTypes: ['text/event-stream'],
  fields: true,
  encode: encodeSse,
  heartbeat: ':\n\n',
  lagged: (dropped) => formatSse({ type: 'lagged', data: { dropped } }),
  // An event without data is none, but its id becomes the last event ID ("dispatch the event", step 1).
  position: (id) => formatSse({ id }),
  error: (body, type) => formatSse({ type, data: body.message }),
};
