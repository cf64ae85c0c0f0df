import { hrefOf, type StreamUrl } from './attempt.js';
import { StreamClientError } from './errors.js';
import { ItemReader } from './item-reader.js';
import type { ClientStream, ConnectOptions, KeptId, StreamTransport } from './options.js';

const TRANSPORTS: readonly StreamTransport[] = ['sse', 'ndjson', 'json-seq', 'ws', 'poll'];

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
  const { idle = 1, maxEventLength = 1, retry: { base = 1, max = 1, attempts = 1 } = {} } = options;
  for (const [name, value] of Object.entries({ idle, maxEventLength, base, max, attempts })) {
    demand(value >= 0, `"${name}" must be a number from 0 on, not ${value}`);
  }
  const href = typeof url === 'function' ? url : hrefOf(url);
  return new ItemReader<T>(href, options, transportsOf(options), keptId(options, `${options.method ?? 'GET'} ${href}`));
}

function transportsOf({ as = 'sse', headers, method, body, WebSocket }: ConnectOptions): readonly StreamTransport[] {
  const asked = [as].flat() as StreamTransport[];
  demand(asked[0] && asked.every((each) => TRANSPORTS.includes(each)), `"as" must be of ${TRANSPORTS}, not ${as}`);
  const isUsable = (each: StreamTransport): unknown => each !== 'ws' || (WebSocket ?? globalThis.WebSocket);
  demand(
    !(asked.includes('ws') && (headers || method || body)),
    'A WebSocket has no headers, method or body: use a cookie',
  );
  const usable = asked.filter(isUsable);
  demand(usable[0], 'There is no WebSocket here: set the option WebSocket');
  return usable;
}

function keptId({ resume }: ConnectOptions, key: string): KeptId | undefined {
  if (!resume) {
    return undefined;
  }
  return 'getItem' in resume
    ? { get: () => resume.getItem(key), set: (id) => resume.setItem(key, id) }
    : { get: () => resume.get(key), set: (id) => resume.set(key, id) };
}

function demand(isFine: unknown, message: string): void {
  if (!isFine) {
    throw new StreamClientError('invalid-option', message);
  }
}
