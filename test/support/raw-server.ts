import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Recorder } from './events.js';

/** A server of another kind, which responds as a test says: each request is passed to the next function, and later ones to the last. */
export interface RawServer {
  readonly url: string;
  readonly requests: Recorder<IncomingMessage>;
  readonly closed: Recorder<IncomingMessage>;
}

type Respond = (response: ServerResponse, request: IncomingMessage) => unknown;

/** Starts servers, which are closed after the test. */
export function useRawServers(): (...responds: readonly Respond[]) => Promise<RawServer> {
  const running: { close(): void }[] = [];

  afterEach(() => {
    for (const server of running.splice(0)) {
      server.close();
    }
  });

  return async (...responds) => {
    const requests = new Recorder<IncomingMessage>();
    const closed = new Recorder<IncomingMessage>();
    const server = createServer((request, response) => {
      requests.add(request);
      response.on('close', () => closed.add(request));
      const respond = responds[requests.seen.length - 1] ?? responds.at(-1);
      respond?.(response, request);
    }).listen(0, '127.0.0.1');
    running.push({
      close: () => {
        server.closeAllConnections();
        server.close();
      },
    });
    await once(server, 'listening');
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/stream`, requests, closed };
  };
}
