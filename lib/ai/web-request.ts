import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import type { Http2ServerRequest } from 'node:http2';
import { Readable } from 'node:stream';
import { BadRequestException, NotImplementedException } from '@nestjs/common';
import { onceSocketCloses } from '../transport/socket-close.js';
import { StreamError } from '../util/errors.js';

type NodeRequest = IncomingMessage | Http2ServerRequest;

/** The properties of a request that both platforms have. Behind a proxy that the platform trusts, `host` and `protocol` are the public ones. */
interface PlatformRequest {
  readonly protocol?: string;
  readonly host?: string;
  readonly originalUrl?: string;
  readonly body?: unknown;
  /** The bytes of the body, if the application was created with `rawBody: true`. */
  readonly rawBody?: Uint8Array;
}

/** Headers that describe the connection (RFC 9110 §7.6.1), and not the request. */
const OF_CONNECTION = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
/** Headers that describe the bytes of a body, which are others once the platform has parsed it. */
const OF_BYTES = new Set(['content-encoding', 'content-length']);

/**
 * Returns the web `Request` for a request of Express or Fastify, for libraries that expect one, such as the SDK of MCP. Return their `Response` from
 * the route.
 *
 * - The URL has the public host and protocol, if the platform is configured to trust the proxy.
 * - If the platform has parsed the body, it is serialized again, unless the application was created with `rawBody: true`: then its bytes are
 *   unchanged, which signatures need. A body that the platform has not read is passed as a stream.
 * - The signal is aborted when the client disconnects before the response has ended.
 *
 * @param request the request object of the platform, as `@Req()` injects it
 * @throws `StreamError` with the code `invalid-argument` if the platform has parsed a body that cannot be serialized again, such as a form
 * with files
 * @throws {BadRequestException} if the header `Host` is not valid
 * @throws {NotImplementedException} for the method `TRACE`, which a web `Request` cannot have
 *
 * @example
 * ```ts
 * @All('mcp')
 * @Stream()
 * mcp(@Req() request: object) {
 *   return this.handler.fetch(webRequest(request));
 * }
 * ```
 */
export function webRequest(request: object): Request {
  // A request of Express is the request of Node.js.
  const raw = 'rawHeaders' in request ? (request as NodeRequest) : (request as { readonly raw: NodeRequest }).raw;
  const { method = 'GET' } = raw;
  if (method === 'TRACE') {
    // The constructor of a Request throws for it, which would be an internal error.
    throw new NotImplementedException('The method TRACE is not supported');
  }
  const body = method === 'GET' || method === 'HEAD' ? undefined : bodyOf(request, raw);
  const streamed = body instanceof ReadableStream;
  return new Request(urlOf(request, raw), {
    method,
    headers: headersOf(raw, body === undefined || streamed),
    signal: signalOf(raw),
    ...(body !== undefined && { body }),
    ...(streamed && { duplex: 'half' }),
  } as RequestInit);
}

function urlOf({ protocol = 'http', host, originalUrl }: PlatformRequest, { headers, url = '/' }: NodeRequest): string {
  const authority = host || headers[':authority'] || headers.host || 'localhost';
  const origin = `${protocol}://${String(authority)}`;
  const base = URL.canParse(origin) ? new URL(origin) : undefined;
  if (!base || base.href !== `${base.origin}/`) {
    throw new BadRequestException('The header Host is not valid');
  }
  const target = originalUrl ?? url;
  // The target of a request to a proxy is a whole URL (RFC 9112 §3.2.2). A path may begin with two slashes, so it is not resolved.
  const path = target.startsWith('/') ? target : URL.canParse(target) ? pathOf(new URL(target)) : '/';
  return base.origin + path;
}

function pathOf({ pathname, search }: URL): string {
  return pathname + search;
}

function headersOf({ rawHeaders }: NodeRequest, sameBytes: boolean): Headers {
  const headers = new Headers();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const [name = '', value = ''] = rawHeaders.slice(i, i + 2);
    const lower = name.toLowerCase();
    if (!lower.startsWith(':') && !OF_CONNECTION.has(lower) && (sameBytes || !OF_BYTES.has(lower))) {
      headers.append(name, value);
    }
  }
  return headers;
}

function bodyOf(
  { rawBody, body }: PlatformRequest,
  raw: NodeRequest,
): ReadableStream | Uint8Array | string | undefined {
  if (rawBody !== undefined) {
    return rawBody;
  }
  if (!raw.readableDidRead && isNothing(body)) {
    return Readable.toWeb(raw) as ReadableStream;
  }
  if (body === undefined) {
    return undefined;
  }
  const type = raw.headers['content-type'] ?? '';
  if (body instanceof Uint8Array || (typeof body === 'string' && !/json/i.test(type))) {
    return body;
  }
  if (/^\s*multipart\//i.test(type)) {
    throw new StreamError(
      'invalid-argument',
      'webRequest(): the platform has parsed a form with files, which cannot be serialized again: exclude the route from that parser',
    );
  }
  return /x-www-form-urlencoded/i.test(type) ? formOf(body) : JSON.stringify(body);
}

/** Returns whether no parser has set a body. Version 1 of body-parser, which Nest 11.0 has, sets an empty object also for a body that it does not read. */
function isNothing(body: unknown): boolean {
  return body === undefined || (typeof body === 'object' && body !== null && Object.keys(body).length === 0);
}

/** Returns a parsed form as text. Parsers return `a[b]=c` as `{ a: { b: 'c' } }`. */
function formOf(body: unknown): string {
  const pairs = new URLSearchParams();
  const add = (name: string, value: unknown, nested: boolean): void => {
    if (typeof value !== 'object' || value === null) {
      pairs.append(name, String(value));
    } else {
      const list = Array.isArray(value) && value.every((each) => typeof each !== 'object');
      for (const [key, each] of Object.entries(value)) {
        add(nested ? (list ? name : `${name}[${key}]`) : key, each, true);
      }
    }
  };
  add('', body, false);
  return pairs.toString();
}

/** How to forget the requests whose responses have not ended, over HTTP/1. */
const open = new WeakMap<IncomingMessage, () => void>();
let watches = false;

/** Returns a signal that is aborted when the client disconnects before the response has ended. */
function signalOf(raw: NodeRequest): AbortSignal {
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  if (raw.socket === null || raw.socket.destroyed) {
    abort();
  } else if ('stream' in raw) {
    const { stream } = raw;
    stream.once('close', () => stream.aborted && abort());
  } else {
    watchResponses();
    open.set(raw, onceSocketCloses(raw.socket, abort));
  }
  return controller.signal;
}

/**
 * Forgets requests when their responses end. A connection outlives its requests, and a request says nothing of its response: once its body was
 * read, it emits no event any more.
 */
function watchResponses(): void {
  if (!watches) {
    watches = true;
    subscribe('http.server.response.finish', (message) => {
      const { request } = message as { request: IncomingMessage };
      open.get(request)?.();
    });
  }
}
