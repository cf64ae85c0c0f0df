import type { IncomingMessage } from 'node:http';
import type { StreamLogger } from './connection/stream-settings.js';

const LONGEST = 1_024;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Whether a client would send it. */
export function isLastEventId(value: unknown): boolean {
  return typeof value === 'string' && value.length <= LONGEST && !value.includes('\0');
}

/**
 * The `Last-Event-ID` of a request, or nothing if no client would send it.
 * @param fromQuery whether `?lastEventId=` says so too, and first: browsers cannot set headers of a WebSocket
 */
export function lastEventIdOf(request: IncomingMessage, logger: StreamLogger, fromQuery = false): string | undefined {
  const query = fromQuery ? new URLSearchParams(/\?([^#]*)/.exec(request.url ?? '')?.[1]).get('lastEventId') : null;
  const header = request.headers['last-event-id'];
  const value = query || (header === undefined ? undefined : String(header));
  if (value === undefined) {
    return undefined;
  }
  if (!isLastEventId(value)) {
    logger.debug(
      `Ignored a Last-Event-ID of ${value.length} characters: no client sends one that is longer than ${LONGEST} or holds a NUL`,
    );
    return undefined;
  }
  return value === query ? value : decoded(value);
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
