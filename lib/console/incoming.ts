import type { IncomingMessage } from 'node:http';

/**
 * The properties of a request that both platforms have. The `raw` of Fastify is not used, because a middleware of Express may add a property
 * with that name.
 */
export type PlatformRequest = Pick<IncomingMessage, 'headers' | 'socket' | 'url'> & {
  readonly originalUrl?: string;
  readonly ip?: string;
};

/** Returns the address of a client, or an empty text. Behind a proxy, it is that of the proxy unless the platform trusts the proxy. */
export function clientOf(request: unknown): string {
  try {
    return String((request as PlatformRequest).ip ?? '');
  } catch {
    // The getter calls the `trust proxy` function of the application, whose error must not fail the stream.
    return '';
  }
}

/** Returns the path of a request without its query, which may contain a token. */
export function pathOf(request: unknown): string {
  const { originalUrl, url } = request as PlatformRequest;
  // A middleware may have replaced them with any value, and what throws here would fail the stream.
  const [path = ''] = [originalUrl, url].find((each) => typeof each === 'string')?.split('?', 1) ?? [];
  return path;
}
