import { once } from 'node:events';
import {
  constants,
  type Http2Server,
  type Http2ServerRequest,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { type CanActivate, Controller, Get, Post, Req, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { interval } from 'rxjs';
import {
  ConnectedStream,
  Stream,
  type StreamCloseError,
  type StreamConnection,
  StreamingModule,
  StreamSignal,
} from '../../lib/index.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { TLS, useSessions } from '../support/http2-client.js';
import { realProcess } from '../support/real-process.js';
import { useApps } from '../support/running.js';

const NEVER = new Promise<never>(() => undefined);
const { NGHTTP2_CANCEL, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR } = constants;
const fastify = { http2: true as const };

/** The connection preface, and settings that are the defaults (RFC 9113 §3.4). */
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
]);

/** A request for `/feed` with HPACK's literals (RFC 7541), as stream 1. */
function requestFrame(): Buffer {
  const path = Buffer.from('/feed');
  // :method GET, :scheme http, :authority x, :path
  const block = Buffer.concat([Buffer.from([0x82, 0x86, 0x41, 1, 0x78, 0x44, path.length]), path]);
  return Buffer.concat([Buffer.from([0, 0, block.length, 1, 5, 0, 0, 0, 1]), block]);
}

describe('HTTP/2: the end of a stream', () => {
  const session = useSessions();
  const start = useApps();

  it.each([
    ['CANCEL', NGHTTP2_CANCEL],
    ['NO_ERROR', NGHTTP2_NO_ERROR],
    ['INTERNAL_ERROR', NGHTTP2_INTERNAL_ERROR],
  ])('by a reset of the client (%s) is noticed once in the same turn, and not by other streams', async (_, code) => {
    const seen = new Recorder();
    const gate = deferred();
    let late = (): Promise<void> => NEVER;
    @Controller()
    class Feed {
      @Stream('feed')
      feed(@ConnectedStream() stream: StreamConnection, @StreamSignal() signal: AbortSignal) {
        stream.hooks({ onClose: (_stream, reason) => seen.add(`onClose ${reason.code}`) });
        signal.addEventListener('abort', () => seen.add(`aborted ${(signal.reason as StreamCloseError).code}`));
        void stream.send('x');
        late = () => stream.send('late');
      }

      @Stream('neighbour')
      async *neighbour() {
        yield 'first';
        await gate.promise;
        yield 'last';
      }
    }
    const { app, port, registry, logs } = await start('fastify', { fastify, controllers: [Feed] });
    const streams = new Recorder<ServerHttp2Stream>();
    (app.getHttpServer() as Http2Server).on('stream', streams.add);
    const http2 = await session(port);
    const neighbour = http2.get('/neighbour');
    await neighbour.until('first');
    const reply = http2.get('/feed');
    await reply.until('x');

    const inThatTurn = new Promise<string[]>((resolve) =>
      streams.seen[1]?.once('close', () => resolve([...seen.seen])),
    );
    reply.stream.close(code);

    expect(await inThatTurn).toEqual(['aborted client-closed', 'onClose client-closed']);
    await expect(late()).rejects.toMatchObject({ code: 'invalid-state' });
    gate.resolve();
    expect(await neighbour.closed()).toBe('firstlast');
    expect(neighbour.complete).toBe(true);
    expect(await http2.text('/neighbour')).toBe('firstlast');
    expect(seen.seen).toHaveLength(2);
    expect(registry.size).toBe(0);
    expect(logs.of('error')).toEqual([]);
  });

  it('by a reset of the client is noticed before the body of the request is read', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Post('feed')
      @Stream()
      feed(@ConnectedStream() stream: StreamConnection, @Req() { raw }: { readonly raw: Http2ServerRequest }) {
        raw.once('data', () => raw.pause());
        void stream.send('x');
      }
    }
    const { port } = await start('fastify', {
      fastify,
      controllers: [Feed],
      options: { hooks: { onClose: (_stream, { code }) => seen.add(code) } },
      configure: (app) =>
        void app
          .getHttpAdapter()
          .getInstance()
          .addContentTypeParser('application/octet-stream', (_request: unknown, _body: unknown, done: () => void) =>
            done(),
          ),
    });
    const http2 = await session(port);
    const reply = http2.get('/feed', { ':method': 'POST', 'content-type': 'application/octet-stream' });
    reply.stream.write(Buffer.alloc(60_000));
    await reply.until('x');

    reply.stream.close(NGHTTP2_NO_ERROR);

    expect(await seen.count(1)).toEqual(['client-closed']);
  });

  it('by a reset of the client (NO_ERROR) is noticed also if the whole body is written and waits for its window', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { sendTimeout: false })
      feed() {
        return ['x'.repeat(5_000)];
      }
    }
    const { app, port, registry } = await start('fastify', {
      fastify,
      controllers: [Feed],
      options: { hooks: { onClose: (_stream, { code }) => seen.add(code) } },
    });
    const streams = new Recorder<ServerHttp2Stream>();
    (app.getHttpServer() as Http2Server).on('stream', streams.add);
    const http2 = await session(port, { settings: { initialWindowSize: 1_000 } });
    const reply = http2.get('/feed');
    reply.stream.pause();
    await reply.head();
    expect(streams.seen[0]).toMatchObject({ writableEnded: true, writableFinished: false });

    reply.stream.close(NGHTTP2_NO_ERROR);

    expect(await seen.count(1)).toEqual(['client-closed']);
    expect(registry.size).toBe(0);
    expect(streams.seen[0]?.destroyed).toBe(true);
  });

  it.each([
    ['closes', (socket: Socket) => socket.end()],
    ['breaks', (socket: Socket) => socket.resetAndDestroy()],
  ])('when the connection of its session %s is reported once for each stream', async (_, end) => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed')
      feed(@ConnectedStream() stream: StreamConnection) {
        void stream.send('x');
      }

      @Stream('unopened')
      unopened() {
        seen.add('called');
        return NEVER;
      }

      @Post('posted')
      @Stream()
      posted() {
        return interval(60_000);
      }
    }
    const onClose = (stream: StreamConnection, { code }: { code: string }) => seen.add(`${stream.route} ${code}`);
    const options = { openDelay: 10, hooks: { onClose } };
    const { port, registry, logs } = await start('fastify', { fastify, controllers: [Feed], options });
    const socket = connect(port, '127.0.0.1');
    const http2 = await session(port, { createConnection: () => socket });
    const replies = [http2.get('/feed'), http2.get('/feed')];
    http2.get('/unopened');
    const posted = http2.get('/posted', { ':method': 'POST', 'content-type': 'application/json' });
    posted.stream.end('{}');
    await seen.count(1);
    await Promise.all(replies.map((reply) => reply.until('x')));
    while (registry.size < 4) {
      await new Promise((resolve) => setImmediate(resolve));
    }

    end(socket);

    expect((await seen.count(5)).slice(1).sort()).toEqual([
      'Feed.feed client-closed',
      'Feed.feed client-closed',
      'Feed.posted client-closed',
      'Feed.unopened client-closed',
    ]);
    expect(registry.size).toBe(0);
    expect(logs.of('error')).toEqual([]);
  });

  it('by a reset during an async guard keeps the handler from being called', async () => {
    const seen = new Recorder();
    const gate = deferred();
    class Waiting implements CanActivate {
      async canActivate() {
        seen.add('guard');
        await gate.promise;
        seen.add('passed');
        return true;
      }
    }
    @Controller()
    class Feed {
      @Stream('feed')
      @UseGuards(Waiting)
      feed() {
        seen.add('handler');
        return ['x'];
      }

      @Get('other')
      other() {
        return 'fine';
      }
    }
    const { app, port, registry } = await start('fastify', { fastify, controllers: [Feed] });
    const streams = new Recorder<ServerHttp2Stream>();
    (app.getHttpServer() as Http2Server).on('stream', streams.add);
    const http2 = await session(port);
    const reply = http2.get('/feed');
    await seen.count(1);

    const gone = once(streams.seen[0] as ServerHttp2Stream, 'close');
    reply.stream.close(NGHTTP2_CANCEL);
    await gone;
    gate.resolve();
    await seen.count(2);

    expect(await http2.text('/other')).toBe('fine');
    expect(seen.seen).toEqual(['guard', 'passed']);
    expect(registry.size).toBe(0);
  });

  it('by the server makes the body complete, and is reported once', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('closed', { format: 'json' })
      async *closed() {
        yield 1;
        await NEVER;
      }

      @Stream('deadline', { format: 'json', maxDuration: 50 })
      async *deadline() {
        yield 1;
        await NEVER;
      }
    }
    const onClose = (stream: StreamConnection, { code }: { code: string }) => seen.add(`${stream.route} ${code}`);
    const { port, registry } = await start('fastify', {
      fastify,
      controllers: [Feed],
      options: { hooks: { onClose } },
    });
    const http2 = await session(port);
    const deadline = http2.get('/deadline');
    await deadline.closed();
    const closed = http2.get('/closed');
    await closed.until('1');

    expect(await registry.close()).toBe(1);
    await closed.closed();

    expect([deadline, closed].map(({ received, complete }) => [received, complete])).toEqual([
      ['[1]', true],
      ['[1]', true],
    ]);
    expect(seen.seen).toEqual(['Feed.deadline deadline', 'Feed.closed server-closed']);
  });

  it('does not occur when its session accepts no more requests', async () => {
    const gate = deferred();
    const sessions = new Recorder<ServerHttp2Session>();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      async *feed() {
        yield 'first';
        await gate.promise;
        yield 'last';
      }
    }
    const { port, app } = await start('fastify', { fastify: { http2: true }, controllers: [Feed] });
    (app.getHttpServer() as Http2Server).on('session', sessions.add);
    const http2 = await session(port);
    const reply = http2.get('/feed');
    await reply.until('first');

    const goaway = once(http2.session, 'goaway');
    sessions.seen[0]?.close();
    await goaway;
    gate.resolve();

    expect(await reply.closed()).toBe('firstlast');
    expect(reply.complete).toBe(true);
  });
});

describe('HTTP/2: when the application closes', () => {
  const session = useSessions();
  const start = useApps();

  @Controller()
  class Other {
    static gate: Deferred | undefined;

    @Get('other')
    async other() {
      await Other.gate?.promise;
      return 'fine';
    }
  }

  it.each([
    ['', fastify, false],
    [' with TLS', { http2: true as const, https: TLS }, true],
  ])('idle sessions%s do not delay it, and their clients receive GOAWAY', async (_, options, tls) => {
    const { port, close } = await start('fastify', { fastify: options, controllers: [Other] });
    const used = await session(port, { tls });
    const unused = await session(port, { tls });
    await used.text('/other');

    const goaways = [used, unused].map((client) => once(client.session, 'goaway'));
    await close();
    await Promise.all([used.closed(), unused.closed()]);

    for (const goaway of goaways) {
      expect(await goaway).toEqual([NGHTTP2_NO_ERROR, expect.any(Number), undefined]);
    }
  });

  it('streams end in the grace period, new ones are refused with 503, and other routes still respond', async () => {
    const gate = deferred();
    const farewell = deferred();
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed() {
        yield 'first';
        await gate.promise;
        yield 'last';
      }
    }
    const { port, close } = await start('fastify', {
      fastify,
      controllers: [Feed, Other],
      options: { shutdown: { grace: 60_000 }, hooks: { onShutdown: () => farewell.resolve() } },
    });
    const http2 = await session(port);
    const reply = http2.get('/feed');
    await reply.until('first');

    const closed = close();
    await farewell.promise;
    const refused = http2.get('/feed');
    await refused.closed();
    expect(refused).toMatchObject({ status: 503, headers: { 'retry-after': '5' } });
    expect(refused.headers).not.toHaveProperty('connection');
    expect(await http2.text('/other')).toBe('fine');
    gate.resolve();
    await reply.closed();
    await closed;
    await http2.closed();

    expect(reply).toMatchObject({ received: 'firstlast', complete: true });
  });

  it('a request that is being processed still receives its response, and its session is then closed', async () => {
    Other.gate = deferred();
    const { app, port, close } = await start('fastify', { fastify, controllers: [Other] });
    const asked = new Recorder<unknown>();
    (app.getHttpServer() as Http2Server).on('stream', asked.add);
    const http2 = await session(port);
    const answer = http2.text('/other');
    await asked.count(1);

    const goaway = once(http2.session, 'goaway');
    const closed = close();
    await goaway;
    Other.gate.resolve();
    Other.gate = undefined;

    expect(await answer).toBe('fine');
    await closed;
    await http2.closed();
  });

  it.each([
    ['nothing at all', Buffer.alloc(0)],
    ['nothing but its settings', PREFACE],
    ['a request', Buffer.concat([PREFACE, requestFrame()])],
  ])('a client that sent %s and reads nothing does not delay it', async (_, bytes) => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'bytes' })
      *feed() {
        seen.add('called');
        for (;;) {
          yield Buffer.alloc(65_536);
        }
      }
    }
    const { app, port, close } = await start('fastify', { fastify, controllers: [Feed] });
    const sessions = new Recorder<unknown>();
    (app.getHttpServer() as Http2Server).on('session', sessions.add);
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => undefined);
    socket.pause();
    socket.write(bytes);
    await sessions.count(1);
    if (bytes.length > PREFACE.length) {
      await seen.count(1);
    }

    await close();

    socket.destroy();
  });

  it('sessions and HTTP/1.1 connections to the same port are closed', async () => {
    const https = { ...TLS, allowHTTP1: true };
    const { port, close } = await start('fastify', { fastify: { http2: true, https }, controllers: [Other] });
    const http2 = await session(port, { tls: true });
    expect(await http2.text('/other')).toBe('fine');
    const { connect: connectTls } = await import('node:tls');
    const http1 = connectTls({ port, host: 'localhost', ca: TLS.cert, ALPNProtocols: ['http/1.1'] }).setEncoding(
      'utf8',
    );
    http1.write('GET /other HTTP/1.1\r\nHost: test\r\n\r\n');
    const [answer] = (await once(http1, 'data')) as [string];

    const closed = once(http1, 'close');
    await close();
    await Promise.all([closed, http2.closed()]);

    expect(answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nfine$/);
  });

  it('sessions with every address of localhost are closed', async () => {
    class App {}
    const module = { module: App, imports: [StreamingModule.forRoot()], controllers: [Other] };
    const app = await NestFactory.create(module, new FastifyAdapter(fastify), { logger: false });
    await app.listen(0, 'localhost');
    const { port } = app.getHttpServer().address();
    const { lookup } = await import('node:dns/promises');
    const addresses = await lookup('localhost', { all: true });
    const clients = await Promise.all(
      addresses.map(({ address }) => session(port, { createConnection: () => connect(port, address) })),
    );
    expect(await Promise.all(clients.map((client) => client.text('/other')))).toEqual(addresses.map(() => 'fine'));

    await app.close();

    await Promise.all(clients.map((client) => client.closed()));
  });

  it('no timer keeps the process alive after its sessions are closed', async () => {
    const timers = () => realProcess.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const { port, close } = await start('fastify', { fastify, controllers: [Other] });
    const http2 = await session(port);
    expect(await http2.text('/other')).toBe('fine');
    const before = timers();

    await close();
    await http2.closed();

    expect(timers()).toBeLessThanOrEqual(before);
  });
});
