import { once } from 'node:events';
import { connect, createServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Http2Transport } from './http2.transport.js';
import { SharedChunk } from './shared-chunk.js';

/** All that can still come when a stream is over. */
function useLate(transport: Http2Transport): void {
  transport.write('late');
  transport.writeShared(new SharedChunk('late'));
  transport.flushHead();
  transport.probe();
  transport.end('late');
  transport.truncate('late');
  transport.destroy();
}

describe('A response over HTTP/2', () => {
  it.each<[string, (response: Http2ServerResponse, transport: Http2Transport) => void]>([
    ['that other code ends', (response) => response.end()],
    ['that other code resets', (response) => response.stream.close(0)],
    ['that other code destroys', (response) => response.destroy()],
    ['that has been ended', (_, transport) => transport.end()],
    ['that has been broken off', (_, transport) => transport.truncate()],
    ['that has been dropped', (_, transport) => transport.destroy()],
  ])('%s ignores further writes, throws nothing, and its session stays open', async (_, end) => {
    const over: (() => void)[] = [];
    const serve = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
      if (request.url === '/next') {
        response.end('next');
        return;
      }
      const transport = new Http2Transport(response);
      transport.listen({
        endless: false,
        onDrain: () => undefined,
        onFinish: () => undefined,
        onClose: () => undefined,
        fail: () => undefined,
      });
      transport.begin([]);
      transport.write('first');
      end(response, transport);
      response.stream.on('close', () => {
        useLate(transport);
        setImmediate(() => {
          useLate(transport);
          over.splice(0).map((resolve) => resolve());
        });
      });
    };
    const server = createServer(serve).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    const read = async (path: string): Promise<string> => {
      let body = '';
      const stream = client.request({ ':path': path }).setEncoding('utf8');
      stream.on('data', (data: string) => {
        body += data;
      });
      stream.on('error', () => undefined);
      await new Promise((resolve) => stream.on('close', resolve));
      return body;
    };

    const late = new Promise<void>((resolve) => over.push(resolve));
    const first = await read('/');
    await late;
    const next = await read('/next');
    client.close();
    server.close();

    expect(['', 'first']).toContain(first);
    expect(next).toBe('next');
  });
});
