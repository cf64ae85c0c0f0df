import type { ServerResponse } from 'node:http';
import type { OutgoingHeaders } from '../transport.js';

/** The part of a response that reads and changes its headers. */
export type KnownHeaders = Pick<ServerResponse, 'getHeader' | 'hasHeader' | 'removeHeader' | 'setHeader'>;

/** Headers that describe the exact bytes of a body: a body with one of them must not be changed. */
const FIXED = ['content-encoding', 'content-range', 'content-digest', 'repr-digest'];
/** Headers that are no longer true once the body is encoded. */
const UNTRUE = ['content-length', 'accept-ranges'];

function has(name: string, response: KnownHeaders, headers: OutgoingHeaders): boolean {
  return response.hasHeader(name) || headers.some((each, index) => index % 2 === 0 && each === name);
}

/** Returns whether the body must be sent unchanged, for example because the application has encoded it already. */
export function isFixed(response: KnownHeaders, headers: OutgoingHeaders): boolean {
  return FIXED.some((name) => has(name, response, headers));
}

/** Returns a weak validator: the encoded body means the same, but has other bytes (RFC 9110 §8.8.1). */
function weak(etag: unknown): string {
  const value = String(etag);
  return value.startsWith('W/') ? value : `W/${value}`;
}

/**
 * Returns the headers of an encoded body. Also changes those that are set on the response.
 *
 * @param coding `undefined` for a response without a body (HEAD, 304): whether that of a GET would be encoded is not known
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
    // All headers are set on the response.
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
