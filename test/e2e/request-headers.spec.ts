import { request } from 'node:http';
import { Controller, VersioningType } from '@nestjs/common';
import { Stream } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();

/** The status, headers and body of a GET, without the Accept that `fetch()` sets. */
function get(url: string, headers: Record<string, string>): Promise<{ status: number; type: string; body: string }> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, type: response.headers['content-type'] ?? '', body }),
      );
    })
      .on('error', reject)
      .end();
  });
}

describe.each(PLATFORMS)('%s: if the version of a route is in the media type,', (platform) => {
  const CASES: readonly [string, string, string][] = [
    ['application/x-ndjson;v=2', 'application/x-ndjson', '"two"\n'],
    ['application/x-ndjson; v=2', 'application/x-ndjson', '"two"\n'],
    ['text/event-stream;v=2', 'text/event-stream', 'data: two\n\n'],
    ['application/json;v=1', 'application/json', '["one"]'],
    ['*/*;v=2', 'text/plain; charset=utf-8', 'two'],
    ['text/*;v=2', 'text/plain; charset=utf-8', 'two'],
    ['application/json;v=2;q=0.5', 'application/json', '["two"]'],
  ];

  it.each(CASES)('%s is negotiated without the version', async (accept, type, body) => {
    @Controller({ version: '2' })
    class Versions {
      @Stream('source')
      two() {
        return ['two'];
      }
    }
    @Controller({ version: '1' })
    class First {
      @Stream('source')
      one() {
        return ['one'];
      }
    }
    const { url } = await start(platform, {
      controllers: [First, Versions],
      configure: (app) => void app.enableVersioning({ type: VersioningType.MEDIA_TYPE, key: 'v=' }),
    });

    expect(await get(url('/source'), { Accept: accept })).toEqual({ status: 200, type, body });
  });

  it('a key of several characters, some of them special in regular expressions, is supported too', async () => {
    const { url } = await start(platform, {
      controllers: [controllerOf(() => ['a'])],
      configure: (app) =>
        void app.enableVersioning({ type: VersioningType.MEDIA_TYPE, key: 'x.ver+=', defaultVersion: '1' }),
    });

    expect(await get(url('/source'), { Accept: 'application/json;x.ver+=1' })).toMatchObject({
      status: 200,
      body: '["a"]',
    });
    expect(await get(url('/source'), { Accept: 'application/json;xxver+=1' })).not.toMatchObject({ status: 200 });
  });

  it('other parameters still belong to the media type, and an unknown media type is still a 406', async () => {
    const { url } = await start(platform, {
      controllers: [controllerOf(() => ['a'])],
      configure: (app) =>
        void app.enableVersioning({ type: VersioningType.MEDIA_TYPE, key: 'v=', defaultVersion: '2' }),
    });

    expect((await get(url('/source'), { Accept: 'image/png;v=2' })).status).toBe(406);
    expect((await get(url('/source'), { Accept: 'application/json;v=2;profile=a' })).status).toBe(406);
  });
});

it.each(PLATFORMS)('%s: if versions are elsewhere, such a parameter belongs to the media type', async (platform) => {
  const { url } = await start(platform, { controllers: [controllerOf(() => ['a'])] });

  expect((await get(url('/source'), { Accept: 'application/json;v=2' })).status).toBe(406);
});

/** Values of 15.8 kB that take long to parse, or have many parts. */
const LONG: readonly (readonly [string, string])[] = [
  ['many ranges', 'a/b,'],
  ['many parameters', 'text/plain;a=b;c=d;'],
  ['a quote that is not closed', '",'],
  ['quoted commas', 'a/b;x=",",'],
].map(([what, part = '']) => [what ?? '', part.repeat(15_800 / part.length)] as const);

describe.each(PLATFORMS)('%s: a request header of 15 kB', (platform) => {
  it.each(LONG)(
    'of %s that is Accept is refused with 431, and the response names the header',
    async (_what, accept) => {
      const { url } = await start(platform, { controllers: [controllerOf(() => ['a'])] });

      const response = await get(url('/source'), { Accept: accept });

      expect(response.status).toBe(431);
      expect(JSON.parse(response.body)).toMatchObject({ statusCode: 431, message: expect.stringContaining('Accept') });
    },
  );

  it.each(LONG)('of %s that is Accept-Encoding, Prefer or Last-Event-ID is ignored', async (_what, value) => {
    const { url } = await start(platform, {
      controllers: [controllerOf(() => ['a'], { compression: true })],
    });

    for (const name of ['Accept-Encoding', 'Prefer', 'Last-Event-ID']) {
      expect(await get(url('/source'), { [name]: value })).toMatchObject({ status: 200, body: 'a' });
    }
  });

  it('is not refused if no format is negotiated', async () => {
    const { url } = await start(platform, { controllers: [controllerOf(() => ['a'], { format: 'text' })] });

    expect(await get(url('/source'), { Accept: 'a/b,'.repeat(3_900) })).toMatchObject({ status: 200, body: 'a' });
  });

  it('with subprotocols causes the refusal of a WebSocket', async () => {
    const { url } = await start(platform, { controllers: [controllerOf(() => ['a'])], options: { websocket: true } });
    const protocols = Array.from({ length: 1_500 }, (_, i) => `p${i}`);

    const refusal = await WebSocketClient.refusal(url('/source'), protocols);

    expect([refusal.status, JSON.parse(refusal.body)]).toEqual([
      400,
      { statusCode: 400, message: expect.stringContaining('Sec-WebSocket-Protocol') },
    ]);
  });
});
