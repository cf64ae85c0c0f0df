import type { ServerResponse } from 'node:http';
import { CONNECTION_HEADERS, CONTENT_LENGTH, closes } from '../transport/framing-headers.js';
import type { CommittedHead } from '../transport/response-head.js';
import type { OutgoingHeaders } from '../transport/transport.js';
import { StreamError } from '../util/errors.js';

/** All headers that determine where a message ends, or whether its connection stays open. */
export const FRAMING = [...CONNECTION_HEADERS, CONTENT_LENGTH] as const;

const FRAMING_NAMES: ReadonlySet<unknown> = new Set(FRAMING);

const NONE: readonly string[] = [];

type HeaderValue = OutgoingHeaders[number] | undefined;

/** The used part of a response of `node:http`, or of the compatibility API of `node:http2`. */
type Response = Pick<ServerResponse, 'statusCode' | 'req' | 'getHeader' | 'hasHeader' | 'setHeader'>;

/**
 * Prevents a header of the application from being sent. After `removeHeader()`, Node.js would also not send the header that it sets itself under
 * this name, such as `Transfer-Encoding: chunked`.
 */
function withhold(response: Response, name: string): void {
  if (response.hasHeader(name)) {
    response.setHeader(name, []);
  }
}

/**
 * Reads a `Content-Length` (RFC 9110 §8.6).
 * @throws {StreamError} `invalid-header` if it is not exactly one number of bytes
 */
function lengthIn(value: HeaderValue): number {
  const [only, ...more] = [value].flat();
  const length = /^\d{1,15}$/.test(String(only)) ? Number(only) : undefined;
  if (length === undefined || more.length > 0) {
    throw new StreamError(
      'invalid-header',
      `The Content-Length of a stream must be one number of bytes, and is ${JSON.stringify(value)}. Correct it, or leave it out`,
    );
  }
  return length;
}

/**
 * Drops the headers of the application that would frame the message, and reads the length that it declares for the body. If two headers
 * framed one message, clients and proxies could use different ones (RFC 9112 §6.1).
 *
 * @param response may have headers already
 * @param headers more headers, with names in lower case. They take precedence over those of the response
 * @throws {StreamError} `invalid-header` for an invalid `Content-Length`, or an interim status
 */
export function framed(response: Response, headers: OutgoingHeaders): CommittedHead {
  const { statusCode, req } = response;
  if (statusCode < 200) {
    throw new StreamError('invalid-header', `A stream cannot have the interim status ${statusCode}: use 200 or above`);
  }
  if (!hasFraming(response, headers)) {
    return { headers, dropped: NONE, length: undefined };
  }
  const dropped: string[] = [];
  let kept = headers;
  const drop = (name: string): void => {
    withhold(response, name);
    kept = without(name, kept);
  };
  for (const name of CONNECTION_HEADERS) {
    const value = headerIn(name, response, headers);
    if (value === undefined) {
      continue;
    }
    const closing = name === 'connection' && closes(value);
    drop(name);
    if (closing && req.httpVersionMajor === 1) {
      response.setHeader(name, 'close');
    } else if (!closing) {
      dropped.push(name);
    }
  }
  const value = headerIn(CONTENT_LENGTH, response, headers);
  if (value === undefined) {
    return { headers: kept, dropped, length: undefined };
  }
  if (statusCode === 204 || statusCode === 205) {
    drop(CONTENT_LENGTH);
    return { headers: kept, dropped: [...dropped, CONTENT_LENGTH], length: undefined };
  }
  return { headers: kept, dropped, length: lengthIn(value) };
}

/** Returns whether a header has to be removed when another body is sent. `Connection: close` is true for any body, and stays. */
export function isReleased(name: (typeof FRAMING)[number], value: HeaderValue): boolean {
  return value !== undefined && !(name === 'connection' && closes(value));
}

/** Removes the headers that frame the body of a stream, so that another body can be sent. */
export function releaseFraming(response: Response): void {
  for (const name of FRAMING) {
    if (isReleased(name, response.getHeader(name))) {
      withhold(response, name);
    }
  }
}

/** Throws for a `Content-Length` that is not a length. */
export function checkLength(value: HeaderValue): void {
  if (value !== undefined) {
    lengthIn(value);
  }
}

function hasFraming(response: Response, headers: OutgoingHeaders): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    if (FRAMING_NAMES.has(headers[i])) {
      return true;
    }
  }
  for (const name of FRAMING) {
    if (response.hasHeader(name)) {
      return true;
    }
  }
  return false;
}

function headerIn(name: string, response: Response, headers: OutgoingHeaders): HeaderValue {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === name) {
      return headers[i + 1];
    }
  }
  const value = response.getHeader(name);
  return Array.isArray(value) && value.length === 0 ? undefined : value;
}

function without(name: string, headers: OutgoingHeaders): OutgoingHeaders {
  return headers.filter((_, index) => headers[index - (index % 2)] !== name);
}
