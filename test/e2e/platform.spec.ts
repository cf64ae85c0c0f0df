import { createRequire } from 'node:module';
import { setImmediate as turn } from 'node:timers/promises';
import fastifyCompress from '@fastify/compress';
import fastifyCookie from '@fastify/cookie';
import {
  type CanActivate,
  Controller,
  Get,
  Header,
  type INestApplication,
  Param,
  ParseIntPipe,
  Res,
  UseGuards,
} from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import compression from 'compression';
import cookieParser from 'cookie-parser';
import type { Response as ExpressResponse, NextFunction, Request } from 'express';
import { ConnectedStream, Sse, Stream, type StreamConnection } from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { type Deferred, deferred } from '../support/events.js';
import { Reading } from '../support/reading.js';
import { useApps } from '../support/running.js';

const start = useApps();

/** The methods that the cookie plugins of both platforms add to a response. */
interface CookieResponse {
  cookie?(name: string, value: string): unknown;
  setCookie?(name: string, value: string): unknown;
}

function setCookie(response: CookieResponse, name: string, value: string): void {
  response.cookie ? response.cookie(name, value) : response.setCookie?.(name, value);
}

async function useCookies(platform: Platform, app: INestApplication): Promise<void> {
  if (platform === 'express') {
    app.use(cookieParser());
  } else {
    await (app as NestFastifyApplication).register(fastifyCookie);
  }
}

describe.each(PLATFORMS)('%s: on the response of a stream, the package keeps', (platform) => {
  it('headers of middleware', async () => {
    const { url } = await start(platform, {
      controllers: [controllerOf(() => ['a'])],
      configure: (app) =>
        void app.use((_: unknown, response: ExpressResponse, next: NextFunction) => {
          response.setHeader('X-Middleware', 'yes');
          response.setHeader('Set-Cookie', ['m=1', 'n=2']);
          next();
        }),
    });

    const { headers } = await fetch(url('/source'));

    expect(headers.get('x-middleware')).toBe('yes');
    expect(headers.getSetCookie()).toEqual(['m=1', 'n=2']);
  });

  it('the headers of CORS', async () => {
    const { url } = await start(platform, {
      controllers: [controllerOf(() => ['a'])],
      configure: (app) => app.enableCors({ origin: 'http://a.example', credentials: true, exposedHeaders: ['X-Own'] }),
    });

    const { headers } = await fetch(url('/source'), { headers: { Origin: 'http://a.example' } });
    const preflight = await fetch(url('/source'), {
      method: 'OPTIONS',
      headers: { Origin: 'http://a.example', 'Access-Control-Request-Method': 'GET' },
    });

    expect(headers.get('access-control-allow-origin')).toBe('http://a.example');
    expect(headers.get('access-control-allow-credentials')).toBe('true');
    expect(headers.get('access-control-expose-headers')).toBe('X-Own');
    expect(preflight.status).toBe(204);
  });

  it('cookies that a guard or the handler sets, and reads those of the client', async () => {
    const guard: CanActivate = {
      canActivate: (context) => {
        const http = context.switchToHttp();
        const { cookies } = http.getRequest<{ cookies: Record<string, string> }>();
        setCookie(http.getResponse<CookieResponse>(), 'seen', cookies.sent ?? 'none');
        return true;
      },
    };
    @Controller()
    class Cookies {
      @Stream('cookies')
      @UseGuards(guard)
      async *cookies(@Res({ passthrough: true }) response: CookieResponse) {
        await turn();
        setCookie(response, 'handler', '1');
        yield 'a';
      }
    }
    const { url } = await start(platform, {
      controllers: [Cookies],
      configure: (app) => useCookies(platform, app),
    });

    const response = await fetch(url('/cookies'), { headers: { Cookie: 'sent=7' } });

    expect(await response.text()).toBe('a');
    expect(response.headers.getSetCookie()).toEqual(['seen=7; Path=/', 'handler=1; Path=/'].map(ofPlatform));
  });

  it('headers that are set with methods of the platform', async () => {
    @Controller()
    class Own {
      @Stream('own')
      own(@Res({ passthrough: true }) response: { header(name: string, value: string): unknown }) {
        response.header('X-Own', 'yes');
        return ['a'];
      }
    }
    const { url } = await start(platform, { controllers: [Own] });

    expect((await fetch(url('/own'))).headers.get('x-own')).toBe('yes');
  });

  /** The defaults of the two plugins differ. */
  function ofPlatform(cookie: string): string {
    return platform === 'express' ? cookie : cookie.replace('; Path=/', '; SameSite=Lax');
  }
});

describe.each(PLATFORMS)('%s: a head that cannot be sent causes a 500, and the server continues', (platform) => {
  it.each([
    ['no status', (stream: StreamConnection) => stream.status(0)],
    ['a status that is no number', (stream: StreamConnection) => stream.status(Number.NaN)],
    ['a header of two lines', (stream: StreamConnection) => stream.header('X-Own', 'a\r\nX-Injected: b')],
    ['a header name with a space', (stream: StreamConnection) => stream.header('X Own', 'a')],
  ])('%s', async (_what, spoil) => {
    @Controller()
    class Spoilt {
      @Stream('spoilt')
      spoilt(@ConnectedStream() stream: StreamConnection) {
        spoil(stream);
        return ['a'];
      }
    }
    const { url, registry, logs } = await start(platform, { controllers: [Spoilt] });

    for (let i = 0; i < 2; i++) {
      const response = await fetch(url('/spoilt'));
      expect(response.status).toBe(500);
      expect(response.headers.get('x-injected')).toBeNull();
      expect(await response.json()).toMatchObject({ statusCode: 500 });
    }
    expect(logs.of('error')).toHaveLength(2);
    expect(registry.size).toBe(0);
  });
});

describe('fastify: onSend hooks of the application', () => {
  it('run before the head of a stream, also asynchronous ones', async () => {
    const { url } = await start('fastify', {
      controllers: [controllerOf(() => ['a', 'b'])],
      configure: (app) => {
        const fastify = (app as NestFastifyApplication).getHttpAdapter().getInstance();
        fastify.addHook('onSend', async (_request, reply, payload) => {
          await turn();
          await turn();
          reply.header('X-Late', 'yes');
          return payload;
        });
        fastify.addHook('onSend', (_request, reply, payload, done) => {
          reply.header('X-Callback', 'yes');
          done(null, payload);
        });
      },
    });

    const response = await fetch(url('/source'));

    expect(response.headers.get('x-late')).toBe('yes');
    expect(response.headers.get('x-callback')).toBe('yes');
    expect(await response.text()).toBe('ab');
  });

  it('run also if a plugin adds them', async () => {
    const { url } = await start('fastify', {
      controllers: [controllerOf(() => ['a'])],
      configure: async (app) => {
        const plugin = Object.assign(
          async (
            fastify: ReturnType<NestFastifyApplication['getHttpAdapter']>['getInstance'] extends () => infer F
              ? F
              : never,
          ) => {
            fastify.addHook('onSend', async (_request, reply, payload) => {
              reply.header('X-Plugin', 'yes');
              return payload;
            });
          },
          { [Symbol.for('skip-override')]: true },
        );
        await (app as NestFastifyApplication).register(plugin as never);
      },
    });

    expect((await fetch(url('/source'))).headers.get('x-plugin')).toBe('yes');
  });

  it('that fail cause a 500', async () => {
    const { url } = await start('fastify', {
      controllers: [controllerOf(() => ['a'])],
      configure: (app) => {
        (app as NestFastifyApplication)
          .getHttpAdapter()
          .getInstance()
          .addHook('onSend', async (request, reply, payload) => {
            if (reply.statusCode === 200 && request.url === '/source') {
              await turn();
              throw new Error('no session');
            }
            return payload;
          });
      },
    });

    const response = await fetch(url('/source')).catch(() => undefined);

    expect(response?.status).toBe(500);
  });
});

/** Sends `first`, and sends `second` when the test says so. */
function twoEvents(goOn: Deferred, headers: Record<string, string>) {
  @Controller()
  class TwoEvents {
    @Sse('two')
    two(@ConnectedStream() stream: StreamConnection<string>) {
      for (const [name, value] of Object.entries(headers)) {
        stream.header(name, value);
      }
      void stream.send('first');
      void goOn.promise.then(async () => {
        await stream.send('second');
        await stream.close();
      });
    }
  }
  return TwoEvents;
}

describe.each(PLATFORMS)('%s: behind compression', (platform) => {
  async function compressing(app: INestApplication): Promise<void> {
    if (platform === 'express') {
      app.use(compression({ threshold: 0 }));
    } else {
      await (app as NestFastifyApplication).register(fastifyCompress, { threshold: 0 });
    }
  }

  it.each([
    ['with the Cache-Control of a stream', {}],
    ['with a Cache-Control of the user without no-transform', { 'Cache-Control': 'no-cache' }],
  ])('events arrive while the stream is open, %s', async (_what, headers) => {
    const goOn = deferred();
    const { url } = await start(platform, { controllers: [twoEvents(goOn, headers)], configure: compressing });

    const response = await fetch(url('/two'), { headers: { 'Accept-Encoding': 'gzip' } });
    const reading = new Reading(response);
    await reading.until('first\n\n');
    goOn.resolve();

    expect(await reading.end()).toBe('data: first\n\ndata: second\n\n');
  });

  it('a long stream arrives completely', async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}`);
    const { text } = await start(platform, {
      controllers: [controllerOf(() => lines, { format: 'ndjson' })],
      configure: compressing,
    });

    expect(await text('/source', { 'Accept-Encoding': 'gzip' })).toBe(lines.map((line) => `"${line}"\n`).join(''));
  });

  it('a long stream whose Cache-Control allows a transformation arrives completely', async () => {
    const lines = Array.from({ length: 20_000 }, (_, i) => `line ${i}`);
    @Controller()
    class Long {
      @Stream('long', { format: 'ndjson' })
      @Header('Cache-Control', 'no-cache')
      long() {
        return lines;
      }
    }
    const { text } = await start(platform, { controllers: [Long], configure: compressing });

    expect(await text('/long', { 'Accept-Encoding': 'gzip' })).toBe(lines.map((line) => `"${line}"\n`).join(''));
  });

  it('routes that are not streams are compressed as before', async () => {
    @Controller()
    class Plain {
      @Get('plain')
      plain() {
        return { text: 'x'.repeat(5_000) };
      }
    }
    const { url } = await start(platform, { controllers: [Plain], configure: compressing });

    const response = await fetch(url('/plain'), { headers: { 'Accept-Encoding': 'gzip' } });

    expect(response.headers.get('content-encoding')).toBe('gzip');
    expect(await response.json()).toEqual({ text: 'x'.repeat(5_000) });
  });
});

describe('two applications in one process', () => {
  @Controller()
  class Shared {
    @Stream('numbers/:n')
    *numbers(@Param('n', ParseIntPipe) n: number) {
      for (let i = 1; i <= n; i++) {
        yield i;
      }
    }
  }

  it.each([
    ['express', 'express'],
    ['express', 'fastify'],
    ['fastify', 'fastify'],
  ] as const)('each have their own options and streams: %s and %s', async (first, second) => {
    const one = await start(first, { controllers: [Shared], options: { format: 'sse' } });
    const two = await start(second, { controllers: [Shared], options: { format: 'json' } });

    expect(await one.text('/numbers/2')).toBe('data: 1\n\ndata: 2\n\n');
    expect(await two.text('/numbers/2')).toBe('[1,2]');
    expect(one.registry).not.toBe(two.registry);
    await one.close();
    expect(await two.text('/numbers/1')).toBe('[1]');
  });
});

describe('fastify: app.inject()', () => {
  beforeAll(() => {
    // Used only for the cookies of injected requests. It is an ES module, which Jest cannot require() before Node.js 24.9.
    const fastify = createRequire(createRequire(import.meta.url).resolve('fastify'));
    const cookie = createRequire(fastify.resolve('light-my-request')).resolve('cookie');
    import.meta.jest.doMock(cookie, () => ({}));
  });

  it('returns a complete stream, without a socket', async () => {
    const { app } = await start('fastify', { controllers: [controllerOf(() => [{ a: 1 }, { b: 2 }])] });

    const response = await (app as NestFastifyApplication).inject({
      url: '/source',
      headers: { accept: 'text/event-stream' },
    });

    expect(response.statusCode).toBe(200);
    expect(response.headers['content-type']).toBe('text/event-stream');
    expect(response.body).toBe('data: {"a":1}\n\ndata: {"b":2}\n\n');
  });

  it('returns an error before the first byte', async () => {
    const { app } = await start('fastify', { controllers: [controllerOf(() => 7)] });

    expect((await (app as NestFastifyApplication).inject({ url: '/source' })).statusCode).toBe(500);
  });
});

describe('express: a request', () => {
  it('is the request of the connection', async () => {
    @Controller()
    class Requests {
      @Stream('request')
      request(@ConnectedStream() stream: StreamConnection) {
        return [(stream.request as Request).originalUrl];
      }
    }
    const { text } = await start('express', { controllers: [Requests] });

    expect(await text('/request?a=1')).toBe('/request?a=1');
  });
});
