import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Deferred, deferred } from './events.js';

/** A server that a route fetches from. It responds when the test says so. */
export interface Upstream {
  readonly url: string;
  /** Resolves when it has received a request. */
  readonly asked: Promise<void>;
  /** It responds after this is resolved. */
  readonly gate: Deferred;
  close(): void;
}

export async function upstream(respond: RequestListener): Promise<Upstream> {
  const asked = deferred();
  const gate = deferred();
  const server = createServer((request, response) => {
    asked.resolve();
    void gate.promise.then(() => respond(request, response));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    asked: asked.promise,
    gate,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
