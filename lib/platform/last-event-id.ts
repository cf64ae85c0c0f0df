import type { IncomingMessage } from 'node:http';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Returns the `Last-Event-ID` of a request, without validating it: only a hub or a handler knows which ids exist, and a client with an invalid
 * id must not be mistaken for a new client. Its length is limited by Node.js, like that of all headers.
 * @param requested an id from another part of the request, which takes precedence over the header: browsers cannot set headers for a WebSocket
 */
export function lastEventIdOf({ headers }: IncomingMessage, requested = ''): string | undefined {
  if (requested !== '') {
    return requested;
  }
  const header = headers['last-event-id'];
  return header === undefined ? undefined : textOfHeader(String(header));
}

/** The parameter of a URL that contains an id, for clients that cannot set headers. */
export const ID_PARAMETER = 'lastEventId';

/** Returns the id in the URL of a request. */
export function idInUrl({ url = '' }: IncomingMessage): string | undefined {
  return new URLSearchParams(/\?([^#]*)/.exec(url)?.[1]).get(ID_PARAMETER) || undefined;
}

/** Decodes the header again: clients send it as UTF-8 (WHATWG HTML §9.2.4), but Node.js reads headers as Latin-1. */
function textOfHeader(value: string): string {
  try {
    return utf8.decode(Buffer.from(value, 'latin1'));
  } catch {
    // The bytes are not UTF-8, so the header was Latin-1.
    return value;
  }
}
