import { isBinary, toBytes } from './binary.js';
import type { ChosenFormat } from './negotiate.js';
import { bytesFormat } from './text.format.js';

/** The format for the body of a web `Response`. The content type is that of the `Response`, if it has one. */
export const PASSTHROUGH: ChosenFormat = { format: bytesFormat, contentType: undefined };

/** Matches text that ends with an empty line: two line ends, each LF, CRLF or CR. A CR after a CRLF may be the first half of the next CRLF. */
const BOUNDARY = /(?:\n\n|\n\r\n|\r\r\n?)$/;
/** The number of bytes at the end that are needed to recognize an empty line. */
const TAIL = 3;

/**
 * Returns a format like {@link PASSTHROUGH} for a body of Server-Sent Events, with heartbeats between events. Each stream has its own, which
 * remembers the last bytes to know where an event ends. A heartbeat is a single line without a blank line, as it is not known whether the
 * body has had ids.
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

/** Returns the last bytes of an encoded chunk, one character for each byte. Line ends are ASCII. */
function latin1(encoded: string | Uint8Array): string {
  return isBinary(encoded) ? toBytes(encoded).subarray(-TAIL).toString('latin1') : encoded.slice(-TAIL);
}
