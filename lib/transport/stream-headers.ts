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
