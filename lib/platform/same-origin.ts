import type { IncomingHttpHeaders } from 'node:http';

/** The properties of a request that both platforms have. Behind a proxy that the platform trusts, `host` and `protocol` are the public ones. */
interface PlatformRequest {
  readonly headers: IncomingHttpHeaders;
  readonly host?: string;
  readonly protocol?: string;
}

/** Some proxies name the scheme of a WebSocket. */
const SECURE = /^(?:https|wss)$/i;

/**
 * Returns whether a request comes from a page of its own origin, or from no page at all.
 *
 * A browser says so itself in `Sec-Fetch-Site` where it knows the connection to be safe; otherwise the host and the scheme of `Origin` are
 * compared. A page of `http:` is not of the origin of a request over TLS, because it can be forged on the way. A page of `https:` may be of the
 * origin of a request without TLS: TLS may end at a proxy that the platform is not configured to trust.
 *
 * @param request that of the platform
 */
export function isSameOrigin(request: unknown): boolean {
  const { headers, host, protocol = '' } = request as PlatformRequest;
  const { origin } = headers;
  const site = headers['sec-fetch-site'];
  if (site === 'same-origin') {
    return true;
  }
  if (origin === undefined) {
    return site === undefined || site === 'none';
  }
  if (!URL.canParse(origin)) {
    // "null" of a sandboxed page, or nonsense.
    return false;
  }
  const page = new URL(origin);
  const own = `${page.protocol}//${host ?? headers[':authority']}`;
  const forgeable = page.protocol === 'http:' && SECURE.test(protocol);
  return !forgeable && page.host !== '' && URL.canParse(own) && new URL(own).host === page.host;
}
