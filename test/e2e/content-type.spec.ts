import { Controller, Header, type NestInterceptor, UseInterceptors } from '@nestjs/common';
import {
  ConnectedStream,
  defineFormat,
  Sse,
  Stream,
  type StreamConnection,
  type StreamOptions,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { useApps } from '../support/running.js';

const start = useApps();

/** Like an application that sets JSON for all routes. */
const asJson: NestInterceptor = {
  intercept: (context, next) => {
    context
      .switchToHttp()
      .getResponse<{ header(name: string, value: string): void }>()
      .header('Content-Type', 'application/json');
    return next.handle();
  },
};

const lines = defineFormat({ name: 'lines', mediaTypes: ['text/x-lines'], encode: (value) => `${String(value)}\n` });

/** Routes whose type is set to `application/json` by a decorator, an interceptor, or the method. */
function typedBy(options: StreamOptions, type = 'application/json') {
  @Controller()
  class Typed {
    @Stream('decorator', options)
    @Header('Content-Type', type)
    decorator() {
      return ['a'];
    }

    @Stream('interceptor', options)
    @UseInterceptors(asJson)
    interceptor() {
      return ['a'];
    }

    @Stream('handler', options)
    handler(@ConnectedStream() stream: StreamConnection) {
      stream.header('content-type', type);
      return ['a'];
    }
  }
  return Typed;
}

describe.each(PLATFORMS)('%s: the Content-Type of a stream', (platform) => {
  it.each<[string, StreamOptions, string]>([
    ['SSE', { format: 'sse' }, 'text/event-stream'],
    ['NDJSON', { format: 'ndjson' }, 'application/x-ndjson'],
    ['a JSON text sequence', { format: 'json-seq' }, 'application/json-seq'],
    ['a format of your own', { format: lines }, 'text/x-lines'],
  ])(
    'is that of the format if clients need it to read the body, whatever the application sets: %s',
    async (_what, options, type) => {
      const app = await start(platform, { controllers: [typedBy(options)] });

      for (const path of ['/decorator', '/interceptor', '/handler']) {
        expect((await fetch(app.url(path))).headers.get('content-type')).toBe(type);
        await app.text(path);
      }

      const warnings = app.logs.of('warn').filter((line) => line.includes('content-type'));
      expect(warnings).toEqual(
        ['decorator', 'interceptor', 'handler'].map((method) =>
          expect.stringContaining(`Typed.${method}: the header content-type is not sent as it was set`),
        ),
      );
    },
  );

  it.each<[StreamOptions, string]>([
    [{ format: 'text' }, 'text/markdown; charset=utf-8'],
    [{ format: 'bytes' }, 'image/png'],
    [{}, 'text/markdown; charset=utf-8'],
  ])('is that of the application if the body is text or bytes: %j', async (options, type) => {
    const app = await start(platform, { controllers: [typedBy(options, type)] });

    for (const path of ['/decorator', '/handler']) {
      expect((await fetch(app.url(path))).headers.get('content-type')).toBe(type);
    }
    expect(app.logs.of('warn')).toEqual([]);
  });

  it('keeps parameters that the application adds to the type of the format', async () => {
    const app = await start(platform, {
      controllers: [typedBy({ format: 'sse' }, 'Text/Event-Stream; charset=utf-8')],
    });

    expect((await fetch(app.url('/decorator'))).headers.get('content-type')).toBe('Text/Event-Stream; charset=utf-8');
    expect(app.logs.of('warn')).toEqual([]);
  });

  it('is that of the format that the client has chosen', async () => {
    const app = await start(platform, { controllers: [typedBy({ format: ['json', 'sse'] })] });
    const typeFor = async (accept: string) =>
      (await fetch(app.url('/decorator'), { headers: { Accept: accept } })).headers.get('content-type');

    expect(await typeFor('application/json')).toMatch(/^application\/json/);
    expect(await typeFor('text/event-stream')).toBe('text/event-stream');
  });

  it('is that of a Response that is forwarded, on a route with SSE only', async () => {
    @Controller()
    class Relay {
      @Sse('proxied')
      proxied() {
        return new Response('data: x\n\n', { headers: { 'Content-Type': 'text/event-stream; charset=utf-8' } });
      }
    }
    const app = await start(platform, { controllers: [Relay] });

    expect((await fetch(app.url('/proxied'))).headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  });

  it('is that of the exception filter if the stream fails before it opens', async () => {
    @Controller()
    class Failing {
      @Sse('failing')
      @Header('Content-Type', 'application/json')
      failing(): never {
        throw new Error('no');
      }
    }
    const app = await start(platform, { controllers: [Failing] });

    const response = await fetch(app.url('/failing'));

    expect([response.status, response.headers.get('content-type')]).toEqual([
      500,
      expect.stringMatching(/^application\/json/),
    ]);
  });
});
