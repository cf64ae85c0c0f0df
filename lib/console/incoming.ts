import type { IncomingMessage } from 'node:http';

/** A request as Express has it, which is Node.js's own, or as Fastify has it, around that. */
type PlatformRequest = IncomingMessage & { readonly raw?: IncomingMessage; readonly ip?: string };

/** Returns the request of Node.js that a platform wraps. */
export function incomingOf(request: unknown): IncomingMessage {
  const given = request as PlatformRequest;
  return given.raw ?? given;
}

/** Returns the address of a client as the platform knows it. Behind a proxy it needs `trust proxy`. */
export function clientOf(request: unknown): string {
  return (request as PlatformRequest).ip ?? '';
}

/** Returns the path of a request without its query, which may hold a token. */
export function pathOf(request: unknown): string {
  const incoming = incomingOf(request) as IncomingMessage & { readonly originalUrl?: string };
  const [path = ''] = (incoming.originalUrl ?? incoming.url ?? '').split('?', 1);
  return path;
}
