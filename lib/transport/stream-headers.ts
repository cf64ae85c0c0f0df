import type { OutgoingHeaders } from './transport.js';

/** The default headers of a stream in every version of HTTP. */
export const STREAM_HEADERS: Readonly<Record<string, string>> = {
  // RFC 9111 §5.2.2: caches must validate a stored response, and intermediaries must not transform (such as compress and so delay) it.
  'cache-control': 'no-cache, no-transform',
  // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
  // https://datatracker.ietf.org/doc/draft-ietf-httpbis-incremental/
  incremental: '?1',
};

/** The part of a response that determines whether its length is declared. */
interface SizedResponse {
  readonly statusCode: number;
  hasHeader(name: string): boolean;
}

/** Returns whether the length of the body is declared. That of a 205 does not count: such a response has no content (RFC 9110 §15.3.6). */
export function hasLength(response: SizedResponse, head: OutgoingHeaders): boolean {
  return head.includes('content-length') || (response.hasHeader('content-length') && response.statusCode !== 205);
}

/** Adds `Content-Length` to the head of a body that is complete before it is sent, unless the head has one. */
export function declareLength(
  response: SizedResponse,
  head: OutgoingHeaders,
  body: string | Uint8Array | undefined,
): void {
  if (!hasLength(response, head)) {
    head.push('content-length', body === undefined ? 0 : Buffer.byteLength(body));
  }
}
