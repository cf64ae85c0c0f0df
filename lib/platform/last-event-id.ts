import type { IncomingMessage } from 'node:http';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Returns the `Last-Event-ID` of a request, whatever it is: only a hub or a handler knows which ids there are, and a client that has a wrong one
 * must not be taken for a new one. Node.js limits its length, as that of all headers.
 * @param requested an id that the request holds elsewhere. It comes before that of the header: browsers cannot set headers of a WebSocket
 */
export function lastEventIdOf({ headers }: IncomingMessage, requested = ''): string | undefined {
  if (requested !== '') {
    return requested;
  }
  const header = headers['last-event-id'];
  return header === undefined ? undefined : textOfHeader(String(header));
}

/** Clients send it as UTF-8 (WHATWG HTML §9.2.4); Node.js reads headers as Latin-1. */
function textOfHeader(value: string): string {
  try {
    return utf8.decode(Buffer.from(value, 'latin1'));
  } catch {
    // Not UTF-8, so Latin-1 it is.
    return value;
  }
}
