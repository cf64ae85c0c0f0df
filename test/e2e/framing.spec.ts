import type { IncomingMessage, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import {
  Controller,
  Get,
  Header,
  type INestApplication,
  NotFoundException,
  Res,
  type Type,
  UseInterceptors,
} from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Response as ExpressResponse, NextFunction } from 'express';
import { type Observable, of, tap } from 'rxjs';
import {
  ConnectedStream,
  getHubToken,
  type Hub,
  InjectHub,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamOptions,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { DecodingClient } from '../support/decoding-client.js';
import { deferred } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import type { RawClient } from '../support/raw-client.js';
import { turns, useApps } from '../support/running.js';
import { eventually } from '../support/transports.js';
import { WebSocketClient } from '../support/websocket-client.js';

/** The function of the package on-headers, with which compression, express-session and others set headers while a head is written. */
const onHeaders = createRequire(createRequire(import.meta.url).resolve('compression'))('on-headers') as (
  response: ServerResponse,
  listener: (this: ServerResponse) => void,
) => void;

const start = useApps();
const openSession = useSessions();

/** Headers that an application should not set on a stream, with the values of tutorials. */
const DROPPED: Readonly<Record<string, string>> = {
  'Transfer-Encoding': 'chunked',
  Trailer: 'Expires',
  Upgrade: 'h2c',
  'Keep-Alive': 'timeout=99',
  Connection: 'keep-alive',
  'Proxy-Connection': 'keep-alive',
  TE: 'trailers',
};

interface Setter {
  header(name: string, value: string): unknown;
}

/** The values of a header in a received head. */
function valuesOf({ head }: RawClient, name: string): string[] {
  return [...head.matchAll(new RegExp(`^${name}: (.*)\r$`, 'gim'))].map(([, value]) => value ?? '');
}

/** Returns how a message is framed, and expects exactly one framing. */
function framingOf(client: RawClient): string {
  const framing = [
    ...valuesOf(client, 'transfer-encoding'),
    ...valuesOf(client, 'content-length').map((length) => `length ${length}`),
  ];
  expect(framing.length).toBeLessThan(2);
  return framing[0] ?? 'none';
}

function expectOwnHeadersOnly(client: RawClient): void {
  for (const name of ['trailer', 'upgrade', 'proxy-connection', 'te']) {
    expect(valuesOf(client, name)).toEqual([]);
  }
  expect(valuesOf(client, 'connection').length).toBeLessThan(2);
  expect(valuesOf(client, 'keep-alive')).not.toContain('timeout=99');
}

const WAYS: Readonly<Record<string, () => { controller: Type; configure?: (app: INestApplication) => void }>> = {
  'the decorator @Header()': () => {
    class Decorated {
      source(): unknown {
        return ['a'];
      }
    }
    const descriptor = Object.getOwnPropertyDescriptor(Decorated.prototype, 'source') as PropertyDescriptor;
    Stream('source', { format: 'text' })(Decorated.prototype, 'source', descriptor);
    for (const [name, value] of Object.entries(DROPPED)) {
      Header(name, value)(Decorated.prototype, 'source', descriptor);
    }
    Object.defineProperty(Decorated.prototype, 'source', descriptor);
    Controller()(Decorated);
    return { controller: Decorated };
  },
  'stream.header()': () => {
    @Controller()
    class Connected {
      @Stream('source', { format: 'text' })
      source(@ConnectedStream() stream: StreamConnection) {
        Object.entries(DROPPED).forEach(([name, value]) => void stream.header(name, value));
        return ['a'];
      }
    }
    return { controller: Connected };
  },
  middleware: () => ({
    controller: controllerOf(() => ['a'], { format: 'text' }),
    configure: (app) =>
      void app.use((_: unknown, response: ExpressResponse, next: NextFunction) => {
        Object.entries(DROPPED).forEach(([name, value]) => void response.setHeader(name, value));
        next();
      }),
  }),
  'the response of the platform': () => {
    @Controller()
    class Platforms {
      @Stream('source', { format: 'text' })
      source(@Res({ passthrough: true }) response: Setter) {
        Object.entries(DROPPED).forEach(([name, value]) => void response.header(name, value));
        return ['a'];
      }
    }
    return { controller: Platforms };
  },
  'an interceptor': () => {
    @Controller()
    @UseInterceptors({
      intercept: (context, next): Observable<unknown> => {
        const response = context.switchToHttp().getResponse<Setter>();
        return next
          .handle()
          .pipe(tap(() => Object.entries(DROPPED).forEach(([name, value]) => void response.header(name, value))));
      },
    })
    class Intercepted {
      @Stream('source', { format: 'text' })
      source() {
        return ['a'];
      }
    }
    return { controller: Intercepted };
  },
  'a web Response': () => ({
    controller: controllerOf(() => new Response('a', { headers: { ...DROPPED, Connection: 'x-own' } })),
  }),
};

describe.each(PLATFORMS)('%s: a header that frames a message, such as Content-Length,', (platform) => {
  it.each(Object.entries(WAYS))('set by %s is dropped, with one warning per route', async (_how, make) => {
    const { controller, configure } = make();
    const { get, logs } = await start(platform, { controllers: [controller], ...(configure && { configure }) });

    for (let i = 0; i < 3; i++) {
      const client = await get('/source');
      await client.until(/\r\n\r\n(1\r\n)?a/);

      expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(framingOf(client)).not.toBe('none');
      expectOwnHeadersOnly(client);
    }

    const warnings = logs.of('warn');
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('.source: ');
    for (const name of Object.keys(DROPPED)) {
      expect(warnings[0]).toContain(name.toLowerCase());
    }
  });

  it('is dropped without a warning if it is the Connection: keep-alive that SDKs set on a web Response', async () => {
    const produce = () => new Response('a', { headers: { Connection: 'Keep-Alive' } });
    const { get, logs } = await start(platform, { controllers: [controllerOf(produce)] });
    const client = await get('/source');
    await client.until(/\r\n\r\n(1\r\n)?a/);

    expectOwnHeadersOnly(client);
    expect(logs.of('warn')).toEqual([]);
  });

  const withStatus = (status: number) => (stream: StreamConnection) => {
    stream.status(status);
    return ['a'];
  };

  /** The bodies of streams, with every framing. */
  const BODIES: readonly [string, (stream: StreamConnection) => unknown, string][] = [
    ['that ends in its first turn', () => ['a', 'b'], 'length 2'],
    ['that is empty', () => [], 'length 0'],
    [
      'that goes on later',
      async function* () {
        yield 'a';
        await turns(2);
        yield 'b';
      },
      'chunked',
    ],
    ['with the status 204', withStatus(204), 'none'],
    ['with the status 205', withStatus(205), 'length 0'],
    ['with the status 304', withStatus(304), 'none'],
  ];

  it.each(BODIES)('leaves a stream %s with one framing, and the connection usable', async (_what, produce, framing) => {
    @Controller()
    class Framed {
      @Stream('source', { format: 'text' })
      @Header('Transfer-Encoding', 'chunked')
      @Header('Trailer', 'Expires')
      @Header('Connection', 'keep-alive')
      source(@ConnectedStream() stream: StreamConnection) {
        return produce(stream);
      }

      @Get('plain')
      plain() {
        return 'plain';
      }
    }
    const { get } = await start(platform, { controllers: [Framed] });

    const client = await get('/source');
    await client.until(framing === 'chunked' ? '0\r\n\r\n' : /\r\n\r\n/);
    const head = { head: client.head, framing: framingOf(client) };
    expectOwnHeadersOnly(client);
    client.send('GET /plain HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
    await client.closed();

    expect(head.framing).toBe(framing);
    expect(client.received.slice(head.head.length)).toMatch(
      framing === 'chunked'
        ? /^1\r\na\r\n1\r\nb\r\n0\r\n\r\nHTTP\/1\.1 200/
        : framing === 'length 2'
          ? /^abHTTP\/1\.1 200/
          : /^HTTP\/1\.1 200/,
    );
    expect(client.received).toMatch(/plain$/);
  });

  it.each(BODIES)(
    'set by middleware while the head is written is not in the head of a stream %s',
    async (_what, produce, framing) => {
      @Controller()
      class Framed {
        @Stream('source', { format: 'text' })
        source(@ConnectedStream() stream: StreamConnection) {
          return produce(stream);
        }

        @Get('plain')
        plain() {
          return 'plain';
        }
      }
      const { get, logs } = await start(platform, {
        controllers: [Framed],
        configure: (app) => {
          app.use((request: IncomingMessage, response: ServerResponse, next: NextFunction) => {
            if (request.url === '/source') {
              onHeaders(response, function () {
                this.setHeader('Content-Length', '1')
                  .setHeader('Transfer-Encoding', 'chunked')
                  .setHeader('Trailer', 'Expires');
                this.appendHeader('Connection', 'upgrade').setHeader('X-Late', 'yes');
              });
            }
            next();
          });
        },
      });

      for (let i = 0; i < 2; i++) {
        const client = await get('/source');
        await client.until(framing === 'chunked' ? '0\r\n\r\n' : /\r\n\r\n/);
        const { head } = client;
        expect(valuesOf(client, 'x-late')).toEqual(['yes']);
        expect(framingOf(client)).toBe(framing);
        expectOwnHeadersOnly(client);
        client.send('GET /plain HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
        await client.closed();
        expect(client.received.slice(head.length)).toMatch(/HTTP\/1\.1 200[\s\S]*plain$/);
      }
      expect(logs.of('warn')).toEqual([
        expect.stringMatching(/content-length, transfer-encoding, trailer, connection/),
      ]);
    },
  );

  it('does not change the response to HEAD and to a client with HTTP/1.0', async () => {
    @Controller()
    class Framed {
      @Stream('source', { format: 'text' })
      @Header('Transfer-Encoding', 'chunked')
      async *source() {
        yield 'a';
        await turns(2);
        yield 'b';
      }
    }
    const { get, connect } = await start(platform, { controllers: [Framed] });

    const head = await get('/source', { Connection: 'close' }, 'HEAD');
    await head.closed();
    const old = await connect();
    old.send('GET /source HTTP/1.0\r\nHost: test\r\n\r\n');
    await old.closed();

    expect(head.received).toBe(head.head);
    expect(framingOf(head).replace('chunked', 'none')).toBe('none');
    expect(framingOf(old)).toBe('none');
    expect(old.body).toBe('ab');
    expect(old.error).toBeUndefined();
  });

  it('does not change the Content-Length of a long poll', async () => {
    @Controller()
    class Polled {
      constructor(@InjectHub('news') private readonly news: Hub<string>) {}

      @Stream('source', { format: 'ndjson' })
      @Header('Transfer-Encoding', 'chunked')
      @Header('Content-Length', '3')
      source() {
        return this.news.subscribe({ last: 1 });
      }
    }
    Reflect.defineMetadata('design:paramtypes', [Object], Polled);
    const { get, app } = await start(platform, {
      controllers: [Polled],
      imports: [StreamingModule.registerHub({ name: 'news' })],
    });
    const nothing = await get('/source', { Prefer: 'wait=0' });
    await nothing.until('\r\n\r\n');
    await app.get<Hub<string>>(getHubToken('news'), { strict: false }).publish('first');
    const client = await get('/source', { Prefer: 'wait=0' });
    await client.until('"first"\n');

    expect(nothing.head).toMatch(/^HTTP\/1\.1 204 /);
    expect(framingOf(nothing)).toBe('none');
    expect(framingOf(client)).toBe('length 8');
  });

  it('leaves exactly one framing in a compressed stream', async () => {
    @Controller()
    class Compressed {
      @Stream('source', { format: 'text', compression: { encodings: ['gzip'], threshold: 0 } })
      @Header('Transfer-Encoding', 'chunked')
      source() {
        return ['a'.repeat(3_000)];
      }
    }
    const { get, url } = await start(platform, { controllers: [Compressed] });

    const raw = await get('/source', { 'Accept-Encoding': 'gzip', Connection: 'close' });
    await raw.closed();
    const client = await DecodingClient.get(url('/source'), { 'Accept-Encoding': 'gzip' });

    expect(framingOf(raw)).toBe('chunked');
    expect(client.coding).toBe('gzip');
    expect(await client.over()).toBe('a'.repeat(3_000));
  });

  it('is not in the response of an exception filter either', async () => {
    @Controller()
    class Refused {
      @Stream('source', { format: ['ndjson', 'sse'] })
      @Header('Transfer-Encoding', 'chunked')
      @Header('Content-Length', '5')
      source(): string[] {
        throw new NotFoundException('There is no such thing');
      }
    }
    const { get, logs } = await start(platform, { controllers: [Refused] });

    const missing = await get('/source', { Connection: 'close' });
    await missing.closed();
    const unacceptable = await get('/source', { Connection: 'close', Accept: 'image/png' });
    await unacceptable.closed();

    for (const [client, status] of [
      [missing, 404],
      [unacceptable, 406],
    ] as const) {
      expect(client.head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(framingOf(client)).toBe(`length ${client.body.length}`);
      expect(JSON.parse(client.body)).toMatchObject({ statusCode: status });
    }
    expect(logs.of('error')).toEqual([]);
  });

  it('is dropped, except Connection: close, which closes the connection', async () => {
    @Controller()
    class Closing {
      @Stream('source', { format: 'text' })
      @Header('Connection', 'keep-alive, Close')
      async *source() {
        yield 'a';
        await turns(2);
        yield 'b';
      }
    }
    const { get, logs } = await start(platform, { controllers: [Closing] });

    const client = await get('/source');
    await client.closed();

    expect(valuesOf(client, 'connection')).toEqual(['close']);
    expect(client.body).toBe('ab');
    expect(client.complete).toBe(true);
    expect(logs.of('warn')).toEqual([]);
  });

  it('does not allow an interim status, which is refused before the first byte', async () => {
    @Controller()
    class Interim {
      @Stream('source', { format: 'text' })
      source(@ConnectedStream() stream: StreamConnection) {
        stream.status(103);
        return ['a'];
      }
    }
    const { url, logs } = await start(platform, { controllers: [Interim] });

    expect((await fetch(url('/source'))).status).toBe(500);
    expect(logs.of('error').join()).toContain('interim status 103');
  });
});

it('fastify: over HTTP/2, headers that frame a message are dropped with one warning per route', async () => {
  const { controller } = (WAYS['stream.header()'] as (typeof WAYS)[string])();
  const { port, logs } = await start('fastify', { controllers: [controller], fastify: { http2: true } });
  const client = await openSession(port);

  for (let i = 0; i < 2; i++) {
    const reply = client.get('/source');
    await reply.closed();

    expect(reply.received).toBe('a');
    expect(reply.complete).toBe(true);
    for (const name of Object.keys(DROPPED)) {
      expect(reply.headers).not.toHaveProperty(name.toLowerCase());
    }
  }

  expect(logs.of('warn')).toHaveLength(1);
});

/** A stream with a Content-Length of the application, and an ordinary route. */
function sized(length: string | readonly string[], produce: () => unknown, options: StreamOptions = {}): Type {
  @Controller()
  class Sized {
    @Stream('source', { format: 'text', ...options })
    source(@ConnectedStream() stream: StreamConnection) {
      stream.header('Content-Length', length);
      return produce();
    }

    @Get('plain')
    plain() {
      return 'plain';
    }
  }
  return Sized;
}

const NEXT = 'GET /plain HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n';

async function* inTwo(first: string, second: string) {
  yield first;
  await turns(3);
  yield second;
}

async function failing(first: string) {
  async function* feed() {
    yield first;
    await turns(3);
    throw new Error('broken');
  }
  return feed();
}

describe.each(PLATFORMS)('%s: a Content-Length that the application sets', (platform) => {
  const EXACT: readonly [string, () => unknown][] = [
    ['in one turn', () => ['hello', ' world']],
    ['in two', () => inTwo('hello', ' world')],
    ['as bytes', () => [Buffer.from('hello world')]],
    ['pushed to a client later', () => inTwo('', 'hello world')],
    ['of characters of several bytes', () => ['héllo wörl']],
  ];

  it.each(EXACT)('that is correct is sent once, and the next response follows: %s', async (_how, produce) => {
    const length = String(Buffer.byteLength('hello world'));
    const bytes = _how.startsWith('of characters') ? '12' : length;
    const { get } = await start(platform, { controllers: [sized(bytes, produce)] });

    const client = await get('/source');
    await client.until(/\r\n\r\n(hello world|hÃ©llo wÃ¶rl)/);
    expect(framingOf(client)).toBe(`length ${bytes}`);
    client.send(NEXT);
    await client.closed();

    expect(client.received).toMatch(/(world|wÃ¶rl)HTTP\/1\.1 200 OK\r\n/);
    expect(client.received).toMatch(/plain$/);
  });

  const LONGER: readonly [string, () => unknown, string][] = [
    ['in one chunk', () => ['hello world'], ''],
    ['gathered in one turn', () => ['hel', 'lo world'], ''],
    ['in a later turn', () => inTwo('hel', 'lo world'), 'hel'],
    ['after a body that was complete', () => inTwo('hello', ' world'), 'hello'],
    ['as large bytes', () => [Buffer.alloc(300_000)], ''],
    ['of a web Response', () => new Response('hello world', { headers: { 'Content-Length': '5' } }), ''],
  ];

  it.each(LONGER)(
    'that is too small makes the stream fail at the first byte too many: %s',
    async (_how, produce, body) => {
      const { get, logs, registry } = await start(platform, { controllers: [sized('5', produce)] });

      const client = await get('/source');
      client.send(NEXT);
      await client.closed();

      expect(framingOf(client)).toBe('length 5');
      expect(client.body).toBe(body);
      expect(logs.of('error')).toHaveLength(1);
      expect(logs.of('error').join()).toMatch(/Sized\.source.*Content-Length is 5/s);
      await eventually(() => registry.size === 0);
    },
  );

  const SHORTER: readonly [string, () => unknown][] = [
    ['in one turn', () => ['hel']],
    ['in two', () => inTwo('h', 'el')],
    ['of a web Response', () => new Response('hel', { headers: { 'Content-Length': '5' } })],
    ['that fails', () => failing('hel')],
  ];

  it.each(SHORTER)('that is too large causes a body that is cut off: %s', async (_how, produce) => {
    const { get, logs, registry } = await start(platform, {
      controllers: [sized('5', produce, { format: 'text' })],
    });

    const client = await get('/source');
    client.send(NEXT);
    await client.closed();

    expect(framingOf(client)).toBe('length 5');
    expect(client.body).toBe('hel');
    expect(logs.of('error')).toHaveLength(1);
    await eventually(() => registry.size === 0);
  });

  it('that is too large causes an empty body that is cut off', async () => {
    const { url } = await start(platform, { controllers: [sized('5', () => [])] });

    await expect(fetch(url('/source')).then((response) => response.text())).rejects.toThrow();
  });

  it.each(['-1', '1.5', 'x', '', '5, 5', '0x5', '1e3', ['5', '6'], '99999999999999999999'])(
    'that is %j is refused before the first byte',
    async (length) => {
      const { get, logs, registry } = await start(platform, { controllers: [sized(length, () => ['hello'])] });

      const client = await get('/source', { Connection: 'close' });
      await client.closed();

      expect(client.head).toMatch(/^HTTP\/1\.1 500 /);
      expect(framingOf(client)).toBe(`length ${client.body.length}`);
      expect(logs.of('error').join()).toContain('Content-Length');
      await eventually(() => registry.size === 0);
    },
  );

  it('prevents heartbeats and error records in the body', async () => {
    const gate = deferred();
    async function* feed() {
      yield { data: 'a' };
      await gate.promise;
      throw new Error('broken');
    }
    const { get, logs } = await start(platform, {
      controllers: [sized('500', feed, { format: 'sse', heartbeat: 10 })],
    });

    const client = await get('/source');
    await client.until('\n\n');
    await new Promise((resolve) => setTimeout(resolve, 100));
    gate.resolve();
    await client.closed();

    expect(client.body).toBe('data: a\n\n');
    expect(logs.of('error').join()).toContain('broken');
  });

  it('does not make a body look complete that failed before its last bytes were sent', async () => {
    function* feed() {
      yield 'hel';
      yield 'lo';
      throw new Error('broken');
    }
    const { get } = await start(platform, { controllers: [sized('5', feed)] });

    const client = await get('/source');
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(client.body).toBe('');
  });

  it('is sent with HEAD and 304, and not with 204 and 205', async () => {
    const statuses = [200, 204, 205, 304];
    @Controller()
    class Statuses {
      @Stream('source/:status', { format: 'text' })
      source(@ConnectedStream() stream: StreamConnection) {
        const { url } = stream.request as { url: string };
        stream.status(Number(url.split('/').at(-1))).header('Content-Length', '5');
        return ['hello'];
      }
    }
    const { get } = await start(platform, { controllers: [Statuses] });

    const heads = await Promise.all([
      get('/source/200', { Connection: 'close' }, 'HEAD'),
      ...statuses.slice(1).map((each) => get(`/source/${each}`, { Connection: 'close' })),
    ]);
    await Promise.all(heads.map((each) => each.closed()));

    expect(heads.map((each) => each.body)).toEqual(['', '', '', '']);
    expect(heads.map(framingOf)).toEqual(['length 5', 'none', 'length 0', 'length 5']);
  });

  it('is not sent with a compressed body, and is compared with the length before compression', async () => {
    const options: StreamOptions = { compression: { encodings: ['gzip'], threshold: 0 } };
    const right = await start(platform, { controllers: [sized('10', () => inTwo('hello', 'world'), options)] });
    const wrong = await start(platform, { controllers: [sized('7', () => inTwo('hello', 'world'), options)] });

    const whole = await DecodingClient.get(right.url('/source'), { 'Accept-Encoding': 'gzip' });
    const cut = await DecodingClient.get(wrong.url('/source'), { 'Accept-Encoding': 'gzip' });

    expect([await whole.over(), whole.coding, whole.header('content-length')]).toEqual([
      'helloworld',
      'gzip',
      undefined,
    ]);
    expect(await cut.over()).toBe('hello');
    expect(cut.error).toBeDefined();
  });

  it('also applies to a client with HTTP/1.0', async () => {
    const { connect } = await start(platform, { controllers: [sized('5', () => inTwo('hel', 'lo world'))] });

    const client = await connect();
    client.send('GET /source HTTP/1.0\r\nHost: test\r\n\r\n');
    await client.closed();

    expect(framingOf(client)).toBe('length 5');
    expect(client.body).toBe('hel');
  });

  it('of a partial response is the length of the part', async () => {
    const part = () =>
      new Response('ell', {
        status: 206,
        headers: { 'Content-Range': 'bytes 1-3/5', 'Content-Length': '3', 'Content-Type': 'text/plain' },
      });
    const { url } = await start(platform, { controllers: [controllerOf(part)] });

    const response = await fetch(url('/source'));

    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([206, '3', 'ell']);
  });
});

describe('fastify: a Content-Length that the application sets, with an onSend hook that takes longer than the stream,', () => {
  const slowly = (app: INestApplication): void => {
    const fastify = (app as NestFastifyApplication).getHttpAdapter().getInstance();
    fastify.addHook('onSend', async (_request, _reply, payload) => {
      await turns();
      return payload;
    });
  };

  it('that is correct is sent once, and the next response follows', async () => {
    const { get } = await start('fastify', { controllers: [sized('5', () => ['hel', 'lo'])], configure: slowly });

    const client = await get('/source');
    client.send(NEXT);
    await client.closed();

    expect(framingOf(client)).toBe('length 5');
    expect(client.received).toMatch(/\r\n\r\nhelloHTTP\/1\.1 200 OK\r\n.*plain$/s);
  });

  it.each([
    ['small', () => of('hello', ' world'), ''],
    ['small for an array', () => ['hello', ' world'], 'hello'],
    ['small for large bytes', () => of(Buffer.alloc(300_000)), ''],
    ['large', () => of('hel'), 'hel'],
    ['large for a body that is empty', () => [], ''],
  ])('that is too %s makes the stream fail, and no byte follows', async (_how, produce, body) => {
    const { get, logs, registry } = await start('fastify', {
      controllers: [sized('5', produce)],
      configure: slowly,
    });

    const client = await get('/source');
    client.send(NEXT);
    await client.closed();

    expect(framingOf(client)).toBe('length 5');
    expect(client.body).toBe(body);
    expect(logs.of('error').join()).toMatch(/Sized\.source.*Content-Length is 5/s);
    await eventually(() => registry.size === 0);
  });
});

describe('fastify: over HTTP/2, a Content-Length that the application sets', () => {
  it.each([
    ['right', '10', 'helloworld', true],
    ['too small', '7', 'hello', false],
    ['too large', '11', 'helloworld', false],
  ])('that is %s', async (_what, length, body, complete) => {
    const { port, registry } = await start('fastify', {
      controllers: [sized(length, () => inTwo('hello', 'world'))],
      fastify: { http2: true },
    });
    const client = await openSession(port);

    const reply = client.get('/source');
    await reply.closed();

    expect(reply.headers?.['content-length']).toBe(length);
    expect(reply.received).toBe(body);
    expect(reply.complete).toBe(complete);
    await eventually(() => registry.size === 0);
  });
});

it.each<Platform>(['express', 'fastify'])(
  '%s: the response to the upgrade of a WebSocket has none of these headers',
  async (platform) => {
    const { controller } = (WAYS['stream.header()'] as (typeof WAYS)[string])();
    const { url } = await start(platform, { controllers: [controller], options: { websocket: true } });

    const client = await WebSocketClient.open(url('/source'));

    expect((await client.all()).map(String)).toEqual(['a']);
    expect(client.headers.connection).toBe('Upgrade');
    expect(client.headers.upgrade).toBe('websocket');
    expect(client.headers).not.toHaveProperty('transfer-encoding');
    expect(client.headers).not.toHaveProperty('trailer');
  },
);
