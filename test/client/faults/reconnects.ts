import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PAGE } from './feed.js';

/** Cuts each response after one item, until a client has a number of them. */
export class RestlessServer {
  private constructor(private readonly server: Server) {}

  static async start(total: number): Promise<RestlessServer> {
    const server = createServer((request, response) => {
      const { url = '', headers } = request;
      if (url === '/') {
        response.setHeader('content-type', 'text/html').end(PAGE);
        return;
      }
      const n = Number(headers['last-event-id'] ?? 0) + 1;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      if (n > total) {
        // On a busy machine, the last response may be silent for so long that a client asks again.
        response.write(': nothing more\n\n');
        return;
      }
      // The last one stays open.
      response.write(`retry: 0\nid: ${n}\ndata: {"n":${n}}\n\n`, () => n < total && request.socket.destroy());
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new RestlessServer(server);
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = once(this.server, 'close');
    this.server.closeAllConnections();
    this.server.close();
    await closed;
  }
}
