import type { RequestListener } from 'node:http';
import { Controller, NotFoundException, UseInterceptors } from '@nestjs/common';
import { mergeMap, type Observable } from 'rxjs';
import { ConnectedStream, Sse, Stream, type StreamConnection, StreamSignal } from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { type Deferred, deferred } from '../support/events.js';
import { turns, useApps } from '../support/running.js';
import { upstream } from '../support/upstream.js';
import { WebSocketClient } from '../support/websocket-client.js';

const start = useApps();

/** Longer than `openDelay`, and shorter than any other duration. */
const LONG_MS = 5_000;

const tooMany: RequestListener = (_request, response) => {
  response.writeHead(429, { 'Content-Type': 'application/json', 'Retry-After': '7', 'X-Upstream': 'yes' });
  response.end('{"error":"slow down"}');
};

const events: RequestListener = (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Upstream': 'yes' });
  response.end('data: token\n\n');
};

describe.each(PLATFORMS)('%s: a handler that returns fetch()', (platform) => {
  const ASKED = [undefined, '*/*', 'application/json', 'text/event-stream', 'application/x-ndjson, */*;q=0.1'];

  it.each(ASKED)(
    'forwards a response that arrives after openDelay, also a 429, to a client that accepts %s',
    async (accept) => {
      for (const [answer, status, type, body] of [
        [tooMany, 429, 'application/json', '{"error":"slow down"}'],
        [events, 200, 'text/event-stream', 'data: token\n\n'],
      ] as const) {
        const origin = await upstream(answer);
        @Controller()
        class Gateway {
          @Stream('source')
          source(@StreamSignal() signal: AbortSignal) {
            return fetch(origin.url, { signal });
          }
        }
        const { get, app, logs } = await start(platform, { controllers: [Gateway] });
        const clock = useFakeClock(app);

        const client = await get('/source', { Connection: 'close', ...(accept !== undefined && { Accept: accept }) });
        await origin.asked;
        await clock.advance(LONG_MS);
        expect(client.received).toBe('');
        origin.gate.resolve();
        await client.closed();
        origin.close();

        expect(client.head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
        expect(client.head).toMatch(/\r\nx-upstream: yes\r\n/i);
        expect(client.head).toMatch(new RegExp(`\r\ncontent-type: ${type}\r\n`, 'i'));
        expect(client.body).toBe(body);
        expect(logs.of('error')).toEqual([]);
      }
    },
  );

  it.each([
    ['at once (openDelay: 0)', { openDelay: 0 }],
    ['until the first chunk', { openDelay: 'first-chunk' }],
  ] as const)('can take longer than it takes a silent stream to open %s', async (_when, options) => {
    const origin = await upstream(tooMany);
    const { get, app } = await start(platform, { controllers: [controllerOf(() => fetch(origin.url), options)] });
    const clock = useFakeClock(app);

    const client = await get('/source', { Connection: 'close', Accept: 'text/event-stream' });
    await origin.asked;
    await clock.advance(LONG_MS);
    origin.gate.resolve();
    await client.closed();
    origin.close();

    expect(client.head).toMatch(/^HTTP\/1\.1 429 /);
  });

  it('has its status and headers in the response to HEAD', async () => {
    const origin = await upstream(tooMany);
    const { get, app } = await start(platform, { controllers: [controllerOf(() => fetch(origin.url))] });
    const clock = useFakeClock(app);

    const client = await get('/source', { Connection: 'close', Accept: 'text/event-stream' }, 'HEAD');
    await origin.asked;
    await clock.advance(LONG_MS);
    origin.gate.resolve();
    await client.closed();
    origin.close();

    expect(client.head).toMatch(/^HTTP\/1\.1 429 /);
    expect(client.head).toMatch(/\r\nretry-after: 7\r\n/i);
  });

  it('can take longer than openDelay behind a slow interceptor', async () => {
    const origin = await upstream(tooMany);
    const intercepted = deferred();
    const gate = deferred();
    @Controller()
    @UseInterceptors({
      intercept: (_context, next): Observable<unknown> =>
        next.handle().pipe(
          mergeMap(async (value: unknown) => {
            intercepted.resolve();
            await gate.promise;
            return value;
          }),
        ),
    })
    class Gateway {
      @Stream('source')
      source() {
        return fetch(origin.url);
      }
    }
    const { get, app } = await start(platform, { controllers: [Gateway] });
    const clock = useFakeClock(app);

    const client = await get('/source', { Connection: 'close', Accept: 'text/event-stream' });
    await origin.asked;
    await clock.advance(LONG_MS);
    origin.gate.resolve();
    await intercepted.promise;
    await clock.advance(LONG_MS);
    gate.resolve();
    await client.closed();
    origin.close();

    expect(client.head).toMatch(/^HTTP\/1\.1 429 /);
    expect(client.body).toBe('{"error":"slow down"}');
  });
});

/** A handler that reports its call, and continues when the test says so. */
function pending(then: () => unknown): { readonly called: Deferred; readonly gate: Deferred; run(): Promise<unknown> } {
  const called = deferred();
  const gate = deferred();
  return {
    called,
    gate,
    async run() {
      called.resolve();
      await gate.promise;
      return then();
    },
  };
}

const FOREVER = new Promise<never>(() => undefined);

async function* silence() {
  await FOREVER;
  yield 'never';
}

describe.each(PLATFORMS)('%s: a handler whose promise is pending', (platform) => {
  it.each([
    [
      '@Sse()',
      (run: () => unknown) => {
        @Controller()
        class Named {
          @Sse('source')
          source() {
            return run();
          }
        }
        return Named;
      },
    ],
    ['@Stream() with a format', (run: () => unknown) => controllerOf(run, { format: 'sse' })],
    ['@Stream() with formats', (run: () => unknown) => controllerOf(run, { format: ['json', 'sse'] })],
  ])('has a stream that openDelay opens if the route names its format: %s', async (_what, make) => {
    const handler = pending(() => ['late']);
    const { get, app } = await start(platform, { controllers: [make(handler.run)] });
    const clock = useFakeClock(app);

    const client = await get('/source', { Accept: 'text/event-stream' });
    await handler.called.promise;
    await clock.advance(LONG_MS);
    await client.until('\r\n\r\n');
    handler.gate.resolve();
    await client.until('data: late\n\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('may throw an exception with a status, however late, if the client chooses the format', async () => {
    const handler = pending(() => {
      throw new NotFoundException();
    });
    const { get, app } = await start(platform, { controllers: [controllerOf(handler.run)] });
    const clock = useFakeClock(app);

    const client = await get('/source', { Accept: 'text/event-stream', Connection: 'close' });
    await handler.called.promise;
    await clock.advance(LONG_MS);
    handler.gate.resolve();
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('has a silent stream like any other after it has returned', async () => {
    const handler = pending(silence);
    const { get, app } = await start(platform, { controllers: [controllerOf(handler.run, { heartbeat: 500 })] });
    const clock = useFakeClock(app);

    const client = await get('/source', { Accept: 'text/event-stream' });
    await handler.called.promise;
    await clock.advance(LONG_MS);
    expect(client.received).toBe('');
    handler.gate.resolve();
    await turns();
    await clock.advance(LONG_MS);
    await client.until(':');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
    expect(client.head).toMatch(/content-type: text\/event-stream/i);
  });

  it('with openDelay: 0 opens the stream when it returns', async () => {
    const handler = pending(silence);
    const { get } = await start(platform, { controllers: [controllerOf(handler.run, { openDelay: 0 })] });

    const client = await get('/source', { Accept: 'text/event-stream' });
    await handler.called.promise;
    await turns();
    expect(client.received).toBe('');
    handler.gate.resolve();
    await client.until('\r\n\r\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
  });

  it.each([
    ['stream.open()', (stream: StreamConnection) => void stream.open(), '\r\n\r\n'],
    ['stream.send()', (stream: StreamConnection) => void stream.send('first'), 'data: first\n\n'],
  ])('does not prevent %s from opening the stream', async (_how, open, seen) => {
    @Controller()
    class Pushing {
      @Stream('source')
      async source(@ConnectedStream() stream: StreamConnection) {
        open(stream);
        await FOREVER;
      }
    }
    const { get } = await start(platform, { controllers: [Pushing] });

    const client = await get('/source', { Accept: 'text/event-stream' });
    await client.until(seen);

    expect(client.head).toMatch(/^HTTP\/1\.1 200 /);
  });

  it('may refuse a WebSocket with an exception, however late', async () => {
    const handler = pending(() => {
      throw new NotFoundException();
    });
    const { url, app } = await start(platform, {
      controllers: [controllerOf(handler.run)],
      options: { websocket: true },
    });
    const clock = useFakeClock(app);

    const refusal = WebSocketClient.refusal(url('/source'));
    await handler.called.promise;
    await clock.advance(LONG_MS);
    handler.gate.resolve();

    expect((await refusal).status).toBe(404);
  });
});
