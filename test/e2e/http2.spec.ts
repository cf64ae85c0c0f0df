import { execFile } from 'node:child_process';
import { createServer } from 'node:http2';
import { promisify } from 'node:util';
import type { INestApplication } from '@nestjs/common';
import { Controller, Header, HttpCode, HttpException, Post, RequestMethod } from '@nestjs/common';
import {
  ConnectedStream,
  type Hub,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../lib/index.js';
import type { AppSetup } from '../support/app.js';
import { deferred } from '../support/events.js';
import { TLS, useSessions } from '../support/http2-client.js';
import { dataOf, eventsOf, hubOf, joined, publishAll, range } from '../support/hub.js';
import { useApps } from '../support/running.js';
import { itWith } from '../support/tools.js';

const SERVERS: [string, NonNullable<AppSetup['fastify']>, boolean][] = [
  ['without TLS', { http2: true }, false],
  ['with TLS', { http2: true, https: TLS }, true],
  ['with TLS and HTTP/1.1', { http2: true, https: { ...TLS, allowHTTP1: true } }, true],
  ['on a server of its own', { serverFactory: (handler) => createServer(handler as never) as never }, false],
];

/** Headers that HTTP/2 forbids (RFC 9113 §8.2.2). */
const FORBIDDEN = /^(connection|http2-settings|keep-alive|proxy-connection|te|transfer-encoding|upgrade)$/;
const NEVER = new Promise<never>(() => undefined);

describe.each(SERVERS)('HTTP/2 %s:', (_name, fastify, tls) => {
  const session = useSessions();
  const start = useApps();

  async function client(setup: Omit<AppSetup, 'fastify'>) {
    const app = await start('fastify', { fastify, ...setup });
    return { app, client: await session(app.port, { tls }) };
  }

  it.each([
    ['text/plain', 'text/plain; charset=utf-8', 'onetwo'],
    ['application/octet-stream', 'application/octet-stream', 'onetwo'],
    ['application/x-ndjson', 'application/x-ndjson', '"one"\n"two"\n'],
    ['application/json-seq', 'application/json-seq', '\x1e"one"\n\x1e"two"\n'],
    ['application/json', 'application/json', '["one","two"]'],
    ['text/event-stream', 'text/event-stream', 'data: one\n\ndata: two\n\n'],
  ])('a stream is delivered as %s', async (accept, contentType, body) => {
    const gate = deferred();
    @Controller()
    class Feed {
      @Stream('feed', { format: ['text', 'bytes', 'ndjson', 'json-seq', 'json', 'sse'] })
      async *feed() {
        const encode = (text: string) => (accept === 'application/octet-stream' ? Buffer.from(text) : text);
        yield encode('one');
        await gate.promise;
        yield encode('two');
      }
    }
    const { client: http2 } = await client({ controllers: [Feed] });

    const reply = http2.get('/feed', { accept });
    await reply.until('one');
    gate.resolve();
    await reply.closed();

    expect(reply.received).toBe(body);
    expect(reply.complete).toBe(true);
    expect(reply.headers).toMatchObject({
      ':status': 200,
      'content-type': contentType,
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-content-type-options': 'nosniff',
      incremental: '?1',
      vary: 'Accept',
    });
    expect(Object.keys(reply.headers ?? {}).filter((name) => FORBIDDEN.test(name))).toEqual([]);
    expect(reply.headers).not.toHaveProperty('content-length');
  });

  it('headers of the application are kept, and those that HTTP/2 forbids are removed', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      @Header('X-Decorated', 'yes')
      async *feed(@ConnectedStream() stream: StreamConnection) {
        stream
          .status(202)
          .header('Set-Cookie', ['b=2', 'c=3'])
          .header('Connection', 'keep-alive')
          .header('Keep-Alive', 'timeout=5')
          .header('Transfer-Encoding', 'chunked')
          .header('TE', 'gzip')
          .header('Upgrade', 'h2c')
          .header('Proxy-Connection', 'close');
        yield 'x';
      }
    }
    const configure = async (app: INestApplication) => {
      app.enableCors({ origin: 'https://example.com', credentials: true });
      const instance = app.getHttpAdapter().getInstance();
      instance.addHook(
        'onRequest',
        (_request: unknown, reply: { raw: { setHeader(name: string, value: string): void } }, done: () => void) => {
          reply.raw.setHeader('Set-Cookie', 'a=1');
          reply.raw.setHeader('Keep-Alive', 'timeout=9');
          reply.raw.setHeader('X-Raw', 'raw');
          done();
        },
      );
    };
    const { client: http2 } = await client({ controllers: [Feed], configure });

    const reply = http2.get('/feed', { origin: 'https://example.com' });
    await reply.closed();

    expect(reply.received).toBe('x');
    expect(reply.headers).toMatchObject({
      ':status': 202,
      'access-control-allow-origin': 'https://example.com',
      'set-cookie': ['a=1', 'b=2', 'c=3'],
      'x-decorated': 'yes',
      'x-raw': 'raw',
    });
    expect(Object.keys(reply.headers ?? {}).filter((name) => FORBIDDEN.test(name))).toEqual([]);
  });

  it('a body whose length is known has a Content-Length, and responses without a body have none', async () => {
    @Controller()
    class Feed {
      @Stream('whole')
      whole() {
        return ['ab', 'c'];
      }

      @Stream('empty')
      empty() {
        return [];
      }

      @Stream('head', { method: RequestMethod.HEAD, format: 'text' })
      async *head() {
        yield 'never sent';
        await NEVER;
      }

      @Stream('status/204')
      none(@ConnectedStream() stream: StreamConnection) {
        stream.status(204);
        return ['never sent'];
      }

      @Stream('status/205')
      reset(@ConnectedStream() stream: StreamConnection) {
        stream.status(205);
        return ['never sent'];
      }

      @Stream('status/304')
      unchanged(@ConnectedStream() stream: StreamConnection) {
        stream.status(304);
        return ['never sent'];
      }
    }
    const { client: http2, app } = await client({ controllers: [Feed] });

    const [whole, empty] = [http2.get('/whole'), http2.get('/empty')];
    const head = http2.get('/head', { ':method': 'HEAD' });
    const bodiless = [204, 205, 304].map((status) => http2.get(`/status/${status}`));
    await Promise.all([whole, empty, head, ...bodiless].map((reply) => reply.closed()));

    expect(whole).toMatchObject({ received: 'abc', complete: true, headers: { 'content-length': '3' } });
    expect(empty).toMatchObject({ received: '', complete: true, headers: { 'content-length': '0' } });
    expect(head).toMatchObject({ received: '', status: 200, error: undefined });
    expect(head.headers).not.toHaveProperty('content-length');
    expect(bodiless.map(({ status, received, error }) => [status, received, error])).toEqual([
      [204, '', undefined],
      [205, '', undefined],
      [304, '', undefined],
    ]);
    expect(app.registry.size).toBe(0);
    expect(app.logs.of('error')).toEqual([]);
  });

  it('an error before the first byte has its status, and a later one cuts the body off after its record', async () => {
    @Controller()
    class Feed {
      @Stream('early')
      early() {
        throw new HttpException('Not today', 418);
      }

      @Stream('late', { format: ['sse', 'ndjson', 'text'] })
      async *late() {
        yield 'x';
        await new Promise((resolve) => setImmediate(resolve));
        throw new HttpException('Too late', 418);
      }

      @Stream('neighbour')
      async *neighbour() {
        yield 'first';
        await gate.promise;
        yield 'last';
      }
    }
    const gate = deferred();
    const { client: http2 } = await client({ controllers: [Feed] });
    const neighbour = http2.get('/neighbour');
    await neighbour.until('first');

    const early = http2.get('/early');
    const unacceptable = http2.get('/late', { accept: 'image/png' });
    const accepts = ['text/event-stream', 'application/x-ndjson', 'text/plain'];
    const late = accepts.map((accept) => http2.get('/late', { accept }));
    await Promise.all([early, unacceptable, ...late].map((reply) => reply.closed()));
    gate.resolve();
    await neighbour.closed();

    expect(early).toMatchObject({ status: 418, complete: true, error: undefined });
    expect(JSON.parse(early.received)).toEqual({ statusCode: 418, message: 'Not today' });
    expect(unacceptable.status).toBe(406);
    expect(late.map(({ received }) => received)).toEqual([
      expect.stringMatching(/^data: x\n\nevent: error\ndata: .*Too late.*\n\n$/),
      expect.stringMatching(/^"x"\n\{.*Too late.*\}\n$/),
      'x',
    ]);
    for (const reply of late) {
      expect(reply).toMatchObject({ status: 200, complete: false, error: { code: 'ERR_HTTP2_STREAM_ERROR' } });
    }
    expect(neighbour).toMatchObject({ received: 'firstlast', complete: true });
  });

  it('a POST may push chunks, and a Last-Event-ID is read as UTF-8', async () => {
    const streams: StreamConnection[] = [];
    @Controller()
    class Feed {
      @Post('tail')
      @HttpCode(201)
      @Stream(undefined, { format: 'ndjson' })
      tail(@ConnectedStream() stream: StreamConnection) {
        streams.push(stream);
        void stream.send({ line: 'connected' });
      }

      @Sse('resume')
      resume(@LastEventId() after: string) {
        return [after];
      }
    }
    const { client: http2 } = await client({ controllers: [Feed] });

    const tail = http2.get('/tail', { ':method': 'POST', 'content-type': 'application/json' });
    tail.stream.end('{"a":1}');
    await tail.until('{"line":"connected"}\n');
    await streams[0]?.close();
    await tail.closed();
    const resumed = await http2.text('/resume', {
      'last-event-id': Buffer.from('ä😀').toString('latin1'),
    });

    expect(tail).toMatchObject({ status: 201, received: '{"line":"connected"}\n', complete: true });
    expect(Buffer.from(resumed, 'latin1').toString()).toBe('data: ä😀\n\n');
  });

  it('a hub reaches clients of all formats on one session in order, and one of them resumes', async () => {
    @Controller()
    class Feed {
      constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

      @Stream('feed', { format: ['sse', 'ndjson', 'text'] })
      feed(@LastEventId() after?: string) {
        return this.hub.subscribe({ after });
      }
    }
    const { client: http2, app } = await client({
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    const hub = hubOf<number>(app);
    const replies = ['text/event-stream', 'application/x-ndjson', 'text/plain'].map((accept) =>
      http2.get('/feed', { accept }),
    );
    await joined(hub, 3);

    await publishAll(hub, range(1, 50));
    const [sse, ndjson, text] = replies;
    await Promise.all([sse?.until('data: 50\n\n'), ndjson?.until('50\n'), text?.until('50')]);
    const ids = eventsOf(sse?.received ?? '').map(({ id }) => id);
    const again = http2.get('/feed', { accept: 'text/event-stream', 'last-event-id': ids[39] });
    await again.until('data: 50\n\n');

    expect(dataOf(sse?.received ?? '')).toEqual(range(1, 50).map(String));
    expect(ndjson?.received).toBe(
      range(1, 50)
        .map((n) => `${n}\n`)
        .join(''),
    );
    expect(text?.received).toBe(range(1, 50).join(''));
    expect(dataOf(again.received)).toEqual(range(41, 50).map(String));
  });

  it('a session can have two hundred streams at once', async () => {
    @Controller()
    class Feed {
      constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

      @Sse('feed')
      feed() {
        return this.hub.subscribe();
      }

      @Stream('count/:n', { format: 'ndjson' })
      async *count() {
        for (let i = 1; i <= 100; i++) {
          yield i;
          await new Promise((resolve) => setImmediate(resolve));
        }
      }
    }
    const { client: http2, app } = await client({
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
    });
    const hub = hubOf<number>(app);
    const listening = range(1, 100).map(() => http2.get('/feed'));
    const counting = range(1, 100).map((n) => http2.get(`/count/${n}`));
    await joined(hub, 100);

    await publishAll(hub, range(1, 100));
    await Promise.all(counting.map((reply) => reply.closed()));
    await Promise.all(listening.map((reply) => reply.until('data: 100\n\n')));

    const numbers = range(1, 100);
    expect(new Set(listening.map(({ received }) => dataOf(received).join()))).toEqual(new Set([numbers.join()]));
    expect(new Set(counting.map(({ received }) => received))).toEqual(new Set([`${numbers.join('\n')}\n`]));
    expect(counting.every(({ complete }) => complete)).toBe(true);
  });

  itWith('curl')('curl reads a stream, and fails when it is cut off', async () => {
    @Controller()
    class Feed {
      @Sse('whole')
      async *whole() {
        yield 'one';
        await new Promise((resolve) => setImmediate(resolve));
        yield 'two';
      }

      @Sse('broken')
      async *broken() {
        yield 'one';
        await new Promise((resolve) => setImmediate(resolve));
        throw new Error('broken');
      }
    }
    const { app } = await client({ controllers: [Feed] });
    const curl = (path: string) =>
      promisify(execFile)('curl', [
        '-sSN',
        '--max-time',
        '20',
        ...(tls ? ['--http2', '--insecure'] : ['--http2-prior-knowledge']),
        '-w',
        '%{http_version}',
        `${tls ? 'https' : 'http'}://127.0.0.1:${app.port}${path}`,
      ]);

    const whole = await curl('/whole');
    const broken = await curl('/broken').catch((error: unknown) => error);

    expect(whole.stdout).toBe('data: one\n\ndata: two\n\n2');
    // "Stream error in the HTTP/2 framing layer."
    expect(broken).toMatchObject({ code: 92, stdout: expect.stringContaining('data: one\n\nevent: error\n') });
  });
});
