import type { ServerResponse } from 'node:http';
import { type ConnectOptions, connect } from '../../lib/client/index.js';
import { useRawServers } from '../support/raw-server.js';

const SSE = { 'content-type': 'text/event-stream' };

/** Writes a text again and again, as fast as the client reads, until the connection is closed. */
function writeForEver(response: ServerResponse, text: string): void {
  const write = (): void => {
    if (response.destroyed) {
      return;
    }
    if (response.write(text)) {
      setImmediate(write);
    } else {
      response.once('drain', write);
    }
  };
  write();
}

describe('a client that receives something else than a stream', () => {
  const serve = useRawServers();

  it.each(['', 'http://', 'ftp://host/x', 'ws://host/x', 'http://user:password@host/', '/relative', 'data:,x'])(
    'refuses the URL %j',
    async (url) => {
      expect(() => connect(url)).toThrow(expect.objectContaining({ code: 'invalid-url' }));
      await expect(connect(() => url).next()).rejects.toMatchObject({ code: 'invalid-url' });
    },
  );

  it.each<[string, object]>([
    ['idle', { idle: -1 }],
    ['retry', { retry: { attempts: Number.NaN } }],
    ['as', { as: 'websocket' }],
    ['as', { as: [] }],
    ['headers', { as: 'ws', headers: { a: 'b' } }],
  ])('refuses a wrong option %s', (_, options) => {
    expect(() => connect('http://localhost/', options as ConnectOptions)).toThrow(
      expect.objectContaining({ code: 'invalid-option' }),
    );
  });

  it('refuses a storage for a URL that is a function, as the id has no key', () => {
    const resume = { getItem: () => null, setItem: () => undefined };
    expect(() => connect(() => 'http://localhost/', { resume })).toThrow(
      expect.objectContaining({ code: 'invalid-option' }),
    );
  });

  it.each<[string, ConnectOptions]>([
    ['a GET with a body', { body: { a: 1 } }],
    ['a header with a line break', { headers: { a: 'b\nc' } }],
    ['a body that can be sent only once', { method: 'POST', body: new ReadableStream() }],
  ])('refuses a request that fetch() can never send: %s', async (_, options) => {
    const { url, requests } = await serve((response) => response.end());
    await expect(connect(url, options).next()).rejects.toMatchObject({ code: 'invalid-option' });
    expect(requests.seen).toEqual([]);
  });

  it.each(['text/html', 'application/json', 'application/octet-stream', ''])(
    'ends with an error that names the media type %j, and closes the connection',
    async (type) => {
      const { url, closed } = await serve((response) => {
        response.writeHead(200, type ? { 'content-type': type } : {});
        writeForEver(response, '<html>');
      });
      await expect(connect(url).next()).rejects.toMatchObject({
        code: 'content-type',
        message: expect.stringContaining(type),
      });
      await closed.count(1);
    },
  );

  it.each([
    ['an event', SSE, 'data: x\n'],
    ['a line', SSE, 'x'],
    ['a record', { 'content-type': 'application/x-ndjson' }, '[1,'],
  ])('ends when %s never ends', async (_, headers, text) => {
    const { url, closed } = await serve((response) => {
      response.writeHead(200, headers);
      writeForEver(response, text.repeat(1_000));
    });
    await expect(connect(url, { maxEventLength: 100_000 }).next()).rejects.toMatchObject({ code: 'too-large' });
    await closed.count(1);
  });

  it('ends when the body of an error never ends, with its beginning', async () => {
    const { url, closed } = await serve((response) => {
      response.writeHead(403);
      writeForEver(response, 'x'.repeat(10_000));
    });
    const error = await connect(url)
      .next()
      .catch((each) => each);
    expect(error).toMatchObject({ code: 'response', status: 403 });
    expect(error.body.length).toBeLessThan(400_000);
    await closed.count(1);
  });

  it('ends when the id has 1 MB', async () => {
    const { url, requests } = await serve((response) => {
      response.writeHead(200, SSE).end(`id: ${'x'.repeat(1_000_000)}\ndata: 1\n\n`);
    });
    await expect(connect(url).next()).rejects.toMatchObject({ code: 'too-large' });
    expect(requests.seen.length).toBe(1);
  });

  it('delivers what comes before a record that is not JSON', async () => {
    const { url } = await serve((response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' }).end('1\nnull\n<html>\n');
    });
    const stream = connect(url, { as: 'ndjson' });
    expect(await stream.next()).toMatchObject({ value: { data: 1 } });
    expect(await stream.next()).toMatchObject({ value: { data: null } });
    await expect(stream.next()).rejects.toMatchObject({ code: 'invalid-data' });
  });
});
