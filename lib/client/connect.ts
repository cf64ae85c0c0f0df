import { StreamClientError } from './errors.js';
import { hrefOf } from './http.js';
import type { ClientStream, ConnectOptions, StreamTransport, StreamUrl } from './options.js';
import { StreamReader } from './reader.js';

/**
 * Receives a stream of a server that uses nestjs-streaming, and connects again when the connection is lost: after the last id that it has received, so that
 * no item is missing and none comes twice. It connects when the first item is asked for.
 *
 * - A response with the status 204, or the clean end of a response, ends the stream, unless the server has asked the client to come back (`retry:`).
 * - A status of 400 or above ends it with a {@link StreamResponseError}. After 408, 425, 429 and 5xx, the client tries again.
 * - An error record ends it with a {@link StreamResponseError}, after the last item.
 * - A request whose method is not safe, such as `POST`, is never sent again without an id to resume after, except with `retry: { unsafe: true }`.
 *
 * @param url the URL of the stream, relative to the page; outside of a page it must be absolute. Or a function that returns it, which is called for every attempt
 * @param options how to receive it
 * @throws {@link StreamClientError} with the code `invalid-url` or `invalid-option`
 *
 * @example
 * ```ts
 * const prices = connect<{ eur: number }>('/prices/ACME', { resume: sessionStorage });
 * prices.on('reset', () => reload());
 * for await (const { data } of prices) show(data.eur);
 * ```
 */
export function connect<T = unknown>(url: StreamUrl, options: ConnectOptions = {}): ClientStream<T> {
  const { idle = 45_000, maxEventLength = 2 ** 24, retry = {}, as = 'sse', WebSocket = globalThis.WebSocket } = options;
  const { base = 500, max = 30_000, attempts = Infinity } = retry;
  demand(Math.min(idle, maxEventLength, base, max, attempts) >= 0, 'idle, maxEventLength, retry >= 0');
  const transports = ([as].flat() as StreamTransport[]).filter((each) => {
    const isSocket = each === 'ws';
    demand(/^(sse|ndjson|json-seq|ws|poll)$/.test(each), `as: ${each}`);
    demand(each !== 'poll' || options.resume !== false, 'poll: resume');
    demand(!isSocket || !(options.headers || options.method || options.body), 'ws: no headers, method, body');
    return !isSocket || WebSocket;
  });
  demand(transports[0], 'No WebSocket');
  let href = url;
  if (typeof url === 'function') {
    demand(!options.resume || 'get' in options.resume, 'resume: get()');
  } else {
    href = hrefOf(url);
  }
  return new StreamReader<T>({
    ...options,
    idle,
    maxEventLength,
    base,
    max,
    attempts,
    WebSocket,
    as: transports,
    url: href,
  });
}

function demand(isFine: unknown, message: string): void {
  if (!isFine) {
    throw new StreamClientError('invalid-option', message);
  }
}
