import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResponseHead } from '../transport/response-head.js';
import { ExpressHead, type ExpressResponse } from './express.head.js';
import { FastifyHead, type FastifyReplyLike } from './fastify.head.js';

/** A response object of Nest, on one of the platforms. */
export type PlatformResponse = ExpressResponse | FastifyReplyLike;

/** A response with its request, in the same form for both platforms. */
export interface PlatformExchange {
  readonly raw: ServerResponse<IncomingMessage>;
  readonly request: { readonly ip?: string };
  readonly head: ResponseHead;
}

/** Returns whether an argument is a response. If not, the method was called directly, as in a unit test. */
export function isResponse(value: unknown): value is PlatformResponse {
  return typeof value === 'object' && value !== null && ('hijack' in value || ('app' in value && 'req' in value));
}

function isFastify(response: PlatformResponse): response is FastifyReplyLike {
  // Its property `raw` is not enough: a middleware of Express may add one with that name.
  return 'hijack' in response;
}

export function exchangeOn(response: PlatformResponse): PlatformExchange {
  return isFastify(response)
    ? { raw: response.raw, request: response.request, head: new FastifyHead(response) }
    : { raw: response, request: response.req, head: new ExpressHead(response) };
}

/** Returns the path and the query of a request, as the client has sent them. A middleware may have changed `url`. */
export function targetOf(request: unknown): string {
  const { originalUrl, url } = request as { readonly originalUrl?: unknown; readonly url?: unknown };
  const target = [originalUrl, url].find((each) => typeof each === 'string');
  return (target as string | undefined) ?? '/';
}

/** Returns the instance of the HTTP adapter that a response belongs to. */
export function adapterInstanceOf(response: PlatformResponse): object {
  return isFastify(response) ? response.server : response.app;
}
