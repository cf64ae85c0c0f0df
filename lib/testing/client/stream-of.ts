import { AssertionError } from 'node:assert';
import { clearTimeout, setTimeout } from 'node:timers';
import type { INestApplication } from '@nestjs/common';
import { FORMATS, type StreamFormatName } from '../../format/formats.js';
import { StreamError } from '../../util/errors.js';
import { checkedTimeout } from './checked-timeout.js';
import { type Answer, requestOverHttp } from './http-answer.js';
import { originOf } from './running-app.js';
import { TestStream } from './test-stream.js';

/** It is shorter than the five seconds after which Jest and Vitest fail a test, so that the message of this package is shown. */
const TIMEOUT_MS = 3_000;

/** Options of {@link streamOf}: some of those of `fetch()`, and options for streams. */
export interface StreamInit extends Pick<RequestInit, 'method' | 'headers' | 'body' | 'signal'> {
  /** The name of the format to request. Sets the header `Accept` to its media type. Default: the header `Accept` in `headers`, if there is one. */
  readonly format?: StreamFormatName;
  /** The `Last-Event-ID` to send, in order to resume after an event. Default: none. */
  readonly lastEventId?: string;
  /**
   * Whether to also return events without data of the application: heartbeats and other comments, a `retry` or an `id` without data, and the
   * events of type `position` and `shutdown` that a hub or a closing server sends. Default: `false`.
   */
  readonly all?: boolean;
  /** Whether to parse SSE data that is JSON. If `false`, `data` is always text. Default: `true`. */
  readonly json?: boolean;
  /** How long to wait for the head of the response, and in each call that waits for events, in milliseconds. Default: 3000. */
  readonly timeout?: number;
}

/**
 * Opens a stream of an application over a real socket, with HTTP/1.1. If the application does not listen yet, it starts to listen on a
 * free port of 127.0.0.1; close it at the end of the test.
 *
 * Resolves once the head of the response is received, with any status. A stream that sends nothing at first sends its head after
 * `openDelay`.
 *
 * @param app the application under test
 * @param path the path of the stream, with its query
 * @param init the method, headers and body of the request, and options for streams
 * @throws an `AssertionError` if no head is received within `timeout`, or the connection is closed before
 * @throws a `StreamError` with the code `invalid-option` for an unknown format or an invalid `timeout`; `invalid-argument` for a path of another origin, or
 * for an application that only supports HTTP/2 or does not listen on a port
 *
 * @example
 * ```ts
 * const stream = await streamOf<Price>(app, '/prices/eur', { format: 'sse', lastEventId: '7' });
 * strictEqual(stream.status, 200);
 * const [first, second] = await stream.collect(2);
 * await stream.until((event) => event.data.eur > 5);
 * stream.disconnect();
 * await expectNoOpenStreams(app);
 * ```
 */
export async function streamOf<T = unknown>(
  app: INestApplication,
  path: string,
  init: StreamInit = {},
): Promise<TestStream<T>> {
  const { timeout = TIMEOUT_MS, json = true, all = false, signal } = init;
  checkedTimeout(timeout);
  const request = requestFor(await originOf(app), path, init);
  const name = `${request.method} ${path}`;
  const answer = await responseOf(name, timeout, signal, (either) => requestOverHttp(request, json, either));
  const stream = new TestStream<T>(answer, { name, timeout, all });
  signal?.addEventListener('abort', () => stream.disconnect(), { once: true });
  return stream;
}

function requestFor(origin: string, path: string, { method, headers, body, format, lastEventId }: StreamInit): Request {
  const url = new URL(path, origin);
  if (url.origin !== origin) {
    throw new StreamError('invalid-argument', `streamOf() takes a path of the application, not ${path}`);
  }
  const streaming = body instanceof ReadableStream ? { duplex: 'half' as const } : {};
  const request = new Request(url, { method, headers, body, ...streaming });
  if (format !== undefined) {
    request.headers.set('Accept', mediaTypeOf(format));
  }
  if (lastEventId !== undefined) {
    // The header is sent as UTF-8 (WHATWG HTML §9.2.4); each character of a header value in Node.js is one byte.
    request.headers.set('Last-Event-ID', Buffer.from(lastEventId).toString('latin1'));
  }
  return request;
}

function mediaTypeOf(name: StreamFormatName): string {
  const mediaType = Object.hasOwn(FORMATS, name) ? FORMATS[name].mediaTypes[0] : undefined;
  if (mediaType === undefined) {
    throw new StreamError(
      'invalid-option',
      `streamOf(): unknown format ${JSON.stringify(name)}. Known: ${Object.keys(FORMATS).join(', ')}`,
    );
  }
  return mediaType;
}

/** Waits for the head of a response, for at most `timeout` milliseconds. */
async function responseOf(
  name: string,
  timeout: number,
  signal: AbortSignal | null | undefined,
  open: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeout);
  try {
    return await open(signal ? AbortSignal.any([late.signal, signal]) : late.signal);
  } catch (cause) {
    if (signal?.aborted) {
      throw signal.reason;
    }
    const problem = late.signal.aborted
      ? `had no response within ${timeout} ms`
      : `failed without a response: ${String(cause)}`;
    throw Object.assign(new AssertionError({ message: `${name} ${problem}` }), { cause });
  } finally {
    clearTimeout(timer);
  }
}
