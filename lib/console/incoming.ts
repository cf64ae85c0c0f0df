import type { IncomingMessage } from 'node:http';

/** A request as Express has it, which is Node.js's own, or as Fastify has it, around that. */
type PlatformRequest = IncomingMessage & { readonly raw?: IncomingMessage; readonly ip?: string };

/** The request of Node.js in that of a platform. */
export function incomingOf(request: unknown): IncomingMessage {
  const given = request as PlatformRequest;
  return given.raw ?? given;
}

/** As the platform has it: behind a proxy it needs `trust proxy`. */
export function clientOf(request: unknown): string {
  return (request as PlatformRequest).ip ?? '';
}

/** What the client asked for, without its query: there may be a token in it. */
export function pathOf(request: unknown): string {
  const incoming = incomingOf(request) as IncomingMessage & { readonly originalUrl?: string };
  const [path = ''] = (incoming.originalUrl ?? incoming.url ?? '').split('?', 1);
  return path;
}
