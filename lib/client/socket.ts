import type { Attempt, Ending } from './attempt.js';
import { StreamClientError, StreamResponseError } from './errors.js';
import { request, retryAfter } from './http.js';
import { json, type Received } from './records.js';

/** How much may wait to be read, in characters. Nothing slows down the server of a WebSocket. */
const MOST_WAITING = 2 ** 20;

/** The part of a WebSocket that this client uses. */
export interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: (() => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  send(message: unknown): void;
  close(): void;
}

/** Receives a stream over one WebSocket. The first result means that it is open. */
export async function* receiveOverSocket(
  attempt: Attempt,
  url: string,
  onSocket: (socket?: Socket) => void,
): AsyncGenerator<Received[], Ending> {
  const { id, options } = attempt;
  const protocols = ['events.v1+json', 'heartbeats'];
  if (id) {
    // A subprotocol is a token (RFC 9110 §5.6.2), in which parentheses are not allowed.
    protocols.push(`last-event-id.${encodeURIComponent(id).replaceAll('(', '%28').replaceAll(')', '%29')}`);
  }
  const Constructor = (options.WebSocket ?? globalThis.WebSocket) as new (url: string, protocols: string[]) => Socket;
  const socket = new Constructor(url.replace('http', 'ws'), protocols);
  let opened = false;
  try {
    for await (const message of attempt.valuesOf(messagesOf(socket))) {
      if (message instanceof Error) {
        if (!opened) {
          await findReason(attempt, url);
        }
        throw message;
      }
      if (!opened) {
        opened = true;
        onSocket(socket);
      }
      yield [message === '' ? {} : (json(message) as Received)];
    }
  } finally {
    onSocket();
    socket.close();
  }
  return 'end';
}

/** Returns the messages of a socket. The first one is empty: the socket is open. The last one may be an error. */
function messagesOf(socket: Socket): ReadableStream<string | Error> {
  let over = false;
  return new ReadableStream<string | Error>(
    {
      start(controller) {
        const add = (message: string | Error | undefined, last?: boolean): void => {
          if (!over) {
            over = last === true;
            if (message !== undefined) {
              controller.enqueue(message);
            }
            if (last) {
              controller.close();
            } else if ((controller.desiredSize ?? 0) < 0) {
              add(new StreamClientError('network', 'Messages came faster than they were read'), true);
            }
          }
        };
        socket.onopen = () => add('');
        socket.onmessage = ({ data }) => add(String(data));
        // The close event that follows says the same.
        socket.onerror = () => undefined;
        socket.onclose = ({ code, reason }) => add(errorOf(code, reason), true);
      },
      cancel() {
        over = true;
      },
    },
    { highWaterMark: MOST_WAITING, size: (message) => String(message).length },
  );
}

/** Throws if the server refuses the stream. Browsers do not say why a handshake failed. */
async function findReason(attempt: Attempt, url: string): Promise<void> {
  const { status, headers } = await request(attempt, url, { method: 'HEAD' });
  // 405 and 426: the route exists, but not for this request.
  if (status >= 400 && status !== 405 && status !== 426) {
    throw new StreamResponseError('response', status, undefined, retryAfter(headers));
  }
}

/** Returns the error of a close code (RFC 6455 §7.4.1). After some of them, a new WebSocket would be closed for the same reason. */
function errorOf(code: number, reason: string): StreamClientError | undefined {
  return code === 1_000
    ? undefined
    : new StreamClientError(
        [1_002, 1_003, 1_007, 1_008, 1_009, 1_010].includes(code) ? 'closed' : 'network',
        `The WebSocket was closed with ${code} ${reason}`,
      );
}
