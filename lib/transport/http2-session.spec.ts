import { once } from 'node:events';
import { connect, createServer, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { type AddressInfo, connect as connectSocket } from 'node:net';
import { probeSession } from './http2-session.js';

const { jest } = import.meta;

describe('A PING to a session', () => {
  let server: Http2Server;
  let port: number;

  beforeEach(async () => {
    jest.useFakeTimers({ doNotFake: ['nextTick', 'setImmediate', 'queueMicrotask'] });
    server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
  });

  afterEach(async () => {
    jest.useRealTimers();
    await new Promise((resolve) => server.close(resolve));
  });

  it('is sent once at a time, however many streams request it, and does not affect a client that answers', async () => {
    const client = connect(`http://127.0.0.1:${port}`);
    let pings = 0;
    client.on('ping', () => pings++);
    const [session] = (await once(server, 'session')) as [ServerHttp2Session];
    await once(client, 'remoteSettings');

    for (let round = 1; round <= 3; round++) {
      for (let i = 0; i < 100; i++) {
        probeSession(session);
      }
      // Answered in order: when this one is, so is the one before.
      await new Promise((resolve) => session.ping(resolve));
      expect(pings).toBe(2 * round);
    }
    jest.advanceTimersByTime(60_000);

    expect(session.destroyed).toBe(false);
    client.close();
    await once(client, 'close');
    expect(() => probeSession(session)).not.toThrow();
  });

  it('ends the session if the client does not answer', async () => {
    const socket = connectSocket({ port, host: '127.0.0.1', allowHalfOpen: true });
    const [session] = (await once(server, 'session')) as [ServerHttp2Session];
    const closed = once(session, 'close');

    probeSession(session);
    jest.advanceTimersByTime(29_999);
    expect(session.destroyed).toBe(false);
    jest.advanceTimersByTime(1);

    await closed;
    socket.destroy();
  });
});
