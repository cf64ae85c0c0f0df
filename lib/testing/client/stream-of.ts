import { AssertionError } from 'node:assert';
import { clearTimeout, setTimeout } from 'node:timers';
import type { INestApplication } from '@nestjs/common';
import { StreamError } from '../../errors.js';
import { FORMATS, type StreamFormatName } from '../../format/formats.js';
import type { Answer } from './answer.js';
import { checkedTimeout } from './checked-timeout.js';
import { requestOverHttp } from './http-answer.js';
import { originOf } from './running-app.js';
import { TestStream } from './test-stream.js';

/** Less than the five seconds Jest and Vitest give a test: they would not say what came instead. */
const TIMEOUT_MS = 3_000;

/** The request of {@link streamOf}: as for `fetch`, and what tests of streams need besides. */
export interface StreamInit extends Pick<RequestInit, 'method' | 'headers' | 'body' | 'signal'> {
  /** Asks for a format by its name, as the `Accept` header does by media type. Default: whatever `headers` say. */
  readonly format?: StreamFormatName;
  /** Resumes after an event, as a client does that comes back. Default: none. */
  readonly lastEventId?: string;
  /**
   * Whether what says nothing to an application counts as an event too: heartbeats and other comments, a `retry` or an `id` without data,
   * and the events of type `position` and `shutdown` that a hub or a closing server sends. Default: `false`.
   */
  readonly all?: boolean;
  /** Whether SSE data that is JSON is given as its value, and not as text. Default: `true`. */
  readonly json?: boolean;
  /** How long the head, and each call that waits for events, may take, in milliseconds. Default: 3000. */
  readonly timeout?: number;
}

/**
 * Opens a stream of an application over a real socket, by HTTP/1.1. An application that does not listen yet listens on a free port of
 * 127.0.0.1 from then on; close it when the test is over.
 *
 * Resolves when the head of the answer is there, whatever its status. For a stream that is silent at first that is after `openDelay`.
 *
 * @throws {AssertionError} when there is no head in time, or the connection breaks off before
 * @throws {StreamError} `invalid-option` for an unknown format, a path that leads elsewhere, a wrong `timeout`, or an application that
 * speaks HTTP/2 only
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
  const answer = await answered(name, timeout, signal, (either) => requestOverHttp(request, json, either));
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
    // As UTF-8, in a header each character of which stands for a byte (WHATWG HTML §9.2.4).
    request.headers.set('Last-Event-ID', Buffer.from(lastEventId).toString('latin1'));
  }
  return request;
}

function mediaTypeOf(name: StreamFormatName): string {
  const mediaType = Object.hasOwn(FORMATS, name) ? FORMATS[name].mediaTypes[0] : undefined;
  if (mediaType === undefined) {
    throw new StreamError(
      'invalid-option',
      `streamOf(): no format is called ${JSON.stringify(name)}. Known: ${Object.keys(FORMATS).join(', ')}`,
    );
  }
  return mediaType;
}

/** Waits for the head of an answer, for so long. */
async function answered(
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
    const problem = late.signal.aborted ? `had no answer within ${timeout} ms` : `was not answered: ${String(cause)}`;
    throw Object.assign(new AssertionError({ message: `${name} ${problem}` }), { cause });
  } finally {
    clearTimeout(timer);
  }
}
