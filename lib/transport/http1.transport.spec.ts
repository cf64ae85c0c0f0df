import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { Http1Transport } from './http1.transport.js';
import { SharedChunk } from './shared-chunk.js';

const nothing = (): void => undefined;

/** The transport of a stream whose head is written. */
function begun(response: ServerResponse): Http1Transport {
  const transport = new Http1Transport(response);
  transport.listen({ endless: true, onDrain: nothing, onFinish: nothing, onClose: nothing, fail: nothing });
  transport.begin([]);
  transport.flushHead();
  return transport;
}

describe('A response that the application ends itself', () => {
  it('is not followed by a shared chunk, and its connection stays open', async () => {
    const serve = (request: IncomingMessage, response: ServerResponse): void => {
      if (request.url === '/next') {
        response.end('next');
        return;
      }
      const transport = begun(response);
      transport.writeShared(new SharedChunk('first'));
      response.end();
      transport.writeShared(new SharedChunk('late'));
    };
    const server = createServer(serve).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('latin1');
    let received = '';

    socket.write('GET / HTTP/1.1\r\nHost: test\r\n\r\n');
    for await (const data of socket) {
      const before = received.includes('\r\n0\r\n\r\n');
      received += data;
      if (!before && received.includes('\r\n0\r\n\r\n')) {
        socket.write('GET /next HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
      }
    }

    server.close();
    expect(received).toMatch(/\r\n\r\n5\r\nfirst\r\n0\r\n\r\nHTTP\/1\.1 200 OK\r\n.*\r\n\r\nnext$/s);
    expect(received).not.toContain('late');
  });
});

describe('Middleware that wraps end() of a response', () => {
  it('is called when a stream of shared chunks ends, as express-session needs to save the session', async () => {
    const ended: unknown[][] = [];
    const serve = (_request: IncomingMessage, response: ServerResponse): void => {
      const { end } = response;
      response.end = ((...args: Parameters<typeof end>) => {
        ended.push(args);
        return Reflect.apply(end, response, args);
      }) as typeof end;
      const transport = begun(response);
      transport.writeShared(new SharedChunk('first'));
      transport.end('last');
      transport.writeShared(new SharedChunk('late'));
    };
    const server = createServer(serve).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));

    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);

    expect(await response.text()).toBe('firstlast');
    expect(ended).toEqual([['last']]);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('The first shared chunk of a response', () => {
  /** Answers one request, and returns the bytes of the response. */
  async function bytesOf(serve: (transport: Http1Transport, response: ServerResponse) => void): Promise<string> {
    const server = createServer((_request, response) => {
      const transport = begun(response);
      serve(transport, response);
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').setEncoding('latin1');
    socket.write('GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
    let received = '';
    for await (const data of socket) {
      received += data;
    }
    server.close();
    return received;
  }

  it('is not written after the last chunk, if other code has ended the response while bytes wait', async () => {
    const received = await bytesOf((transport, response) => {
      const { socket } = response;
      socket?.cork();
      response.end('last');
      transport.writeShared(new SharedChunk('late'));
      socket?.uncork();
    });

    expect(received).toMatch(/\r\n\r\n4\r\nlast\r\n0\r\n\r\n$/);
  });

  it('throws what a replaced write() of the socket throws, so that the stream fails', async () => {
    const errors: unknown[] = [];
    await bytesOf((transport, response) => {
      const { socket } = response;
      Object.assign(socket as object, {
        write: () => {
          throw new Error('a tool failed');
        },
      });
      try {
        transport.writeShared(new SharedChunk('first'));
      } catch (error) {
        errors.push(error);
      }
      socket?.destroy();
    });

    expect(errors).toEqual([new Error('a tool failed')]);
  });
});
