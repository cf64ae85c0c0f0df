import type { IncomingMessage } from 'node:http';

/** A request of Express, which is that of Node.js, or a request of Fastify, which wraps that of Node.js. */
type PlatformRequest = IncomingMessage & { readonly raw?: IncomingMessage; readonly ip?: string };

/** Returns the request of Node.js that a platform wraps. */
export function incomingOf(request: unknown): IncomingMessage {
  const given = request as PlatformRequest;
  return given.raw ?? given;
}

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
  const incoming = incomingOf(request) as IncomingMessage & { readonly originalUrl?: string };
  const [path = ''] = (incoming.originalUrl ?? incoming.url ?? '').split('?', 1);
  return path;
}
