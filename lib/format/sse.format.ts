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
 * One Server-Sent Event as it goes on the wire, with the empty line that ends it. For hand-written use;
 * `@Stream` and `@Sse` do it for you.
 *
 * `data` is split at CRLF, LF and CR, as the WHATWG text parses it. An `id` without `data` and `type` becomes an event of type `position`
 * with the data `{}`: an event without data sets the id too, but parsers other than a browser's dispatch it, and fail at its missing data.
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
export function formatSse(event: StreamEvent): string {
  return `${fieldsOf(event)}\n`;
}

/** The lines of an event. */
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

/** Whether an event is a comment or a time to wait alone, which is none to a browser. */
function isBare({ data, id, type }: StreamEvent): boolean {
  return data === undefined && isAbsent(id) && (isAbsent(type) || type === '');
}

function encodeSse(event: StreamEvent, hasIds = false): string {
  const text = fieldsOf(event);
  // A blank line after a comment would be an event to some parsers, once they have seen an id: see `heartbeat`.
  return text === '' || (hasIds && isBare(event)) ? text : `${text}\n`;
}

/** Server-Sent Events (WHATWG HTML §9.2). Heartbeats are comments. */
export const sseFormat: StreamFormat = {
  name: 'sse',
  mediaTypes: ['text/event-stream'],
  fields: true,
  encode: (event, hasIds) => encodeSse(event as StreamEvent, hasIds),
  // Once they have seen an id, some parsers dispatch an event at every blank line, also of a comment (openai-python, httpx-sse). Others
  // split the body at blank lines, and expect `data:` at the beginning of what follows: for them a comment has a blank line of its own.
  heartbeat: (hasIds) => (hasIds ? ':\n' : ':\n\n'),
  lagged: (dropped) => formatSse({ type: 'lagged', data: { dropped } }),
  position: (id) => formatSse({ id }),
  error: (body, type) => formatSse({ type, data: body }),
};
