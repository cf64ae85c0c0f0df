import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import {
  All,
  CanActivate,
  Controller,
  ForbiddenException,
  Get,
  Header,
  type INestApplication,
  type NestMiddleware,
  Param,
  ParseIntPipe,
  Post,
  RequestMethod,
  type Type,
  UseGuards,
  Version,
  VersioningType,
} from '@nestjs/common';
import { NestFactory, RouterModule } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import cookieParser from 'cookie-parser';
import { map, NEVER } from 'rxjs';
import {
  ConnectedStream,
  defineFormat,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
  type StreamingModuleOptions,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS, startApp } from '../support/app.js';
import { launchChromium } from '../support/chromium.js';
import { controllerOf } from '../support/controller.js';
import { deferred } from '../support/events.js';
import { useApps } from '../support/running.js';
import { itWith, toolPath } from '../support/tools.js';
import { eventually } from '../support/transports.js';
import { WebSocketClient } from '../support/websocket-client.js';

const launch = useApps();
const EVENTS = 'events.v1+json';
const ON: StreamingModuleOptions = { websocket: true };

class Never implements CanActivate {
  canActivate(): boolean {
    throw new ForbiddenException('not you');
  }
}

@Controller()
class Numbers {
  @Stream('numbers/:n')
  async *numbers(@Param('n', ParseIntPipe) n: number) {
    for (let i = 1; i <= n; i++) yield { i };
  }

  @Stream('echo')
  async *echo(@ConnectedStream() stream: StreamConnection) {
    for await (const message of stream.messages) yield message;
  }

  @Stream('guarded')
  @UseGuards(Never)
  guarded() {
    return [1];
  }

  @Stream('failing')
  async failing(): Promise<unknown> {
    await Promise.resolve();
    throw new ForbiddenException('not now');
  }

  @Stream('only', { protocols: 'websocket' })
  only() {
    return ['ws'];
  }

  @Stream('http', { protocols: ['http'] })
  http() {
    return ['http'];
  }

  @Post('posted')
  @Stream()
  posted() {
    return ['posted'];
  }

  @All('all')
  @Stream()
  all() {
    return ['all'];
  }

  @Get('plain')
  plain() {
    return 'plain';
  }
}

describe.each(PLATFORMS)('%s: a WebSocket', (platform) => {
  const start = (options: StreamingModuleOptions = ON, configure?: (app: INestApplication) => void) =>
    launch(platform, { controllers: [Numbers], options, configure });

  it('receives each chunk as a message, and a close with the code for completion', async () => {
    const app = await start();

    const client = await WebSocketClient.open(app.url('/numbers/3'));

    expect(await client.all()).toEqual(['{"i":1}', '{"i":2}', '{"i":3}']);
    expect(await client.closed).toEqual({ code: 1000, reason: 'completed' });
  });

  it('consists of exactly these bytes, without headers that describe a body', async () => {
    const app = await start();

    const client = await app.get('/numbers/1', {
      Connection: 'Upgrade',
      Upgrade: 'WebSocket',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
    });
    await client.until('completed');

    const [head = '', frames] = client.received.split('\r\n\r\n');
    expect(head.split('\r\n').filter((line) => !/^x-powered-by/i.test(line))).toEqual([
      'HTTP/1.1 101 Switching Protocols',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
    ]);
    expect(frames).toBe('\x81\x07{"i":1}\x88\x0b\x03\xe8completed');
  });

  it('of a stream without a chunk is opened and then closed', async () => {
    const app = await start();

    const client = await WebSocketClient.open(app.url('/numbers/0'));

    expect(await client.all()).toEqual([]);
    expect(await client.closed).toEqual({ code: 1000, reason: 'completed' });
  });

  it.each([
    ['a guard', '/guarded', 403, 'not you'],
    ['a pipe', '/numbers/x', 400, 'numeric string is expected'],
    ['what is thrown before the first chunk', '/failing', 403, 'not now'],
  ])('is refused by %s with its status', async (_what, path, status, message) => {
    const app = await start();

    expect(await WebSocketClient.refusal(app.url(path))).toMatchObject({
      status,
      headers: { connection: 'close' },
      body: expect.stringContaining(message),
    });
  });

  it('counts for the limits of the route, above which it is refused', async () => {
    const app = await start({ websocket: true, limits: { connections: 1, retryAfter: 7_000 } });
    const first = await WebSocketClient.open(app.url('/echo'));

    expect(await WebSocketClient.refusal(app.url('/echo'))).toMatchObject({
      status: 503,
      headers: { 'retry-after': '7' },
    });

    first.socket.close();
    await first.closed;
    const again = await WebSocketClient.open(app.url('/echo'));
    again.socket.terminate();
  });

  it('has the headers, cookies and CORS headers of the application, and passes through its middleware', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      @Header('X-Route', 'yes')
      async *feed(@ConnectedStream() stream: StreamConnection) {
        stream.status(202).header('X-Own', 'a').header('Set-Cookie', ['b=1', 'c=2']);
        yield 'a';
      }
    }
    class Marking implements NestMiddleware {
      use(_request: unknown, response: { setHeader(name: string, value: string): void }, next: () => void) {
        response.setHeader('X-Middleware', 'm');
        next();
      }
    }
    const app = await launch(platform, {
      controllers: [Feed],
      options: { websocket: { origins: ['http://page.test'] } },
      configure: (nest) => {
        nest.enableCors({ origin: 'http://page.test', credentials: true });
        nest.use(new Marking().use);
      },
    });

    const client = await WebSocketClient.open(app.url('/feed'), [], { origin: 'http://page.test' });

    expect(client.headers).toMatchObject({
      'x-route': 'yes',
      'x-own': 'a',
      'x-middleware': 'm',
      'set-cookie': ['b=1', 'c=2'],
      'access-control-allow-origin': 'http://page.test',
    });
    for (const name of ['content-type', 'cache-control', 'x-accel-buffering', 'incremental', 'transfer-encoding']) {
      expect(client.headers[name]).toBeUndefined();
    }
    await client.closed;
  });

  it('has headers that middleware adds when the head is written, and its response has headersSent', async () => {
    const response = deferred<ServerResponse>();
    const app = await launch(platform, {
      controllers: [controllerOf(() => NEVER, { openDelay: 0 })],
      options: { websocket: true },
      configure: (nest) => {
        nest.use((_request: unknown, given: ServerResponse, next: () => void) => {
          const { writeHead } = given;
          given.writeHead = (...head: [number]) => {
            given.setHeader('Set-Cookie', 'session=1');
            return Reflect.apply(writeHead, given, head);
          };
          response.resolve(given);
          next();
        });
      },
    });

    const client = await WebSocketClient.open(app.url('/source'));

    expect(client.headers['set-cookie']).toEqual(['session=1']);
    expect((await response.promise).headersSent).toBe(true);
    client.socket.terminate();
  });

  it('to which the application has responded in the meantime, as with a timeout, stays refused', async () => {
    const go = deferred();
    const over = deferred<string>();
    const answer = 'x'.repeat(4_000_000);
    const app = await launch(platform, {
      controllers: [
        controllerOf(async () => {
          await go.promise;
          return ['a'];
        }),
      ],
      options: { websocket: true, hooks: { onClose: (_stream, { code }) => over.resolve(code) } },
      configure: (nest) => {
        nest.use((_request: unknown, response: ServerResponse, next: () => void) => {
          next();
          response.writeHead(503).end(answer);
          go.resolve();
        });
      },
    });

    const { status, body } = await WebSocketClient.refusal(app.url('/source'));

    expect([status, body]).toEqual([503, answer]);
    expect(await over.promise).toBe('client-closed');
  });

  it('can be opened under prefixes, module paths and versions, and with the case and slash that the router accepts', async () => {
    @Controller({ path: ['feeds', 'more'], version: '2' })
    class Versioned {
      @Stream(':id/live')
      @Version(['2', '3'])
      live(@Param('id') id: string) {
        return [id];
      }
    }
    class Inner {}
    const app = await launch(platform, {
      imports: [{ module: Inner, controllers: [Versioned] }, RouterModule.register([{ path: 'inner', module: Inner }])],
      options: ON,
      configure: (nest) => {
        nest.setGlobalPrefix('api');
        nest.enableVersioning({ type: VersioningType.URI });
      },
    });

    for (const path of ['/api/v2/inner/feeds/7/live', '/api/v3/inner/more/7/live?a=b']) {
      const client = await WebSocketClient.open(app.url(path));
      expect(await client.all()).toEqual(['7']);
    }
    expect(await WebSocketClient.refusal(app.url('/v2/inner/feeds/7/live'))).toMatchObject({ status: 404 });
  });

  describe('on a route with a format', () => {
    const chunks = ['a', { b: 1 }, Buffer.from('c')];
    const csv = defineFormat({
      name: 'csv',
      mediaTypes: ['text/csv'],
      open: 'id\r\n',
      separator: '--',
      close: 'end\r\n',
      encode: (value: unknown) => `${String(value)}\r\n`,
    });

    it.each([
      ['all', undefined, chunks, ['a', '{"b":1}', Buffer.from('c')]],
      ['text', 'text', chunks, ['a', '{"b":1}', 'c']],
      ['bytes', 'bytes', chunks, [Buffer.from('a'), Buffer.from('{"b":1}'), Buffer.from('c')]],
      ['ndjson', 'ndjson', chunks, ['"a"', '{"b":1}', '"Yw=="']],
      ['json', 'json', chunks, ['"a"', '{"b":1}', '"Yw=="']],
      ['several, of which the first counts', ['json-seq', 'text'], ['a'], ['"a"']],
      [
        'sse',
        'sse',
        [{ id: '1', type: 't', data: { a: 1 } }, { comment: 'c' }, { retry: 5 }, 'x\ny'],
        ['{"a":1}', 'x\ny'],
      ],
      ['your own', csv, ['a', 'b'], ['id\r\n', 'a\r\n', 'b\r\n', 'end\r\n']],
    ] as const)('has messages in that format: %s', async (_name, format, given, messages) => {
      const app = await launch(platform, {
        controllers: [controllerOf(() => given, { format } as object)],
        options: ON,
      });

      const client = await WebSocketClient.open(app.url('/source'));

      expect(await client.all()).toEqual(messages);
    });

    it('has messages of all sizes, each complete', async () => {
      const sizes = [0, 1, 125, 126, 65_535, 65_536, 300_000, 3_000_000];
      const app = await launch(platform, {
        controllers: [controllerOf(() => sizes.map((size) => 'x'.repeat(size)), { format: 'text', flush: 'each' })],
        options: ON,
      });

      const client = await WebSocketClient.open(app.url('/source'));

      expect((await client.all()).map(({ length }) => length)).toEqual(sizes);
    });

    it.each<[string, (stream: StreamConnection) => unknown]>([
      [
        'of a Response',
        () => new Response('slow down', { status: 429, headers: { 'Retry-After': '7', 'Content-Type': 'text/csv' } }),
      ],
      ['that is set before a chunk', (stream) => [stream.status(429).header('Retry-After', '7').id]],
      [
        'that is set before nothing',
        (stream) => {
          stream.status(429).header('Retry-After', '7');
          return [];
        },
      ],
    ])('is refused with a status %s that is not a success', async (_whose, produce) => {
      @Controller()
      class Refusing {
        @Stream('source')
        source(@ConnectedStream() stream: StreamConnection) {
          return produce(stream);
        }
      }
      const { url, registry } = await launch(platform, { controllers: [Refusing], options: ON });

      const { status, headers, body } = await WebSocketClient.refusal(url('/source'));

      expect([status, headers['retry-after']]).toEqual([429, '7']);
      expect(headers['content-type']).toBe('application/json; charset=utf-8');
      expect(JSON.parse(body)).toEqual({ statusCode: 429, message: 'Too Many Requests' });
      await eventually(() => registry.size === 0);
    });

    it('has the unchanged bytes of a Readable and of a web Response', async () => {
      const app = await launch(platform, {
        controllers: [controllerOf(() => Readable.from([Buffer.from('ab'), Buffer.from('c')]))],
        options: ON,
      });
      const other = await launch(platform, {
        controllers: [controllerOf(() => new Response('abc', { headers: { 'X-Up': 'stream' } }))],
        options: ON,
      });

      const readable = await WebSocketClient.open(app.url('/source'));
      const response = await WebSocketClient.open(other.url('/source'));

      expect(await readable.all()).toEqual([Buffer.from('ab'), Buffer.from('c')]);
      expect(await response.all()).toEqual([Buffer.from('abc')]);
      expect(response.headers['x-up']).toBe('stream');
    });
  });

  describe('with the subprotocol events.v1+json', () => {
    it.each([
      [
        'an SSE route',
        'sse',
        [{ id: '1', type: 't', data: { a: 1 } }, 'b', { data: 'c' }, { retry: 5 }],
        ['{"id":"1","type":"t","data":{"a":1}}', '{"data":"b"}', '{"data":"c"}', '{"retry":5}'],
      ],
      ['a route without events', 'ndjson', [{ data: 1 }, 2], ['{"data":{"data":1}}', '{"data":2}']],
    ] as const)('receives objects with the fields of events: %s', async (_what, format, given, messages) => {
      const app = await launch(platform, { controllers: [controllerOf(() => given, { format })], options: ON });

      const client = await WebSocketClient.open(app.url('/source'), ['other', EVENTS]);

      expect(client.socket.protocol).toBe(EVENTS);
      expect(await client.all()).toEqual(messages);
    });

    it('is refused if the route has a user-defined format', async () => {
      const csv = defineFormat({ name: 'csv', mediaTypes: ['text/csv'], encode: String });
      const app = await launch(platform, { controllers: [controllerOf(() => ['a'], { format: csv })], options: ON });

      expect(await WebSocketClient.refusal(app.url('/source'), [EVENTS])).toMatchObject({
        status: 400,
        body: expect.stringContaining('the format is csv'),
      });
    });
  });

  describe('that resumes after an id', () => {
    @Controller()
    class Resuming {
      @Sse('decorated')
      async *decorated(@LastEventId() after: string | undefined, @ConnectedStream() stream: StreamConnection) {
        yield { after: after ?? 'none', same: stream.lastEventId === after };
        for await (const message of stream.messages) yield { message };
      }

      @Sse('undecorated')
      async *undecorated(@ConnectedStream() stream: StreamConnection) {
        yield { after: stream.lastEventId ?? 'none' };
        for await (const message of stream.messages) yield { message };
      }
    }
    const resuming = () => launch(platform, { controllers: [Resuming], options: ON });

    it.each([
      ['in its URL', '/decorated?lastEventId=a%2Fb', {}, 'a/b'],
      ['in its header', '/decorated', { 'Last-Event-ID': 'c' }, 'c'],
      ['in both, of which the URL counts', '/decorated?lastEventId=d', { 'Last-Event-ID': 'c' }, 'd'],
      ['in an empty parameter, which counts as no id', '/decorated?lastEventId=', {}, 'none'],
      ['in a long URL', `/decorated?lastEventId=${'x'.repeat(8_000)}`, {}, 'x'.repeat(8_000)],
      ['in a URL, with a NUL', '/decorated?lastEventId=a%00b', {}, 'a\0b'],
    ])('passes the id to the handler if it is %s', async (_where, path, headers, after) => {
      const app = await resuming();

      const client = await WebSocketClient.open(app.url(path), [], { headers });

      expect(await client.json(1)).toEqual([{ after, same: true }]);
      client.socket.close();
      await client.closed;
    });

    it.each([
      ['next to events.v1+json, which is selected', [EVENTS, 'last-event-id.a%2Fb'], '', EVENTS, 'a/b'],
      ['before events.v1+json, which is selected', ['last-event-id.a', EVENTS], '', EVENTS, 'a'],
      [
        'without events.v1+json, which is then selected',
        ['last-event-id.%E2%9C%93'],
        '',
        'last-event-id.%E2%9C%93',
        '✓',
      ],
      ['and in its URL, of which the subprotocol counts', [EVENTS, 'last-event-id.a'], '?lastEventId=b', EVENTS, 'a'],
      ['that is empty, and in its URL', [EVENTS, 'last-event-id.'], '?lastEventId=b', EVENTS, 'b'],
      ['that is empty', [EVENTS, 'last-event-id.'], '', EVENTS, 'none'],
      ['that is long', [EVENTS, `last-event-id.${'x'.repeat(8_000)}`], '', EVENTS, 'x'.repeat(8_000)],
      ['with a NUL', [EVENTS, 'last-event-id.a%00b'], '', EVENTS, 'a\0b'],
    ])('passes the id to the handler if it is in a subprotocol %s', async (_how, protocols, query, selected, after) => {
      const app = await resuming();

      const client = await WebSocketClient.open(app.url(`/decorated${query}`), protocols);

      expect(client.socket.protocol).toBe(selected);
      const [first] = await client.json(1);
      expect(first).toEqual(selected === EVENTS ? { data: { after, same: true } } : { after, same: true });
      client.socket.close();
      await client.closed;
    });

    it.each([
      ['a malformed escape', [EVENTS, 'last-event-id.%'], 'percent-encoded'],
      ['an escape that is no UTF-8', ['last-event-id.%FF'], 'percent-encoded'],
      ['two ids', [EVENTS, 'last-event-id.a', 'last-event-id.b'], 'offered once'],
      ['an unknown subprotocol next to its id', ['other', 'last-event-id.a'], 'Unknown subprotocol'],
    ])('is refused for %s', async (_what, protocols, message) => {
      const app = await resuming();

      expect(await WebSocketClient.refusal(app.url('/decorated'), protocols)).toMatchObject({
        status: 400,
        body: expect.stringContaining(message),
      });
    });

    it.each(['{}', '{"lastEventId":"a"}'])(
      'is not closed for the first message %s, which is an ordinary message',
      async (text) => {
        const app = await resuming();

        const client = await WebSocketClient.open(app.url('/decorated'), [EVENTS]);
        client.socket.send(text);

        expect(await client.json(2)).toEqual([{ data: { after: 'none', same: true } }, { data: { message: text } }]);
        client.socket.close();
        await client.closed;
      },
    );

    it('passes through the interceptors', async () => {
      const app = await launch(platform, {
        controllers: [Resuming],
        options: ON,
        configure: (nest) =>
          void nest.useGlobalInterceptors({
            intercept: (_context, next) => next.handle().pipe(map((value) => value)),
          }),
      });

      const client = await WebSocketClient.open(app.url('/decorated'), [EVENTS, 'last-event-id.a.1']);

      expect(await client.json(1)).toEqual([{ data: { after: 'a.1', same: true } }]);
      client.socket.terminate();
    });
  });

  describe('of a page', () => {
    it.each([
      ['none, as it is no browser', {}, undefined, true],
      ['the same', {}, 'http://127.0.0.1:port', true],
      ['the same host, TLS ending at a proxy', {}, 'https://127.0.0.1:port', true],
      ['another port', {}, 'http://127.0.0.1:1', false],
      ['another host', {}, 'http://evil.test', false],
      ['a host that begins alike', {}, 'http://127.0.0.1:port.evil.test', false],
      ['null', {}, 'null', false],
      ['nonsense', {}, 'x', false],
      ['one that is listed', { origins: ['https://a.test'] }, 'https://a.test', true],
      ['one that is not listed', { origins: ['https://a.test'] }, 'https://b.test', false],
      ['any', { origins: '*' as const }, 'https://b.test', true],
      ['one a function allows', { origins: (origin: string) => origin.endsWith('.test') }, 'https://b.test', true],
      ['one a function does not', { origins: () => false }, 'https://b.test', false],
    ])('of origin %s', async (_what, websocket, origin, allowed) => {
      const app = await start({ websocket });
      const own = origin?.replace('port', String(app.port));
      const options = own === undefined ? {} : { origin: own };

      if (allowed) {
        const client = await WebSocketClient.open(app.url('/numbers/1'), [], options);
        expect(await client.all()).toEqual(['{"i":1}']);
      } else {
        expect(await WebSocketClient.refusal(app.url('/numbers/1'), [], options)).toMatchObject({
          status: 403,
          body: expect.stringContaining('are not open to pages of'),
        });
      }
    });

    it('is accepted if it has the host and the scheme that a trusted proxy reports', async () => {
      const headers = { 'X-Forwarded-Host': 'public.test', 'X-Forwarded-Proto': 'https' };
      const status = async (app: { url(path: string): string }, origin: string) =>
        (await WebSocketClient.refusal(app.url('/numbers/1'), [], { origin, headers })).status;
      const untrusting = await start();
      const trusting = await launch(platform, {
        controllers: [Numbers],
        options: ON,
        fastify: { trustProxy: true },
        configure: (app) =>
          platform === 'express' ? void (app as NestExpressApplication).set('trust proxy', true) : undefined,
      });

      const client = await WebSocketClient.open(trusting.url('/numbers/1'), [], {
        origin: 'https://public.test',
        headers,
      });

      expect(await client.all()).toEqual(['{"i":1}']);
      expect(await status(trusting, 'http://public.test')).toBe(403);
      expect(await status(untrusting, 'https://public.test')).toBe(403);
    });
  });

  describe('if protocols', () => {
    it('are only websocket, is named in the response to ordinary requests', async () => {
      const app = await start();

      const response = await fetch(app.url('/only'));
      const client = await WebSocketClient.open(app.url('/only'));

      expect([response.status, response.headers.get('upgrade')]).toEqual([426, 'websocket']);
      expect(await response.json()).toMatchObject({ statusCode: 426, message: expect.stringContaining('WebSocket') });
      expect(await client.all()).toEqual(['ws']);
    });

    it.each(['/http', '/posted', '/plain', '/none'])(
      'do not include websocket at %s, is refused with 404',
      async (path) => {
        const app = await start();

        expect(await WebSocketClient.refusal(app.url(path))).toMatchObject({ status: 404 });
      },
    );

    it('are not set, is accepted on all routes that GET reaches', async () => {
      const app = await start();

      const client = await WebSocketClient.open(app.url('/all'));

      expect(await client.all()).toEqual(['all']);
      expect(await app.text('/numbers/2')).toBe('{"i":1}\n{"i":2}\n');
    });

    it('do not matter because the option websocket is off, is not accepted, and the server is unchanged', async () => {
      const app = await launch(platform, { controllers: [controllerOf(() => [{ i: 1 }])] });

      expect(app.app.getHttpServer().listenerCount('upgrade')).toBe(0);
      expect(await WebSocketClient.refusal(app.url('/source'))).toMatchObject({ status: 200, body: '{"i":1}\n' });
    });

    const at = (options: object): Type => {
      @Controller()
      class Feed {
        @Stream('feed', options)
        feed() {
          return [1];
        }
      }
      return Feed;
    };

    it.each([
      [
        'WebSocket without forRoot()',
        { protocols: 'websocket' },
        {},
        'needs StreamingModule.forRoot({ websocket: true })',
      ],
      ['WebSocket with POST', { protocols: ['websocket'], method: RequestMethod.POST }, ON, 'opened with GET'],
      ['unknown', { protocols: ['quic'] }, ON, '"protocols" must be "http", "websocket" or a list of them'],
      ['none', { protocols: [] }, ON, '"protocols" must be'],
    ])('are %s, cannot be opened, because the application does not start', async (_what, options, module, message) => {
      await expect(startApp(platform, { controllers: [at(options)], options: module })).rejects.toMatchObject({
        code: 'invalid-option',
        message: expect.stringContaining(message),
      });
    });
  });

  it.each([
    [{ websocket: 'yes' }, '"websocket" must be an object'],
    [{ websocket: { origin: '*' } }, '"websocket" has an unknown option "origin"'],
    [{ websocket: { origins: ['example.com'] } }, '"websocket.origins" must be "*", a function, or a list of origins'],
    [{ websocket: { origins: ['https://example.com/'] } }, '"websocket.origins" must be'],
    [{ websocket: { maxPayload: 0 } }, '"websocket.maxPayload" must be a whole number above 0'],
    [{ websocket: { messages: { events: 5 } } }, '"websocket.messages.events" is now called "items"'],
    [{ websocket: { messages: { items: -1 } } }, '"websocket.messages.items" must be a whole number above 0'],
  ])('is not possible with the options %j, which are refused', async (options, message) => {
    await expect(startApp(platform, { options: options as StreamingModuleOptions })).rejects.toMatchObject({
      code: 'invalid-option',
      message: expect.stringContaining(message),
    });
  });

  it('of a route that names its format is accepted after openDelay, without a chunk', async () => {
    const app = await launch(platform, {
      controllers: [controllerOf(() => new Promise(() => undefined), { format: 'ndjson' })],
      options: { websocket: true, openDelay: 20 },
    });

    const client = await WebSocketClient.open(app.url('/source'));

    client.socket.terminate();
    await client.closed;
  });

  it('can be opened if the application is initialized, and its server is started by other code', async () => {
    const dynamicModule = { module: class {}, imports: [StreamingModule.forRoot(ON)], controllers: [Numbers] };
    const settings = { logger: false, abortOnError: false } as const;
    const app: INestApplication = await (platform === 'express'
      ? NestFactory.create(dynamicModule, settings)
      : NestFactory.create(dynamicModule, new FastifyAdapter(), settings));
    await app.init();
    if (platform === 'fastify') {
      await (app as NestFastifyApplication).getHttpAdapter().getInstance().ready();
    }
    const server = app.getHttpServer() as Server;
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;

    const client = await WebSocketClient.open(`ws://127.0.0.1:${port}/numbers/1`);

    expect(await client.all()).toEqual(['{"i":1}']);
    await app.close();
  });

  it('provides the signal, cookies and request of its upgrade', async () => {
    const aborted = deferred<string>();
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed(@ConnectedStream() stream: StreamConnection, @StreamSignal() signal: AbortSignal) {
        signal.addEventListener('abort', () => aborted.resolve(signal.reason.code));
        yield String((stream.request as { headers: Record<string, string> }).headers.cookie);
        await new Promise(() => undefined);
      }
    }
    const app = await launch(platform, {
      controllers: [Feed],
      options: ON,
      configure: (nest) => (platform === 'express' ? void nest.use(cookieParser()) : undefined),
    });

    const client = await WebSocketClient.open(app.url('/feed'), [], { headers: { Cookie: 'a=b' } });
    expect(await client.messages.count(1)).toEqual(['a=b']);
    client.socket.close(4000, 'bye');

    expect(await aborted.promise).toBe('client-closed');
    expect((await client.closed).code).toBe(4000);
  });
});

describe('Chromium', () => {
  itWith('chromium')(
    'opens a WebSocket from its own page, and none from another',
    async () => {
      @Controller()
      class Pages {
        @Get()
        @Header('Content-Type', 'text/html')
        page() {
          return '<!doctype html><title>page</title>';
        }
      }
      const app = await launch('express', { controllers: [Numbers, Pages], options: ON });
      const other = await launch('express', { controllers: [Pages] });
      const profile = await mkdtemp(join(tmpdir(), 'chromium-'));
      const browser = await launchChromium(String(toolPath('chromium')), profile);
      try {
        const page = await browser.newPage();
        const listen = async (from: string, protocols = [EVENTS, 'last-event-id.a%28%29.7']): Promise<unknown> => {
          await page.goto(from);
          return page.evaluate(
            `new Promise((resolve) => {
            const seen = [];
            const socket = new WebSocket('${app.url('/numbers/3').replace('http', 'ws')}', ${JSON.stringify(protocols)});
            socket.onmessage = ({ data }) => seen.push(JSON.parse(data));
            socket.onclose = ({ code, reason, wasClean }) => resolve([...seen, code, reason, wasClean]);
          })`,
          );
        };

        expect(await listen(app.url('/'))).toEqual([
          { data: { i: 1 } },
          { data: { i: 2 } },
          { data: { i: 3 } },
          1000,
          'completed',
          true,
        ]);
        expect(await listen(app.url('/'), ['last-event-id.a'])).toEqual([
          { i: 1 },
          { i: 2 },
          { i: 3 },
          1000,
          'completed',
          true,
        ]);
        expect(await listen(other.url('/'))).toEqual([1006, '', false]);
      } finally {
        await browser.close();
        await rm(profile, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
