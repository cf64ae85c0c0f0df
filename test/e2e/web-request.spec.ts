import { once } from 'node:events';
import { connect, constants } from 'node:http2';
import { text } from 'node:stream/consumers';
import { All, Controller, HttpCode, Req, RequestMethod } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { webRequest } from '../../lib/ai/index.js';
import { Stream } from '../../lib/index.js';
import { type AppSetup, PLATFORMS } from '../support/app.js';
import { Recorder } from '../support/events.js';
import { useApps } from '../support/running.js';

const start = useApps();

/** What a handler sees of a request. */
interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** The requests whose responses have begun. */
let requests: Recorder<Request>;

@Controller()
class Requests {
  @All(['seen', 'seen/:name'])
  @HttpCode(200)
  async seen(@Req() request: object): Promise<Seen> {
    const web = webRequest(request);
    return { method: web.method, url: web.url, headers: Object.fromEntries(web.headers), body: await web.text() };
  }

  @Stream('wait', { method: RequestMethod.ALL, format: 'text' })
  async *wait(@Req() request: object) {
    requests.add(webRequest(request));
    yield 'waits';
    await new Promise(() => undefined);
  }

  @Stream('end', { format: 'text' })
  *end(@Req() request: object) {
    requests.add(webRequest(request));
    yield 'over';
  }

  /** Returns the web Request to the client, as an SDK returns its Response. */
  @Stream('fetched', { method: RequestMethod.POST })
  async fetched(@Req() request: object) {
    const { body, method } = webRequest(request);
    return new Response(body, { status: 202, headers: { 'X-Method': method } });
  }
}

async function aborted(request: Request | undefined): Promise<void> {
  if (request?.signal.aborted === false) {
    await once(request.signal, 'abort');
  }
}

beforeEach(() => {
  requests = new Recorder();
});

describe.each(PLATFORMS)('%s: webRequest()', (platform) => {
  const run = (setup: AppSetup = {}) => start(platform, { controllers: [Requests], ...setup });
  const seen = async (response: Response | Promise<Response>): Promise<Seen> =>
    (await response).json() as Promise<Seen>;

  it('has the method, the URL and the headers of the request, and no headers of the connection', async () => {
    const { connect: open } = await run();
    const client = await open();

    client.send(
      'DELETE /seen/a%20b?x=1&x=2 HTTP/1.1\r\nHost: example.test:8080\r\nConnection: close\r\n' +
        'Keep-Alive: timeout=5\r\nX-Many: a\r\nX-Many: b\r\nCookie: a=1\r\n\r\n',
    );
    await client.closed();

    expect(JSON.parse(client.body)).toEqual({
      method: 'DELETE',
      url: 'http://example.test:8080/seen/a%20b?x=1&x=2',
      headers: { host: 'example.test:8080', 'x-many': 'a, b', cookie: 'a=1' },
      body: '',
    });
  });

  it.each([
    ['JSON', 'application/json', '{"a": [1, "ü"]}', '{"a":[1,"ü"]}'],
    ['a form', 'application/x-www-form-urlencoded', 'a=1&a=2&b=%C3%BC+x', 'a=1&a=2&b=%C3%BC+x'],
  ])('serializes %s again that the platform has parsed', async (_what, type, body, text) => {
    const { url } = await run();

    const echo = await seen(fetch(url('/seen'), { method: 'POST', headers: { 'Content-Type': type }, body }));

    expect(echo.body).toBe(text);
    expect(echo.headers['content-type']).toBe(type);
    expect(echo.headers['content-length']).toBeUndefined();
  });

  it('has the bytes of the body with rawBody: true', async () => {
    const { url } = await run({ rawBody: true });
    const body = '{"a":  1}';

    const echo = await seen(
      fetch(url('/seen'), { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body }),
    );

    expect(echo.body).toBe(body);
  });

  it('passes a body that the platform has not read as a stream', async () => {
    const { url } = await run({
      configure: (app) => {
        if (platform === 'fastify') {
          const fastify = (app as NestFastifyApplication).getHttpAdapter().getInstance();
          fastify.addContentTypeParser('application/x-bytes', (_request, _payload, done) => done(null));
        }
      },
    });

    const response = await fetch(url('/fetched'), {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-bytes' },
      body: 'bytes',
    });

    expect([response.status, response.headers.get('x-method')]).toEqual([202, 'POST']);
    expect(await response.text()).toBe('bytes');
  });

  it.each([
    ['example.test/evil?', 400],
    ['user@example.test', 400],
    ['a b', 400],
    ['[::1]:80', 200],
  ])('refuses a host that is not valid: %s', async (host, status) => {
    const { connect: open } = await run();
    const client = await open();

    client.send(`GET /seen HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    await client.closed();

    expect(Number(client.head.slice(9, 12))).toBe(status);
  });

  it('cannot have the method TRACE, which is answered and is no internal error', async () => {
    const { connect: open } = await run();
    const client = await open();

    client.send('TRACE /seen HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    await client.closed();

    expect(client.head.slice(9, 12)).toBe('501');
  });

  it('has the path of a request whose target is a whole URL', async () => {
    const { connect: open } = await run();
    const client = await open();

    client.send('GET http://other.test/seen?x HTTP/1.1\r\nHost: example.test\r\nConnection: close\r\n\r\n');
    await client.closed();

    expect(JSON.parse(client.body).url).toBe('http://example.test/seen?x');
  });

  it('has the public host and protocol behind a proxy that the platform trusts', async () => {
    const headers = { 'X-Forwarded-Host': 'public.test', 'X-Forwarded-Proto': 'https' };
    const trusting = await run({
      fastify: { trustProxy: true },
      configure: (app) =>
        platform === 'express' ? void (app as NestExpressApplication).set('trust proxy', true) : undefined,
    });
    const other = await run();

    expect((await seen(fetch(trusting.url('/seen'), { headers }))).url).toBe('https://public.test/seen');
    expect((await seen(fetch(other.url('/seen'), { headers }))).url).toBe(other.url('/seen'));
  });

  it('is aborted when the client disconnects, also after its body was read', async () => {
    const { get } = await run();
    const client = await get('/wait', { 'Content-Type': 'application/json', 'Content-Length': '2' }, 'POST');
    client.send('{}');
    await client.until('waits');
    const [request] = await requests.count(1);

    expect(request?.signal.aborted).toBe(false);
    client.disconnect();
    await aborted(request);

    expect(request?.signal.reason).toMatchObject({ name: 'AbortError' });
  });

  it('is not aborted after its response has ended, when the connection closes', async () => {
    const { connect: open, sockets } = await run();
    const client = await open();
    const get = (path: string) => client.send(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);

    get('/end');
    await client.until('over');
    get('/wait');
    await client.until('waits');
    const [ended, waiting] = await requests.count(2);
    client.disconnect();
    await aborted(waiting);

    expect(sockets.seen).toHaveLength(1);
    expect(ended?.signal.aborted).toBe(false);
  });
});

describe('fastify over HTTP/2: webRequest()', () => {
  it('has the URL and the headers of the request, and is aborted when the client resets the stream', async () => {
    const { port } = await start('fastify', { controllers: [Requests], fastify: { http2: true } });
    const session = connect(`http://127.0.0.1:${port}`);
    try {
      const echo = session.request({ ':path': '/seen?x=1', cookie: ['a=1', 'b=2'], 'x-a': 'b' });
      expect(JSON.parse(await text(echo))).toEqual({
        method: 'GET',
        url: `http://127.0.0.1:${port}/seen?x=1`,
        headers: { cookie: 'a=1; b=2', 'x-a': 'b' },
        body: '',
      });
      await text(session.request({ ':path': '/end' }));
      const stream = session.request({ ':path': '/wait' });
      await once(stream, 'data');
      stream.close(constants.NGHTTP2_CANCEL);
      const [ended, waiting] = await requests.count(2);
      await aborted(waiting);

      expect(ended?.signal.aborted).toBe(false);
    } finally {
      session.close();
    }
  });
});
