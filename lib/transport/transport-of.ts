import type { ServerResponse } from 'node:http';
import { Http1Transport } from './http1.transport.js';
import type { Transport } from './transport.js';

/** The transport of a response, by the version of HTTP it is in. */
export function transportOf(response: ServerResponse): Transport {
  return new Http1Transport(response);
}
