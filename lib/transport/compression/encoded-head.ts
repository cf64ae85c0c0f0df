import type { ServerResponse } from 'node:http';
import type { OutgoingHeaders } from '../transport.js';

/** The headers a response has already. */
export type KnownHeaders = Pick<ServerResponse, 'getHeader' | 'hasHeader' | 'removeHeader' | 'setHeader'>;

/** What is said of the very bytes of a body, so that these have to stay what they are. */
const FIXED = ['content-encoding', 'content-range', 'content-digest', 'repr-digest'];
/** What is no longer true of a body that is encoded on its way. */
const UNTRUE = ['content-length', 'accept-ranges'];

function has(name: string, response: KnownHeaders, headers: OutgoingHeaders): boolean {
  return response.hasHeader(name) || headers.some((each, index) => index % 2 === 0 && each === name);
}

/** Whether the body has to stay as the application gives it: it may have been encoded there. */
export function isFixed(response: KnownHeaders, headers: OutgoingHeaders): boolean {
  return FIXED.some((name) => has(name, response, headers));
}

/** Equal in what it means, and no longer byte for byte (RFC 9110 §8.8.1). */
function weak(etag: unknown): string {
  const value = String(etag);
  return value.startsWith('W/') ? value : `W/${value}`;
}

/**
 * The headers of a body that is encoded on its way. Changes those that the response knows.
 *
 * @param coding nothing: there is no body (HEAD, 304) to tell by whether the one that is described would be encoded
 */
export function encodedHead(
  coding: string | undefined,
  response: KnownHeaders,
  headers: OutgoingHeaders,
): OutgoingHeaders {
  for (const name of UNTRUE) {
    response.removeHeader(name);
  }
  const etag = response.getHeader('etag');
  if (etag !== undefined) {
    response.setHeader('etag', weak(etag));
  }
  if (headers.length === 0) {
    // All of them are there already.
    if (coding) {
      response.setHeader('content-encoding', coding);
    }
    return headers;
  }
  const encoded: OutgoingHeaders = coding ? ['content-encoding', coding] : [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string;
    const value = headers[i + 1] as string | readonly string[];
    if (!UNTRUE.includes(name)) {
      encoded.push(name, name === 'etag' ? weak(value) : value);
    }
  }
  return encoded;
}
