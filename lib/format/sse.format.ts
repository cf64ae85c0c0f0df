import { display, fieldText, isAbsent, isPosition, POSITION, retryText, type StreamEvent } from '../event/event.js';
import { StreamError } from '../util/errors.js';
import { isBinary, toBytes } from './binary.js';
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
 * Returns the text of one Server-Sent Event, with the empty line that ends it. For responses that you write yourself:
 * `@Stream()` and `@Sse()` do it for you.
 *
 * `data` is split into lines at CRLF, LF and CR, as the WHATWG standard requires. An `id` without `data` and `type` becomes an event of type
 * `position` with the data `{}`. Without data, a browser would only remember the id, but other parsers dispatch an event, and fail because
 * its data is missing.
 *
 * @throws {@link StreamError} with the code `invalid-event` if `type` or `id` contains CR or LF, if `id` contains NUL, or if `retry` does not consist of digits:
 * clients would misread the event. `not-serializable` if the data has no JSON form.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 *
 * @example
 * ```ts
 * formatSse({ type: 'price', id: '7', data: { eur: 4.2 } });
 * // 'event: price\nid: 7\ndata: {"eur":4.2}\n\n'
 * ```
 */
export function formatSse(event: StreamEvent): string {
  return `${fieldsOf(event)}\n`;
}

/** Returns the lines of an event, without the empty line that ends it. */
function fieldsOf({ type, id, retry, comment, data }: StreamEvent): string {
  const position = isPosition({ data, id, type });
  const eventType = position ? POSITION : type;
  const payload = position ? {} : data;
  let text = '';
  if (!isAbsent(eventType)) {
    text += typeField(eventType);
  }
  if (!isAbsent(id)) {
    text += idField(id);
  }
  if (!isAbsent(retry)) {
    text += `retry: ${retryText(retry)}\n`;
  }
  if (!isAbsent(comment)) {
    text += lines(': ', String(comment));
  }
  if (payload !== undefined) {
    text += lines('data: ', dataText(payload));
  }
  return text;
}

/** Returns whether an event has at most a comment and a `retry`. A browser dispatches no event for it. */
function isBare({ data, id, type }: StreamEvent): boolean {
  return data === undefined && isAbsent(id) && (isAbsent(type) || type === '');
}

function encodeSse(event: StreamEvent, hasIds = false): string {
  const text = fieldsOf(event);
  // Once some parsers have seen an id or a `retry`, they dispatch an event at the next blank line, also after a comment: see `heartbeat`.
  return text === '' || (hasIds && isBare(event)) ? text : `${text}\n`;
}

/** Encodes an event that consists of a string as data. For most chunks, looking for other fields would cost more than the encoding. */
export function encodeSseString(data: string): string {
  return hasLineBreak(data) ? `${lines('data: ', data)}\n` : `data: ${data}\n\n`;
}

/** Server-Sent Events (WHATWG HTML §9.2). Heartbeats are comments. */
export const sseFormat: StreamFormat = {
  name: 'sse',
  mediaTypes: ['text/event-stream'],
  fields: true,
  encode: (event, hasIds) => encodeSse(event as StreamEvent, hasIds),
  // Once some parsers (openai-python, httpx-sse) have seen an id, they dispatch an event at every blank line, also after a comment, and after
  // a `retry` at the next one. Other parsers split the body at blank lines, and expect `data:` at the start of each part. For them, a blank
  // line follows the comment.
  heartbeat: (hasIds) => (hasIds ? ':\n' : ':\n\n'),
  lagged: (dropped) => formatSse({ type: 'lagged', data: { dropped } }),
  position: (id) => formatSse({ id }),
  error: (body, type) => formatSse({ type, data: body }),
};
