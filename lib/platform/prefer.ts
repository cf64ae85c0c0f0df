import type { IncomingMessage } from 'node:http';

// preference = word-pair *( OWS ";" [ OWS word-pair ] ) ; word-pair = token [ BWS "=" BWS ( token / quoted-string ) ]
const TOKEN = "[\\w!#$%&'*+.^`|~-]+";
const QUOTED = '"(?:[^"\\\\]|\\\\.)*"';
const PAIR = `(${TOKEN})(?:[ \\t]*=[ \\t]*(${TOKEN}|${QUOTED}))?`;
const PREFERENCE = new RegExp(`^${PAIR}(?:[ \\t]*;(?:[ \\t]*${PAIR})?)*$`);
/** Matches an element between commas. Commas within quotes do not count. A quote that is not closed extends to the end. */
const ELEMENT = new RegExp(`(?:${QUOTED}|[^,"]|".*)+?(?=,|$)`, 'g');

/** A longer header is ignored, as a server may ignore any preference. */
const LONGEST_PREFER = 1_024;

/**
 * Returns how long a client is willing to wait for a response, in seconds: its preference `wait` (RFC 7240 §4.3). Returns `undefined` if it is missing
 * or malformed, since a preference must never cause an error.
 */
export function waitOf({ method, headers }: IncomingMessage): number | undefined {
  const { prefer } = headers;
  // A response to HEAD has no body to wait for.
  if (prefer === undefined || prefer.length > LONGEST_PREFER || method === 'HEAD') {
    return undefined;
  }
  for (const [element] of String(prefer).matchAll(ELEMENT)) {
    const [, name, value = ''] = PREFERENCE.exec(element.trim()) ?? [];
    if (name?.toLowerCase() === 'wait') {
      // Only the first instance of a preference is considered (§2).
      return secondsOf(value);
    }
  }
  return undefined;
}

/** delta-seconds = 1*DIGIT (RFC 9111 §1.2.2) */
function secondsOf(value: string): number | undefined {
  const digits = /^"?(\d+)"?$/.exec(value)?.[1];
  return digits === undefined ? undefined : Number(digits);
}
