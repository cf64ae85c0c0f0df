import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { connect } from '../../lib/client/index.js';
import { deferred } from '../support/events.js';
import { useRawServers } from '../support/raw-server.js';

describe('a client over a WebSocket', () => {
  const serve = useRawServers();

  it('is not open if the handshake has failed', async () => {
    const { url } = await serve((response) => response.writeHead(426).end());
    const states: string[] = [];
    const stream = connect(url, { as: 'ws', WebSocket, retry: { attempts: 0 } });
    stream.on('state', (state) => states.push(state));
    await expect(stream.next()).rejects.toMatchObject({ code: 'network' });
    expect(states).toEqual(['connecting', 'closed']);
  });

  it('refuses to send as soon as the server has closed it, although items wait to be read', async () => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    server.on('connection', (socket) => {
      socket.send('{"data":1}');
      socket.send('{"data":2}');
      socket.close(1011);
    });
    await once(server, 'listening');
    const closed = deferred<void>();
    class Observed extends WebSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols);
        this.addEventListener('close', () => closed.resolve());
      }
    }
    const { port } = server.address() as AddressInfo;
    const stream = connect(`http://127.0.0.1:${port}/`, { as: 'ws', WebSocket: Observed });
    await stream.next();
    await closed.promise;
    expect(() => stream.send('x')).toThrow(expect.objectContaining({ code: 'invalid-state' }));
    stream.close();
    server.close();
  });
});
