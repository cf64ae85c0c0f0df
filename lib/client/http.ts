import { type Attempt, after, type Ending, IDLE_MS, lost } from './attempt.js';
import { StreamClientError, StreamResponseError } from './errors.js';
import type { StreamTransport } from './options.js';
import { jsonOrText, jsonSeqParser, ndjsonParser, type Parser, type Received, sseParser } from './records.js';

/** How much of the body of an error is read, in characters. */
const ERROR_BODY_LENGTH = 65_536;
/** How long it is read, in milliseconds. */
const ERROR_BODY_MS = 5_000;

/** The media types, the parser, and what completes the last record of a body. */
type BodyFormat = readonly [
  types: RegExp,
  parser: (limit: number, toData: (text: string) => unknown) => Parser,
  end: string,
];

const FORMATS: readonly BodyFormat[] = [
  [/^text\/event-stream/i, sseParser, ''],
  [/^application\/(x-)?(ndjson|jsonl|stream\+json)/i, ndjsonParser, '\n'],
  [/^application\/json-seq/i, jsonSeqParser, '\x1e\n'],
];

/** Receives a stream with one request. The first result is empty: the response has begun. */
export async function* receiveOverHttp(
  attempt: Attempt,
  url: string,
  transport: StreamTransport,
): AsyncGenerator<Received[], Ending> {
  const response = await request(attempt, url, await initOf(attempt, transport));
  const { headers, status } = response;
  if (!response.ok) {
    throw new StreamResponseError('response', status, await errorBody(attempt, response), retryAfter(headers));
  }
  const isPoll = transport === 'poll' && (status === 204 || headers.has('preference-applied'));
  const pollId = isPoll ? headers.get('last-event-id') : null;
  if (status !== 204) {
    yield [];
    yield* recordsOf(attempt, response);
  }
  attempt.id = pollId ?? attempt.id;
  return pollId === null ? 'end' : 'again';
}

/** Sends a request. */
export function request(attempt: Attempt, url: string, init: RequestInit): Promise<Response> {
  const { signal, options } = attempt;
  return attempt.within((options.fetch ?? fetch)(url, { ...init, signal, credentials: options.credentials }));
}

async function initOf(attempt: Attempt, transport: StreamTransport): Promise<RequestInit> {
  const { id, options } = attempt;
  const given = await attempt.fresh(options.headers);
  try {
    const headers = new Headers(given);
    const byDefault = (name: string, value: string): void => {
      if (!headers.has(name)) {
        headers.set(name, value);
      }
    };
    const body = toSend(options.body);
    byDefault('accept', /json/.test(transport) ? `application/${transport}` : 'text/event-stream');
    if (transport === 'poll') {
      // The response has to come before the option `idle` passes.
      byDefault('prefer', `wait=${Math.min(20, Math.floor((options.idle ?? IDLE_MS) / 2_000))}`);
    }
    if (body !== options.body) {
      byDefault('content-type', 'application/json');
    }
    if (id) {
      // As UTF-8, like an EventSource: fetch() refuses characters above U+00FF.
      headers.set('last-event-id', String.fromCharCode(...new TextEncoder().encode(id)));
    }
    const init = { method: options.method, headers, body, cache: 'no-store' } as RequestInit;
    // Throws if a request like this is never possible.
    new Request('http://x', init);
    return init;
  } catch (error) {
    throw new StreamClientError('invalid-option', `fetch() refuses the request: ${error}`, error);
  }
}

/** Returns objects and arrays as JSON. What `fetch()` and a WebSocket can send, such as a `Blob`, is returned as it is. */
export function toSend(value: unknown): unknown {
  return /t (Object|Array)\]/.test(Object.prototype.toString.call(value)) ? JSON.stringify(value) : value;
}

async function* recordsOf(attempt: Attempt, { headers, body }: Response): AsyncGenerator<Received[]> {
  const type = headers.get('content-type') ?? '';
  const [, parser, end] = FORMATS.find(([types]) => types.test(type)) ?? [];
  if (!parser || !body) {
    throw new StreamClientError('content-type', `Not a stream of events or JSON: ${type}`);
  }
  const { maxEventLength = 2 ** 24, parse = jsonOrText } = attempt.options;
  const read = parser(maxEventLength, parse);
  const utf8 = new TextDecoder();
  for await (const bytes of attempt.valuesOf(body)) {
    yield read(utf8.decode(bytes, { stream: true }));
  }
  let last: Received[];
  try {
    last = read(utf8.decode() + end);
  } catch (error) {
    // Some proxies end the body cleanly if their own connection is lost.
    throw lost(error);
  }
  yield last;
}

/** Reads the body of an error, as far as it comes in time. */
async function errorBody(attempt: Attempt, { body }: Response): Promise<unknown> {
  const timer = after(ERROR_BODY_MS, () => attempt.abort());
  const utf8 = new TextDecoder();
  let text = '';
  try {
    for await (const bytes of body ? attempt.valuesOf(body) : []) {
      text += utf8.decode(bytes, { stream: true });
      if (text.length > ERROR_BODY_LENGTH) {
        break;
      }
    }
  } catch {
    // The status says enough.
  }
  clearTimeout(timer);
  return jsonOrText(text.slice(0, ERROR_BODY_LENGTH));
}

/** Returns the milliseconds of `Retry-After`, which is a number of seconds or a date (RFC 9110 §10.2.3). */
export function retryAfter(headers: Headers): number | undefined {
  const value = headers.get('retry-after') ?? '';
  const ms = /^\d+$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return ms >= 0 ? ms : undefined;
}
