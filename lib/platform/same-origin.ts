import type { IncomingHttpHeaders } from 'node:http';

/** The properties of a request that both platforms have. Behind a proxy that the platform trusts, `host` and `protocol` are the public ones. */
interface PlatformRequest {
  readonly headers: IncomingHttpHeaders;
  readonly host?: string;
  readonly protocol?: string;
}

/** The secure schemes. Some proxies send the scheme of a WebSocket. */
const SECURE = /^(?:https|wss)$/i;

/**
 * Returns whether a request comes from a page of its own origin, or from a client that is not a browser.
 *
 * On secure connections, browsers send this information in `Sec-Fetch-Site`. Otherwise the host and the scheme of `Origin` are compared. A page
 * with `http:` does not have the origin of a request over TLS, since an attacker on the network can forge such a page. A page with `https:` may have the
 * origin of a request without TLS, since TLS may end at a proxy that the platform is not configured to trust.
 *
 * @param request the request object of the platform
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
    // The origin is `null`, as in a sandboxed page, or invalid.
    return false;
  }
  const page = new URL(origin);
  const own = `${page.protocol}//${host ?? headers[':authority']}`;
  const forgeable = page.protocol === 'http:' && SECURE.test(protocol);
  return !forgeable && page.host !== '' && URL.canParse(own) && new URL(own).host === page.host;
}
