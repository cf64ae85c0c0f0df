import type { IncomingMessage } from 'node:http';
import type { StreamLogger } from '../util/stream-logger.js';

const LONGEST = 1_024;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Returns the `Last-Event-ID` of a request, or `undefined` if no client would send it.
 * @param requested an id that the request holds elsewhere. It comes before that of the header: browsers cannot set headers of a WebSocket
 */
export function lastEventIdOf(request: IncomingMessage, logger: StreamLogger, requested = ''): string | undefined {
  const header = request.headers['last-event-id'];
  const value = requested || (header === undefined ? undefined : String(header));
  if (value === undefined) {
    return undefined;
  }
  if (value.length > LONGEST || value.includes('\0')) {
    logger.debug(
      `Ignored a Last-Event-ID of ${value.length} characters: no client sends one that is longer than ${LONGEST} or holds a NUL`,
    );
    return undefined;
  }
  return value === requested ? value : decoded(value);
}

/** Clients send it as UTF-8 (WHATWG HTML §9.2.4); Node.js reads headers as Latin-1. */
function decoded(value: string): string {
  try {
    return utf8.decode(Buffer.from(value, 'latin1'));
  } catch {
    // Not UTF-8, so Latin-1 it is.
    return value;
  }
}
