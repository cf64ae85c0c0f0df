import type { ServerResponse } from 'node:http';
import type { OutgoingHeaders } from './transport.js';

/** Headers about a connection, or about how a message is framed on it: the server sets them (RFC 9110 §7.6.1, RFC 9113 §8.2.2). */
export const CONNECTION_HEADERS = [
  'connection',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
] as const;

export const CONTENT_LENGTH = 'content-length';

/** Returns whether a value of the header `Connection` has the option `close`. */
export function closes(value: unknown): boolean {
  return [value].flat().some((each) => /(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(String(each)));
}

/**
 * Writes a head through the `writeHead()` of middleware, such as that of the package on-headers, which sets headers at the last moment. Those that
 * would frame the message are left out: it has been framed already. Returns their names.
 */
export function writeThrough(response: ServerResponse, headers: OutgoingHeaders): readonly string[] {
  for (let i = 0; i < headers.length; i += 2) {
    response.setHeader(String(headers[i]), headers[i + 1] as string);
  }
  const { setHeader, appendHeader } = response;
  const dropped = new Set<string>();
  const guarded = <V>(set: (name: string, value: V) => ServerResponse) =>
    function (this: ServerResponse, name: string, value: V): ServerResponse {
      const framing = frames(name, value);
      if (framing !== undefined) {
        dropped.add(framing);
      }
      return framing === undefined ? set.call(this, name, value) : this;
    };
  response.setHeader = guarded(setHeader) as ServerResponse['setHeader'];
  response.appendHeader = guarded(appendHeader) as ServerResponse['appendHeader'];
  try {
    response.writeHead(response.statusCode);
  } finally {
    response.setHeader = setHeader;
    response.appendHeader = appendHeader;
  }
  return [...dropped];
}

/** The name of a header in lower case, if it frames the message or keeps the connection; else `undefined`. */
function frames(name: string, value: unknown): string | undefined {
  const lower = String(name).toLowerCase();
  const ofConnection = (CONNECTION_HEADERS as readonly string[]).includes(lower);
  return lower === CONTENT_LENGTH || (ofConnection && !(lower === 'connection' && closes(value))) ? lower : undefined;
}
