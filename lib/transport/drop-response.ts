import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** An error code (RFC 9113 §7). Not CANCEL: after that, the HTTP/2 client of Node.js ends the body as if it were complete. */
export const INTERNAL_ERROR = 0x2;

/** Drops a response at once: its connection, or over HTTP/2 only its stream. */
export function dropResponse(response: ServerResponse | Http2ServerResponse): void {
  // A property such as `stream` does not identify a response of HTTP/2, since middleware adds properties of its own.
  if (response.req.httpVersionMajor === 2) {
    const { stream } = response as Http2ServerResponse;
    stream.close(INTERNAL_ERROR);
    // The reset is queued behind other bytes of the connection, which the client may never read. destroy() does not wait for that.
    stream.destroy();
  } else {
    response.req.socket.destroy();
  }
}
