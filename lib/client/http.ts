import type { Attempt } from './attempt.js';
import { StreamClientError, type StreamClientErrorCode, StreamResponseError } from './errors.js';
import type { StreamTransport } from './options.js';
import { jsonOrText, jsonParser, type Received, sseParser } from './records.js';

/** Returns what is received next. */
export type Read = () => Promise<Received[]>;

/** Reads the next text of a body, for as long as it may take, in milliseconds. Returns `undefined` at the end. */
type NextText = (ms?: number) => Promise<string | undefined>;

/** Begins to receive a stream with one request. */
export async function openHttp(attempt: Attempt, url: string, id: string, as: StreamTransport): Promise<Read> {
  const [{ headers, status, type }, next] = await request(attempt, url, await initOf(attempt, id, as));
  const { maxEventLength } = attempt.settings;
  let pollId: string | undefined;
  if (as === 'poll') {
    pollId = headers.get('last-event-id') ?? undefined;
    if (type === 'cors' && !headers.has('preference-applied')) {
      throw new StreamClientError('response', 'Expose preference-applied, last-event-id');
    }
  }
  const mediaType = headers.get('content-type') ?? '';
  const isJson = status === 204 || /(ndjson|jsonl|stream.json|json-seq)/i.test(mediaType);
  if (!isJson && !/event-stream/i.test(mediaType)) {
    throw new StreamClientError('content-type', `No stream: ${mediaType}`);
  }
  const parse = (isJson ? jsonParser : sseParser)(maxEventLength);
  return async () => {
    const text = await next();
    const received = parse(text);
    if (text === undefined) {
      received.push({ id: pollId, next: !!pollId });
    }
    return received;
  };
}

/** Sends a request. Returns the response, and a function that reads its body. */
export async function request(attempt: Attempt, url: string, init: RequestInit): Promise<[Response, NextText]> {
  const { fetch: send = fetch, credentials } = attempt.settings;
  const response = await attempt.wait(send(url, { ...init, credentials, signal: attempt.signal }));
  const { status, headers, body } = response;
  const reader = (body ?? new Blob([]).stream()).getReader();
  const utf8 = new TextDecoder();
  // A fetch() of another library may ignore the signal.
  attempt.signal.addEventListener('abort', () => reader.cancel().catch(() => undefined));
  const next: NextText = async (ms) => {
    const { value } = await attempt.wait(reader.read(), ms);
    return value && utf8.decode(value, { stream: true });
  };
  if (!response.ok) {
    const later = headers.get('retry-after') ?? '';
    // A number of seconds, or a date (RFC 9110 §10.2.3).
    const ms = +later * 1_000 || Date.parse(later) - Date.now();
    throw new StreamResponseError('response', await errorBody(next), status, ms > 0 ? ms : undefined);
  }
  return [response, next];
}

async function initOf(attempt: Attempt, id: string, as: StreamTransport): Promise<RequestInit> {
  const { method, body: value, idle, headers: own } = attempt.settings;
  const given = await attempt.get(own);
  const body = toSend(value);
  return checked('invalid-option', () => {
    const headers = new Headers({
      accept: /json/.test(as) ? `application/${as}` : 'text/event-stream',
      // The response has to come before the option `idle` passes.
      ...(as === 'poll' && { prefer: `wait=${Math.min(20, idle / 2_250).toFixed()}` }),
      ...(body !== value && { 'content-type': 'application/json' }),
    });
    new Headers(given).forEach((text, name) => {
      headers.set(name, text);
    });
    if (id) {
      // As UTF-8, like an EventSource: fetch() refuses characters above U+00FF.
      headers.set('last-event-id', unescape(encodeURIComponent(id)));
    }
    const init = { method, headers, body, cache: 'no-store' } as RequestInit;
    // Throws if a request like this is never possible.
    new Request('http://x', init);
    return init;
  });
}

/** Returns a URL that `fetch()` accepts. @throws {@link StreamClientError} `invalid-url` */
export function hrefOf(url: string | URL): string {
  return checked('invalid-url', () => {
    const { url: href } = new Request(url);
    if (!/^http/.test(href)) {
      throw href;
    }
    return href;
  });
}

function checked<V>(code: StreamClientErrorCode, call: () => V): V {
  try {
    return call();
  } catch (error) {
    throw new StreamClientError(code, `fetch(): ${error}`, error);
  }
}

/** Returns objects and arrays as JSON. What `fetch()` and a WebSocket can send, such as a `Blob`, is returned as it is. */
export function toSend(value: unknown): unknown {
  return /t (Object|Array)\]/.test({}.toString.call(value)) ? JSON.stringify(value) : value;
}

/** Reads the body of an error: about 65 536 characters, for at most 5 seconds. */
async function errorBody(next: NextText): Promise<unknown> {
  const until = Date.now() + 5_000;
  let text = '';
  try {
    for (let more: string | undefined = ''; more !== undefined && !text[65_536]; ) {
      text += more;
      more = await next(until - Date.now());
    }
  } catch {
    // The status says enough.
  }
  return jsonOrText(text);
}
