import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get, type RequestOptions } from 'node:https';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import {
  Body,
  Controller,
  Get,
  Header,
  HttpCode,
  HttpException,
  Param,
  Post,
  Query,
  type RawBodyRequest,
  Redirect,
  Render,
  Req,
  Res,
  StreamableFile,
  UploadedFile,
  UseInterceptors,
  Version,
  VersioningType,
} from '@nestjs/common';
import { ExpressAdapter, FileInterceptor, type NestExpressApplication } from '@nestjs/platform-express';
import cookieParser from 'cookie-parser';
import type { Express, Request, RequestHandler, Response } from 'express';
import { StreamingExpressAdapter } from '../../lib/express/index.js';
import { express } from '../support/express.js';
import { NEST_MAJOR } from '../support/nest.js';
import { RawClient } from '../support/raw-client.js';
import { answers, bodyOf, listening, statusOf } from '../support/side-by-side.js';

/** express-session has its types in a package of its own. */
const session = createRequire(import.meta.url)('express-session') as (options: object) => RequestHandler;
const TLS = new URL('../support/tls/', import.meta.url);

const JSON_TYPE = { 'Content-Type': 'application/json' };
const FORM_TYPE = { 'Content-Type': 'application/x-www-form-urlencoded' };

@Controller()
class Routes {
  @Get()
  root() {
    return 'root';
  }

  @Post('echo')
  @HttpCode(200)
  echo(@Body() body: unknown, @Req() request: RawBodyRequest<Request>) {
    return { body: Buffer.isBuffer(body) ? `bytes ${body}` : body, raw: request.rawBody?.toString() };
  }

  @Get('seen')
  seen(@Req() { ip, ips, protocol, secure, hostname, subdomains, xhr, path, originalUrl }: Request) {
    return { ip, ips, protocol, secure, hostname, subdomains, xhr, path, originalUrl };
  }

  @Get('items/:id')
  item(@Param('id') id: string, @Query() query: unknown) {
    return { id, query };
  }

  @Get('fails')
  fails() {
    throw new HttpException({ own: 'body' }, 418);
  }

  @Get('breaks')
  breaks() {
    throw new Error('broken');
  }

  @Get('moved')
  @Redirect('/items/1', 301)
  moved() {
    return undefined;
  }

  @Get('file')
  @Header('X-Own', 'yes')
  file() {
    return new StreamableFile(Buffer.from('bytes'), { type: 'text/plain', disposition: 'attachment' });
  }

  @Get('cookies')
  cookies(@Req() request: Request, @Res({ passthrough: true }) response: Response) {
    response.cookie('seen', '1', { httpOnly: true, path: '/' });
    response.cookie('signed', 'value', { signed: true });
    response.clearCookie('old');
    return { plain: request.cookies, signed: request.signedCookies };
  }

  @Get('methods/:name')
  methods(@Param('name') name: string, @Req() request: Request, @Res() response: Response) {
    const send: Record<string, () => unknown> = {
      jsonp: () => response.jsonp({ a: 1 }),
      format: () => response.format({ text: () => response.send('text'), json: () => response.json(['json']) }),
      links: () => response.links({ next: '/2' }).vary('X-Own').type('html').status(202).send('<p>'),
      download: () => response.attachment('a.txt').append('X-Many', 'a').append('X-Many', 'b').send('text'),
      accepts: () =>
        response.send([request.accepts('html', 'json'), request.acceptsLanguages('de', 'en'), request.get('x-own')]),
      fresh: () => response.set('ETag', '"1"').send(`${request.fresh}`),
      range: () => response.json(request.range(100)),
      end: () => response.end('end'),
    };
    send[name]?.();
  }

  @Post('upload')
  @UseInterceptors(FileInterceptor('file'))
  upload(@UploadedFile() file: { originalname: string; buffer: Buffer }, @Body() body: unknown) {
    return { name: file.originalname, text: file.buffer.toString(), body };
  }

  @Get('page')
  @Render('page')
  page() {
    return { who: 'you' };
  }
}

const BASE = { controllers: [Routes] };
const post = (body: string, headers: Record<string, string>, path = '/echo') => ({
  method: 'POST',
  path,
  headers,
  body,
});

/** Runs with a folder of files. */
async function withFiles(files: Record<string, string>, run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'streaming-express-'));
  try {
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(folder, name), content);
    }
    await run(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('StreamingExpressAdapter answers with the bytes of ExpressAdapter:', () => {
  it('bodies in JSON and of forms, with their limits and errors', async () => {
    const found = await answers(BASE, [
      post('{"a":[1,"ü"]}', JSON_TYPE),
      post('a[b]=1&a[c]=2&d=x+y', FORM_TYPE),
      post('{"a":', JSON_TYPE),
      post(JSON.stringify('x'.repeat(102_400)), JSON_TYPE),
      post('text', { 'Content-Type': 'text/plain' }),
      post('{"a":1}', { ...JSON_TYPE, 'Content-Encoding': 'unknown' }),
      { method: 'POST', path: '/echo' },
    ]);

    expect(found.map(statusOf)).toEqual([200, 200, 400, 413, 200, 415, 200]);
    expect(JSON.parse(bodyOf(found[1]))).toEqual({ body: { a: { b: '1', c: '2' }, d: 'x y' } });
  });

  it('the bytes of bodies with rawBody, and parsers of the application', async () => {
    const requests = [
      post('{"a":  1}', JSON_TYPE),
      post('text', { 'Content-Type': 'text/plain' }),
      post('bytes', { 'Content-Type': 'application/octet-stream' }),
      post(JSON.stringify('x'.repeat(200)), JSON_TYPE),
    ];
    const raw = await answers({ ...BASE, options: { rawBody: true } }, requests);
    const own = await answers(
      {
        ...BASE,
        options: { bodyParser: false },
        configure: (app) => void app.useBodyParser('json', { limit: 100 }).useBodyParser('text').useBodyParser('raw'),
      },
      requests,
    );
    const none = await answers({ ...BASE, options: { bodyParser: false } }, requests);

    expect(JSON.parse(bodyOf(raw[0]))).toEqual({ body: { a: 1 }, raw: '{"a":  1}' });
    expect(own.map(statusOf)).toEqual([200, 200, 200, 413]);
    expect(JSON.parse(bodyOf(own[2]))).toEqual({ body: 'bytes bytes' });
    expect(bodyOf(none[0])).toBe('{}');
  });

  it('settings of the application', async () => {
    const requests = [
      '/items/1?a[b]=1',
      '/ITEMS/1',
      '/items/1/',
      { path: '/items/1', headers: { 'If-None-Match': '*' } },
    ];
    const plain = await answers(BASE, requests);
    const set = await answers(
      {
        ...BASE,
        prepare: (instance) => void instance.set('case sensitive routing', true).set('strict routing', true),
        configure: (app) => {
          app.disable('x-powered-by');
          app.set('json spaces', 2).set('etag', false).set('query parser', 'extended');
          app.setLocal('title', 'own');
        },
      },
      requests,
    );

    expect(plain.map(statusOf)).toEqual([200, 200, 200, 304]);
    expect(set.map(statusOf)).toEqual([200, 404, 404, 304]);
    expect(bodyOf(set[0])).toBe('{\n  "id": "1",\n  "query": {\n    "a": {\n      "b": "1"\n    }\n  }\n}');
    expect(set[0]).not.toMatch(/x-powered-by|etag/i);
  });

  it('what a request says of its client, with and without "trust proxy"', async () => {
    const headers = {
      Host: 'inner.test',
      'X-Forwarded-For': '203.0.113.7, 198.51.100.2',
      'X-Forwarded-Proto': 'https',
      'X-Forwarded-Host': 'a.b.outer.test',
      'X-Requested-With': 'XMLHttpRequest',
    };
    const seen: Record<string, unknown>[] = [];
    for (const trust of [false, true, 1, 'loopback', ['203.0.113.0/24', 'loopback', '198.51.100.2']]) {
      const configure = (app: NestExpressApplication) => void app.set('trust proxy', trust);
      const [found] = await answers({ ...BASE, configure }, [{ path: '/seen?a=1', headers }]);
      seen.push(JSON.parse(bodyOf(found)));
    }

    expect(seen[0]).toMatchObject({ ip: '127.0.0.1', ips: [], protocol: 'http', hostname: 'inner.test', xhr: true });
    expect(seen.map(({ ip }) => ip)).toEqual([
      '127.0.0.1',
      '203.0.113.7',
      '198.51.100.2',
      '198.51.100.2',
      '203.0.113.7',
    ]);
    expect(seen[1]).toMatchObject({
      protocol: 'https',
      secure: true,
      hostname: 'a.b.outer.test',
      subdomains: ['b', 'a'],
    });
  });

  it('mounted applications, with prototypes and settings of their own', async () => {
    type Own = { who?: () => string; how?: () => string; late?: () => string };
    const who = (request: Request & Own) =>
      `${request.who?.()} ${request.how?.()} ${request.late?.()} ${request.baseUrl}`;
    const sub = (name: string) => {
      const app = express();
      Object.assign(app.request, { how: () => name });
      app.set('x', name);
      app.get(
        '/',
        (request, response) => void response.send(`${who(request)} ${request.app.get('x')} ${request.app.get('y')}`),
      );
      return app;
    };
    const found = await answers(
      {
        ...BASE,
        prepare: (instance) => {
          Object.assign(instance.request, { who: () => 'root' });
          instance.set('y', 'of the root');
          instance.use('/before', sub('mounted before'));
        },
        configure: (app) => {
          app.use('/after', sub('mounted after'), (request: Request, response: Response) => {
            response.send(`past ${who(request)}`);
          });
          const instance = app.getHttpAdapter().getInstance() as Express;
          Object.assign(instance.request, { late: () => 'late' });
        },
      },
      ['/before', '/after', '/after/other', '/'],
    );

    expect(found.map(bodyOf)).toEqual([
      'root mounted before late /before mounted before of the root',
      'root mounted after late /after mounted after of the root',
      'past root undefined late /after',
      'root',
    ]);
  });

  it('an application that is mounted in another one', async () => {
    const found = await answers(
      {
        ...BASE,
        configure: async (app) => {
          await app.init();
          const inner = app.getHttpAdapter().getInstance() as Express;
          const outer = express();
          Object.assign(outer.request, { outer: true });
          outer.use('/inner', inner);
          inner.get('/own', (request, response) => {
            response.json([request.app === inner, request.baseUrl, 'outer' in request]);
          });
          app.getHttpServer().removeAllListeners('request').on('request', outer);
        },
      },
      ['/inner/items/1', '/inner/own', '/items/1'],
    );

    expect(found.map(statusOf)).toEqual([200, 404, 404]);
  });

  it('sessions', async () => {
    const sessions: string[][] = [];
    for (const adapterOf of [ExpressAdapter, StreamingExpressAdapter]) {
      const { app, port } = await listening(
        {
          configure: (app) => {
            app.use(session({ secret: 'secret', resave: false, saveUninitialized: false }));
            app.use('/count', (request: Request & { session: { count?: number } }, response: Response) => {
              request.session.count = (request.session.count ?? 0) + 1;
              response.send(`${request.session.count}`);
            });
          },
        },
        (instance) => new adapterOf(instance),
      );
      const url = `http://127.0.0.1:${port}/count`;
      const first = await fetch(url);
      const [cookie = ''] = first.headers.getSetCookie();
      const second = await fetch(url, { headers: { Cookie: cookie.split(';')[0] ?? '' } });
      sessions.push([await first.text(), await second.text(), cookie.replace(/=.*?;/, '=…;')]);
      await app.close();
    }

    expect(sessions[1]).toEqual(sessions[0]);
    expect(sessions[0]).toEqual(['1', '2', 'connect.sid=…; Path=/; HttpOnly']);
  });

  it('cookies, plain and signed', async () => {
    const configure = (app: NestExpressApplication) => void app.use(cookieParser('secret'));
    const [first = ''] = await answers({ ...BASE, configure }, ['/cookies']);
    const signed = decodeURIComponent(/signed=([^;]*)/.exec(first)?.[1] ?? '');
    const Cookie = `a=1; signed=${signed}; forged=s%3Avalue.forged`;
    const [second] = await answers({ ...BASE, configure }, [{ path: '/cookies', headers: { Cookie } }]);

    expect(JSON.parse(bodyOf(second))).toEqual({ plain: { a: '1' }, signed: { signed: 'value', forged: false } });
  });

  it('a global prefix, versions, errors and redirects', async () => {
    @Controller({ path: 'cats', version: '1' })
    class Cats {
      @Get()
      first() {
        return 'first';
      }

      @Get()
      @Version('2')
      second() {
        return 'second';
      }
    }
    const controllers = [Routes, Cats];
    const prefixed = await answers(
      {
        controllers,
        configure: (app) =>
          void app.setGlobalPrefix('api', { exclude: ['seen'] }).enableVersioning({ type: VersioningType.URI }),
      },
      ['/api/v1/cats', '/api/v2/cats', '/api/v3/cats', '/api/items/1', '/items/1', '/seen', '/api'],
    );
    const header = await answers(
      { controllers, configure: (app) => void app.enableVersioning({ type: VersioningType.HEADER, header: 'X-V' }) },
      [
        { path: '/cats', headers: { 'X-V': '2' } },
        '/cats',
        '/fails',
        '/breaks',
        '/moved',
        '/items/%FF',
        { path: '/', method: 'PUT' },
      ],
    );

    expect(prefixed.map(statusOf)).toEqual([200, 200, 404, 200, 404, 200, 200]);
    expect(header.map(statusOf)).toEqual([200, 404, 418, 500, 301, 400, 404]);
  });

  it('static assets and a view engine', () =>
    withFiles({ 'a.txt': 'asset', 'page.own': 'Hello {who}' }, async (folder) => {
      const found = await answers(
        {
          ...BASE,
          configure: (app) => {
            app.useStaticAssets(folder, { prefix: '/assets/', lastModified: false });
            app.setBaseViewsDir(folder);
            app.engine('own', (path: string, options: { who: string }, done: (error: null, text: string) => void) =>
              done(null, readFileSync(path, 'utf8').replace('{who}', options.who)),
            );
            app.setViewEngine('own');
          },
        },
        [
          '/assets/a.txt',
          { path: '/assets/a.txt', headers: { Range: 'bytes=1-2' } },
          { path: '/assets/a.txt', method: 'HEAD' },
          '/assets/none.txt',
          '/page',
        ],
      );

      expect(found.map(statusOf)).toEqual([200, 206, 200, 404, 200]);
      expect(found.map(bodyOf)).toMatchObject(
        ['asset', 'ss', '', {}, 'Hello you'].map((each) => (each === '' ? '' : expect.anything())),
      );
      expect(bodyOf(found[4])).toBe('Hello you');
    }));

  it('the methods of requests and responses of Express', async () => {
    const found = await answers(BASE, [
      '/methods/jsonp?callback=f',
      { path: '/methods/format', headers: { Accept: 'application/json' } },
      { path: '/methods/format', headers: { Accept: 'image/png' } },
      '/methods/links',
      '/methods/download',
      { path: '/methods/accepts', headers: { Accept: 'application/json', 'Accept-Language': 'en', 'X-Own': 'yes' } },
      { path: '/methods/fresh', headers: { 'If-None-Match': '"1"' } },
      { path: '/methods/range', headers: { Range: 'bytes=0-9' } },
      '/methods/end',
      '/file',
      { path: '/file', method: 'HEAD' },
      { path: '/', method: 'OPTIONS' },
    ]);

    expect(found.map(statusOf)).toEqual([200, 200, 406, 202, 200, 200, 304, 200, 200, 200, 200, 404]);
    expect(bodyOf(found[5])).toBe('["json","en","yes"]');
  });

  it('uploads, CORS, and clients that expect 100-continue', async () => {
    const body = [
      '--b',
      'Content-Disposition: form-data; name="a"',
      '',
      '1',
      '--b',
      'Content-Disposition: form-data; name="file"; filename="f.txt"',
      '',
      'content',
      '--b--',
      '',
    ].join('\r\n');
    const found = await answers({ ...BASE, configure: (app) => app.enableCors({ origin: 'http://a.test' }) }, [
      post(body, { 'Content-Type': 'multipart/form-data; boundary=b' }, '/upload'),
      { path: '/', method: 'OPTIONS', headers: { Origin: 'http://a.test', 'Access-Control-Request-Method': 'PUT' } },
      post('{"a":1}', { ...JSON_TYPE, Expect: '100-continue' }),
      post('{"a":1}', { ...JSON_TYPE, Expect: 'something' }),
    ]);

    expect(JSON.parse(bodyOf(found[0]))).toEqual({ name: 'f.txt', text: 'content', body: { a: '1' } });
    expect(found.map(statusOf)).toEqual([201, 204, 100, 417]);
  });
});

describe('StreamingExpressAdapter has a server like that of ExpressAdapter', () => {
  const httpsOptions = {
    key: readFileSync(new URL('key.pem', TLS)),
    cert: readFileSync(new URL('cert.pem', TLS)),
  };

  it('with httpsOptions, also with classes for its requests and responses', async () => {
    const { IncomingMessage: Base } = await import('node:http');
    class Counted extends Base {
      readonly own = 'own';
    }
    const seen: unknown[] = [];
    for (const adapterOf of [ExpressAdapter, StreamingExpressAdapter]) {
      for (const options of [httpsOptions, { ...httpsOptions, IncomingMessage: Counted }]) {
        const { app, port } = await listening(
          {
            ...BASE,
            options: { httpsOptions: options, forceCloseConnections: true },
            configure: (app) =>
              void app.use('/own', (request: Request & { own?: string }, response: Response) => {
                response.send(`${request.own} ${request.protocol} ${request.secure}`);
              }),
          },
          (instance) => new adapterOf(instance),
        );
        const target: RequestOptions = { port, host: '127.0.0.1', rejectUnauthorized: false };
        for (const path of ['/own', '/items/1']) {
          const [response] = (await once(get({ ...target, path }), 'response')) as [IncomingMessage];
          seen.push([response.statusCode, await text(response)]);
        }
        await app.close();
      }
    }

    expect(seen.slice(4)).toEqual(seen.slice(0, 4));
    expect(seen.map((each) => (each as string[])[1])).toContain('own https true');
  });

  it('with httpsOptions, also with classes whose constructors call their methods', async () => {
    const { IncomingMessage: BaseRequest, ServerResponse: BaseResponse } = await import('node:http');
    const made: string[] = [];
    class OwnRequest extends BaseRequest {
      constructor(...args: ConstructorParameters<typeof BaseRequest>) {
        super(...args);
        this.setUp();
      }
      setUp() {
        made.push('request');
      }
    }
    class OwnResponse extends BaseResponse {
      constructor(...args: ConstructorParameters<typeof BaseResponse>) {
        super(...args);
        this.setUp();
      }
      setUp() {
        made.push('response');
      }
    }
    const classes = { IncomingMessage: OwnRequest, ServerResponse: OwnResponse };
    const { app, port } = await listening(
      { ...BASE, options: { httpsOptions: { ...httpsOptions, ...classes } } },
      (instance) => new StreamingExpressAdapter(instance),
    );
    const target: RequestOptions = { port, host: '127.0.0.1', path: '/items/1', rejectUnauthorized: false };
    const [response] = (await once(get(target), 'response')) as [IncomingMessage];
    await text(response);
    await app.close();

    expect([response.statusCode, ...made]).toEqual([200, 'request', 'response']);
  });

  it('which waits for requests when it is closed without forceCloseConnections, and closes connections that are idle', async () => {
    for (const adapterOf of [ExpressAdapter, StreamingExpressAdapter]) {
      let answerLater: () => void = () => undefined;
      const { app, port } = await listening(
        {
          ...BASE,
          configure: (app) =>
            void app.use('/later', (_: Request, response: Response) => {
              answerLater = () => void response.send('later');
              app.getHttpServer().emit('later');
            }),
        },
        (instance) => new adapterOf(instance),
      );
      const idle = await RawClient.get(port, '/items/1');
      await idle.until('"id":"1"');
      const arrived = once(app.getHttpServer(), 'later');
      const client = await RawClient.get(port, '/later', { Connection: 'close' });
      await arrived;
      const closed = app.close();
      await idle.closed();
      answerLater();
      await closed;

      expect(await client.closed()).toMatch(/later$/);
    }
  });

  const itSince12 = NEST_MAJOR >= 12 ? it : () => undefined;
  itSince12('which answers with 503 while it closes, with return503OnClosing', async () => {
    const seen: string[] = [];
    for (const adapterOf of [ExpressAdapter, StreamingExpressAdapter]) {
      const { app, port } = await listening(
        { ...BASE, options: { return503OnClosing: true } },
        (instance) => new adapterOf(instance),
      );
      const client = await RawClient.get(port, '/items/1');
      await client.until('"id":"1"');
      app.getHttpAdapter().beforeClose?.();
      client.send('GET /items/2 HTTP/1.1\r\nHost: test\r\n\r\n');
      seen.push((await client.closed()).replaceAll(/^Date: .*$/gm, 'Date: now'));
      await app.close();
    }

    expect(seen[1]).toBe(seen[0]);
    expect(seen[1]).toMatch(/HTTP\/1\.1 503 Service Unavailable.*Service Unavailable$/s);
  });
});
