import type { OutgoingHeaders } from './transport.js';

/** What every stream is sent with over HTTP, whatever its version. */
export const STREAM_HEADERS: Readonly<Record<string, string>> = {
  // RFC 9111 §5.2.2: not stored without asking, not changed (compressed, held back) on the way.
  'cache-control': 'no-cache, no-transform',
  // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
  'x-accel-buffering': 'no',
  'x-content-type-options': 'nosniff',
  // https://datatracker.ietf.org/doc/draft-ietf-httpbis-incremental/
  incremental: '?1',
};

/** The part of a response that is asked for its length. */
interface SizedResponse {
  readonly statusCode: number;
  hasHeader(name: string): boolean;
}

/** Returns whether the length of the body is declared. That of a 205 does not count: such a response has no content (RFC 9110 §15.3.6). */
export function hasLength(response: SizedResponse, head: OutgoingHeaders): boolean {
  return head.includes('content-length') || (response.hasHeader('content-length') && response.statusCode !== 205);
}

/** Declares the length of a body that ends before any of it was sent, unless it is declared already. */
export function declareLength(
  response: SizedResponse,
  head: OutgoingHeaders,
  body: string | Uint8Array | undefined,
): void {
  if (!hasLength(response, head)) {
    head.push('content-length', body === undefined ? 0 : Buffer.byteLength(body));
  }
}
