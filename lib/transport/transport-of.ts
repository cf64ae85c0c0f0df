import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { Http1Transport } from './http1.transport.js';
import { Http2Transport } from './http2.transport.js';
import type { Transport } from './transport.js';

/** Creates the transport for a response, depending on its version of HTTP. */
export function transportOf(response: ServerResponse): Transport {
  return response.req.httpVersionMajor === 2
    ? new Http2Transport(response as unknown as Http2ServerResponse)
    : new Http1Transport(response);
}
