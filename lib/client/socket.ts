import { type Attempt, lost } from './attempt.js';
import { StreamClientError } from './errors.js';
import { type Read, request, toSend } from './http.js';
import { jsonParser, type Parser, type Received } from './records.js';

/** Why a WebSocket is closed. */
interface Closing {
  readonly code: number;
  readonly reason: string;
}

/** The part of a WebSocket that this client uses. */
interface Socket {
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: (() => void) | null;
  onclose: ((event: Closing) => void) | null;
  send(message: unknown): void;
  close(): void;
}

/** Begins to receive a stream over one WebSocket. */
export async function openSocket(attempt: Attempt, url: string, id: string): Promise<Read> {
  const { WebSocket, maxEventLength } = attempt.settings;
  // A subprotocol is a token (RFC 9110 §5.6.2), in which parentheses are not allowed.
  const token = encodeURIComponent(id).replace(/[()]/g, escape);
  const protocols = ['events.v1+json', 'heartbeats', `last-event-id.${token}`];
  const socket = new WebSocket(url.replace('http', 'ws'), protocols) as Socket;
  const next = queueOf(attempt, socket, jsonParser(maxEventLength, eventOf));
  const isOpen = await attempt.wait(
    new Promise((resolve) => {
      socket.onopen = () => resolve(true);
      // Also later, but the close event that follows says the same.
      socket.onerror = () => resolve(false);
    }),
  );
  if (!isOpen) {
    // Browsers do not say why a handshake failed. 405 and 426: the route exists, but not for this request.
    throw await request(attempt, url, { method: 'HEAD' }).then(
      () => lost('No WebSocket'),
      (error) => (/405|426/.test(error.status) ? lost(error) : error),
    );
  }
  attempt.send = (message) => socket.send(toSend(message));
  return next;
}

/** Returns the event that a message contains, without what only a parser may say. */
function eventOf(value: unknown): Received {
  return { ...(value as object), text: undefined, error: undefined, next: undefined };
}

/** Returns a function that returns what has come over a socket, or how it was closed. */
function queueOf(attempt: Attempt, socket: Socket, parse: Parser): Read {
  let text = '';
  let end: Received | undefined;
  let wake = (): void => undefined;
  const finish = ({ code, reason }: Closing): void => {
    const why = `${code} ${reason}`;
    const error = /^10(0[23789]|10) /.test(why) ? new StreamClientError('closed', why) : lost(why);
    end ??= code === 1_000 ? { next: false } : { error };
    attempt.send = undefined;
    wake();
  };
  socket.onmessage = ({ data }) => {
    // Nothing slows down the server of a WebSocket: how much may wait to be read, in characters.
    if (text[1e6]) {
      finish({ code: 0, reason: 'slow' });
    }
    // JSON may have several lines. A line break within a string is escaped.
    text += end ? '' : `${`${data}`.replace(/\r\n?|\n/g, '')}\n`;
    wake();
  };
  socket.onclose = finish;
  attempt.signal.addEventListener('abort', () => socket.close());
  return async () => {
    if (!text && !end) {
      await attempt.wait(
        new Promise<void>((resolve) => {
          wake = resolve;
        }),
      );
    }
    const received = text ? parse(text) : [end as Received];
    text = '';
    return received;
  };
}
