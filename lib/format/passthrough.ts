import { isBinary, toBytes } from './binary.js';
import type { ChosenFormat } from './negotiate.js';
import { bytesFormat } from './text.format.js';

/** The body of a web `Response`, which has a content type of its own, if any. */
export const PASSTHROUGH: ChosenFormat = { format: bytesFormat, contentType: undefined };

/** An empty line at the end: two ends of line, each LF, CRLF or CR. A CR after a CRLF is half of the next one. */
const BOUNDARY = /(?:\n\n|\n\r\n|\r\r\n?)$/;
/** How many bytes at the end tell. */
const TAIL = 3;

/**
 * As {@link PASSTHROUGH}, of a body of Server-Sent Events that has heartbeats between its events. Made for each stream, as it has to know
 * where an event ends. A heartbeat is one line: whether there have been ids is not known.
 */
export function eventStreamPassthrough(): ChosenFormat {
  let tail = '';
  const format = {
    ...bytesFormat,
    encode: (value: unknown) => {
      const encoded = bytesFormat.encode(value);
      tail = (tail + latin1(encoded)).slice(-TAIL);
      return encoded;
    },
    heartbeat: () => (tail === '' || BOUNDARY.test(tail) ? ':\n' : ''),
  };
  return { format, contentType: undefined };
}

/** The end of what was encoded, a character for each byte. Those that tell are ASCII. */
function latin1(encoded: string | Uint8Array): string {
  return isBinary(encoded) ? toBytes(encoded).subarray(-TAIL).toString('latin1') : encoded.slice(-TAIL);
}
