import { setFlagsFromString } from 'node:v8';
import { Body, Controller, Get, type INestApplication, Post } from '@nestjs/common';
import compression from 'compression';
import cookieParser from 'cookie-parser';
import type { Express, NextFunction, Request, Response } from 'express';
import { StreamingExpressAdapter } from '../../lib/express/index.js';
import { Sse, Stream } from '../../lib/index.js';
import { express } from '../support/express.js';
import { useApps } from '../support/running.js';

const start = useApps();

setFlagsFromString('--allow-natives-syntax');
const haveSameMap = new Function('a', 'b', 'return %HaveSameMap(a, b)') as (a: object, b: object) => boolean;

/** V8 adapts the first objects of a hidden class to what their properties hold. */
const WARM_UP = 20;
const COMPARED = 10;

/** Returns how many hidden classes objects have. */
function hiddenClasses(objects: readonly object[]): number {
  const found: object[] = [];
  for (const each of objects) {
    if (!found.some((other) => haveSameMap(each, other))) {
      found.push(each);
    }
  }
  return found.length;
}

@Controller()
class Routes {
  @Get('plain')
  plain() {
    return 'plain';
  }

  @Post('json')
  json(@Body() body: unknown) {
    return body;
  }

  @Stream('chunks')
  async *chunks() {
    yield 'a';
    await new Promise((resolve) => setImmediate(resolve));
    yield 'b';
  }

  @Sse('events')
  *events() {
    yield 1;
    yield 2;
  }
}

/** Sends requests, and returns the hidden classes of the last of them and of their responses, after the end of all. */
async function classesAfter(
  send: (url: string) => Promise<globalThis.Response>,
  configure: (app: INestApplication) => void = () => undefined,
): Promise<{ requests: number; responses: number }> {
  const seen: [Request, Response][] = [];
  const adapter = new StreamingExpressAdapter();
  const { url } = await start('express', {
    adapter,
    controllers: [Routes],
    configure: (app) => {
      app.use((request: Request, response: Response, next: NextFunction) => {
        seen.push([request, response]);
        next();
      });
      configure(app);
    },
  });
  for (let i = 0; i < WARM_UP + COMPARED; i++) {
    await (await send(url(''))).text();
  }
  const last = seen.slice(-COMPARED);
  return {
    requests: hiddenClasses(last.map(([request]) => request)),
    responses: hiddenClasses(last.map(([, response]) => response)),
  };
}

const ONE = { requests: 1, responses: 1 };

describe('With StreamingExpressAdapter, all requests and all responses share one hidden class', () => {
  it.each(['plain', 'chunks', 'events'])('at the route %s', async (route) => {
    expect(await classesAfter((url) => fetch(`${url}/${route}`))).toEqual(ONE);
  });

  it('after a body was parsed', async () => {
    const headers = { 'Content-Type': 'application/json' };
    const send = (url: string) => fetch(`${url}/json`, { method: 'POST', headers, body: '{"a":1}' });

    expect(await classesAfter(send)).toEqual(ONE);
  });

  it('with middleware that adds properties and wraps methods', async () => {
    const configure = (app: INestApplication) => {
      app.enableCors();
      app.use(cookieParser());
      app.use(compression({ threshold: 0 }));
    };

    expect(await classesAfter((url) => fetch(`${url}/plain`, { headers: { Cookie: 'a=1' } }), configure)).toEqual(ONE);
  });

  it('after the prototypes of the application were extended', async () => {
    const configure = (app: INestApplication) => {
      const { request, response } = app.getHttpAdapter().getInstance() as Express;
      Object.assign(request, { own: () => 'own' });
      Object.assign(response, { own: () => 'own' });
    };

    expect(await classesAfter((url) => fetch(`${url}/plain`), configure)).toEqual(ONE);
  });
});

it('With StreamingExpressAdapter, requests and responses have the prototypes of the application before Express handles them', async () => {
  const instance = express();
  const found: boolean[] = [];
  const { app, url } = await start('express', {
    adapter: new StreamingExpressAdapter(instance),
    controllers: [Routes],
  });
  app.getHttpServer().prependListener('request', (request: Request, response: Response) => {
    found.push(Object.getPrototypeOf(request) === instance.request);
    found.push(Object.getPrototypeOf(response) === instance.response);
  });

  await (await fetch(url('/plain'))).text();

  expect(found).toEqual([true, true]);
});
