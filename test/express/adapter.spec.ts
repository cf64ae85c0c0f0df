import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Controller, Get, Module, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter, type NestExpressApplication } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import type { Express, Request } from 'express';
import { type ExpressApplication, StreamingExpressAdapter } from '../../lib/express/index.js';
import { Stream, StreamError, StreamingModule } from '../../lib/index.js';
import { Recorder } from '../support/events.js';
import { express } from '../support/express.js';
import { RawClient } from '../support/raw-client.js';
import { useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();

@Controller()
class Routes {
  @Get('plain')
  plain() {
    return 'plain';
  }

  @Get('own')
  own(@Req() request: Request & { own?: () => string }) {
    return request.own?.() ?? 'none';
  }

  @Stream('feed')
  async *feed() {
    yield 'a';
  }
}

@Module({ imports: [StreamingModule.forRoot()], controllers: [Routes] })
class Root {}

const SILENT = { logger: false } as const;

describe('StreamingExpressAdapter', () => {
  it('gives an application all methods of NestExpressApplication', async () => {
    const app = await NestFactory.create<NestExpressApplication>(Root, new StreamingExpressAdapter(), SILENT);

    app.set('trust proxy', true).disable('x-powered-by');
    app.useBodyParser('json', { limit: '1mb' });
    app.setBaseViewsDir('views');
    app.enableCors();

    expect(app.getHttpAdapter().getType()).toBe('express');
    expect(app.getHttpAdapter()).toBeInstanceOf(ExpressAdapter);
    await app.close();
  });

  it.each([
    ['an application on Fastify', () => new FastifyAdapter().getInstance()],
    ['a router of Express', () => express.Router()],
    ['an adapter of Nest', () => new ExpressAdapter()],
    ['a server', () => createServer()],
    ['null', () => null],
    ['a function', () => () => undefined],
  ])('refuses %s in place of an application of Express', (_what, make) => {
    const create = () => new StreamingExpressAdapter(make() as unknown as ExpressApplication);

    expect(create).toThrow(StreamError);
    expect(create).toThrow(
      /^new StreamingExpressAdapter\(\): the argument must be an application of Express, as express\(\)/,
    );
  });

  it('uses an application of Express with what it already has', async () => {
    const instance = express();
    instance.set('x-powered-by', false);
    instance.get('/before', (_request, response) => void response.send('before'));
    Object.assign(instance.request, { own: () => 'own' });
    const { text, app } = await start('express', {
      adapter: new StreamingExpressAdapter(instance),
      controllers: [Routes],
    });

    expect(app.getHttpAdapter().getInstance()).toBe(instance);
    expect([await text('/before'), await text('/plain'), await text('/own')]).toEqual(['before', 'plain', 'own']);
  });

  it('may be used for two applications of Nest on one application of Express', async () => {
    const instance = express();
    const adapter = new StreamingExpressAdapter(instance);
    const first = await NestFactory.create(Root, adapter, SILENT);
    const { request, response } = instance;
    const second = await NestFactory.create(Root, adapter, SILENT);

    expect([instance.request === request, instance.response === response]).toEqual([true, true]);
    await first.close();
    await second.close();
  });

  it('creates a server with the settings and the listeners of that of Nest', async () => {
    const servers = await Promise.all(
      [new ExpressAdapter(), new StreamingExpressAdapter()].map(async (adapter) => {
        const app = await NestFactory.create(Root, adapter, { ...SILENT, forceCloseConnections: true });
        await app.init();
        const server = app.getHttpServer();
        const listeners = server.eventNames().map((name: string) => [String(name), server.listenerCount(name)]);
        const { timeout, requestTimeout, headersTimeout, keepAliveTimeout, maxHeadersCount, maxRequestsPerSocket } =
          server;
        await app.close();
        return {
          listeners,
          settings: [timeout, requestTimeout, headersTimeout, keepAliveTimeout, maxHeadersCount, maxRequestsPerSocket],
        };
      }),
    );

    expect(servers[1]).toEqual(servers[0]);
  });

  it('leaves names and keys of requests and responses as they are with Express', async () => {
    const seen: unknown[] = [];
    for (const adapter of [new ExpressAdapter(), new StreamingExpressAdapter()]) {
      const { text } = await start('express', {
        adapter,
        controllers: [Routes],
        configure: (app) => {
          app.use((request: Request, response: object, next: () => void) => {
            seen.push({
              classes: [request.constructor === IncomingMessage, response.constructor === ServerResponse],
              instances: [request instanceof IncomingMessage, response instanceof ServerResponse],
              keys: [Object.keys(request), Object.keys(response)],
              inherited: [chainOf(request), chainOf(response)],
              app: request.app === app.getHttpAdapter().getInstance(),
            });
            next();
          });
        },
      });
      await text('/plain');
    }

    expect(seen[1]).toEqual(seen[0]);
    expect(seen[0]).toMatchObject({ classes: [true, true], instances: [true, true], app: true });
  });

  it('passes plain requests to listeners for upgrades, and streams over WebSocket', async () => {
    const upgrades = new Recorder<IncomingMessage & { query?: unknown }>();
    const { app, url, port } = await start('express', {
      adapter: new StreamingExpressAdapter(),
      controllers: [Routes],
      options: { websocket: true },
      configure: (app) =>
        app.getHttpServer().on('upgrade', (request: IncomingMessage & { query?: unknown }, socket: Socket) => {
          // Requests of Express have no setter for it.
          request.query = { own: true };
          upgrades.add(request);
          socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
        }),
    });
    const client = await RawClient.get(port, '/other?a=1', { Connection: 'Upgrade', Upgrade: 'own' });
    await client.closed();
    const socket = await WebSocketClient.open(url('/feed'));

    expect(await socket.messages.count(1)).toEqual(['a']);
    await socket.closed;
    expect(upgrades.seen.map((request) => request.query)).toEqual([{ own: true }]);
    expect(Object.getPrototypeOf(upgrades.seen[0])).toBe(IncomingMessage.prototype);
    expect(app.getHttpServer().listenerCount('upgrade')).toBe(2);
  });

  it.each([
    ['checkContinue', '100-continue'],
    ['checkExpectation', 'something'],
  ])(
    'passes plain requests to listeners for the event %s, and Express can still respond',
    async (event, expectation) => {
      const requests: object[] = [];
      const { get } = await start('express', {
        adapter: new StreamingExpressAdapter(),
        controllers: [Routes],
        configure: (app) =>
          app.getHttpServer().on(event, (request: IncomingMessage & { query?: unknown }, response: ServerResponse) => {
            requests.push(Object.getPrototypeOf(request));
            // Requests of Express have no setter for it.
            request.query = { own: true };
            app.getHttpServer().emit('request', request, response);
          }),
      });

      const client = await get('/plain', { Connection: 'close', Expect: expectation });

      expect(await client.closed()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*plain$/s);
      expect(requests).toEqual([IncomingMessage.prototype]);
    },
  );

  it('responds to an upgrade as to an ordinary request if nobody listens for upgrades', async () => {
    const { get } = await start('express', { adapter: new StreamingExpressAdapter(), controllers: [Routes] });

    const client = await get('/plain', { Connection: 'Upgrade, close', Upgrade: 'own' });

    expect(await client.closed()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*plain$/s);
  });
});

/** The properties that an object inherits, from the nearest prototype on. Prototypes without properties are left out. */
function chainOf(object: object): string[][] {
  const names: string[][] = [];
  for (let at = Object.getPrototypeOf(object); at !== null; at = Object.getPrototypeOf(at)) {
    const own = Reflect.ownKeys(at).map(String);
    names.push(...(own.length > 0 ? [own] : []));
  }
  return names;
}

describe('With forceCloseConnections, closing an application', () => {
  it('closes connections that wait for their next request, and those of requests that have no response', async () => {
    const adapter = new StreamingExpressAdapter();
    const app = await NestFactory.create(Root, adapter, { ...SILENT, forceCloseConnections: true });
    const pending = once(adapter.getInstance<Express>(), 'pending');
    app.use('/never', () => adapter.getInstance<Express>().emit('pending'));
    await app.listen(0, '127.0.0.1');
    const { port } = app.getHttpServer().address();
    const idle = await RawClient.get(port, '/plain');
    await idle.until('plain');
    const waiting = await RawClient.get(port, '/never');
    await pending;

    await app.close();

    expect(await idle.closed()).toMatch(/plain$/);
    expect(await waiting.closed()).toBe('');
  });
});

describe('If @nestjs/platform-express is not installed', () => {
  const ROOT = fileURLToPath(new URL('../../', import.meta.url));
  const hooks = `export const resolve = (name, context, next) =>
    next(name, name === '@nestjs/platform-express' ? { ...context, parentURL: 'file:///nowhere/main.js' } : context);`;
  const asUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
  const register = asUrl(`import { register } from 'node:module'; register(${JSON.stringify(asUrl(hooks))});`);
  const run = (program: string) =>
    promisify(execFile)(
      process.execPath,
      ['--no-warnings', '--import', register, '--input-type=module', '--eval', program],
      { cwd: ROOT, timeout: 60_000 },
    );

  it('the entry point says so, and the root does not need it', async () => {
    await run(`await import('nestjs-streaming')`);

    await expect(run(`await import('nestjs-streaming/express')`)).rejects.toThrow(
      "Cannot find package '@nestjs/platform-express'",
    );
  }, 60_000);
});
