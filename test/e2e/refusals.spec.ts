import { type CanActivate, Controller, RequestMethod, UseGuards, UseInterceptors } from '@nestjs/common';
import { tap } from 'rxjs';
import {
  ConnectedStream,
  defineFormat,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import { range, SSE } from '../support/hub.js';
import type { RawClient } from '../support/raw-client.js';
import { turns, useApps } from '../support/running.js';

const NEVER = new Promise<never>(() => undefined);
const SHUTDOWN = /^event: shutdown\nretry: (\d+)\ndata: \{\}\n\n$/;

/** The calls of handlers and hooks. */
let called = new Recorder();
let gate = deferred();

const aiFormat = defineFormat({
  name: 'ai',
  mediaTypes: ['text/event-stream'],
  encode: (value) => `data: ${JSON.stringify(value)}\n\n`,
});

@Controller()
class Feed {
  @Sse('feed')
  async *feed(@LastEventId() _after?: string) {
    called.add('feed');
    yield 'x';
    await NEVER;
  }

  @Stream('any')
  async *any() {
    called.add('any');
    yield 'x';
    await NEVER;
  }

  @Stream('posted', { format: 'sse', method: RequestMethod.POST })
  async *posted() {
    called.add('posted');
    yield 'x';
  }

  @Stream('ai', { format: aiFormat })
  async *ai() {
    called.add('ai');
    yield 'x';
  }

  @UseInterceptors({ intercept: (_context, next) => next.handle().pipe(tap(() => called.add('value'))) })
  @Sse('intercepted')
  async *intercepted() {
    called.add('intercepted');
    yield 'x';
  }

  @Sse('gated')
  async *gated() {
    called.add('gated');
    await gate.promise;
    yield 'x';
  }

  @Sse('late', { openDelay: 'first-chunk' })
  async *late(@ConnectedStream() stream: StreamConnection) {
    stream.status(201);
    called.add('late');
    await NEVER;
    yield 'x';
  }
}

const hooks = {
  onOpen: ({ route }: StreamConnection) => called.add(`onOpen ${route}`),
  beforeChunk: (chunk: unknown, { route }: StreamConnection) => {
    called.add(`beforeChunk ${route}`);
    return chunk;
  },
  beforeClose: ({ route }: StreamConnection) => called.add(`beforeClose ${route}`),
  onClose: ({ route }: StreamConnection, { code }: { code: string }) => called.add(`onClose ${route} ${code}`),
};

function statusOf({ head }: RawClient): number {
  return Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]);
}

/** Waits for a complete response. */
async function answered(client: RawClient): Promise<RawClient> {
  await client.until(/\r\n0\r\n\r\n$|content-length: \d+\r\n[\s\S]*\r\n\r\n[\s\S]+/i);
  return client;
}

describe.each(PLATFORMS)('%s: an EventSource that is refused', (platform) => {
  const launch = useApps();

  beforeEach(() => {
    called = new Recorder();
  });

  const start = (options: StreamingModuleOptions, setup: Partial<AppSetup> = {}) =>
    launch(platform, { controllers: [Feed], options, ...setup });

  /** Opens a stream that delays the end of the application until it is released. */
  async function closing(options: StreamingModuleOptions = {}) {
    const gate = deferred();
    @Controller()
    class Slow {
      @Stream('slow')
      async *slow() {
        yield 'slow';
        await gate.promise;
      }
    }
    const closing = new Recorder();
    const app = await start(
      { shutdown: { grace: 20_000 }, hooks: { onShutdown: ({ route }) => closing.add(route) }, ...options },
      { controllers: [Feed, Slow] },
    );
    const slow = await app.get('/slow');
    await slow.until('slow');
    const closed = app.close();
    await closing.count(1);
    const finish = async (): Promise<void> => {
      gate.resolve();
      await closed;
    };
    return { ...app, finish };
  }

  it('while the application closes receives 200, retry and a clean end, as often as it reconnects', async () => {
    const { get, finish } = await closing({ shutdown: { grace: 20_000, retry: 1_000 } });

    const delays: number[] = [];
    for (const _ of range(1, 8)) {
      const client = await get('/feed', SSE);
      await client.closed();
      const [, retry] = SHUTDOWN.exec(client.body) ?? [];
      expect(statusOf(client)).toBe(200);
      expect(client.head).toMatch(/^content-type: text\/event-stream\r$/im);
      expect(client.head).toMatch(/^cache-control: no-cache, no-transform\r$/im);
      expect(client.head).toMatch(/^connection: close\r$/im);
      delays.push(Number(retry));
    }

    for (const delay of delays) {
      expect(delay).toBeGreaterThanOrEqual(500);
      expect(delay).toBeLessThanOrEqual(1_500);
    }
    expect(new Set(delays).size).toBeGreaterThan(1);
    expect(called.seen).toEqual([]);
    await finish();
  });

  it('receives no retry if shutdown.retry is false', async () => {
    const { get, finish } = await closing({ shutdown: { grace: 20_000, retry: false } });

    const client = await get('/feed', SSE);
    await client.closed();

    expect(client.body).toBe('event: shutdown\ndata: {}\n\n');
    await finish();
  });

  it('over limits.connections receives a retry about limits.retryAfter, and its hooks are not called', async () => {
    const { get, registry } = await start({ hooks, limits: { connections: 1, retryAfter: 2_000 } });
    const first = await get('/feed', SSE);
    await first.until('data: x');
    const before = [...called.seen];

    const client = await answered(await get('/feed', SSE));

    const [, retry] = SHUTDOWN.exec(client.body) ?? [];
    expect(statusOf(client)).toBe(200);
    expect(client.head).toMatch(/^retry-after: 2\r$/im);
    expect(Number(retry)).toBeGreaterThanOrEqual(1_000);
    expect(Number(retry)).toBeLessThanOrEqual(3_000);
    expect(called.seen).toEqual(before);
    expect(registry.size).toBe(1);
    expect(registry.snapshot().totals.open).toBe(1);
    first.disconnect();
    await called.count(before.length + 1);
    await (await get('/feed', SSE)).until('data: x');
  });

  it('through an interceptor receives that response once, and its handler is not called', async () => {
    const { get } = await start({ limits: { connections: 1 } });
    await (await get('/any')).until('x');

    const client = await answered(await get('/intercepted', SSE));

    expect(client.body).toMatch(SHUTDOWN);
    expect(called.seen.filter((each) => each === 'intercepted')).toEqual([]);
  });

  it('after it was accepted, and before its stream has opened, receives the same response when the application closes', async () => {
    const { get, close } = await start({ hooks, shutdown: { grace: 0 } });
    const client = await get('/late', SSE);
    await called.count(1);

    await close();
    await client.closed();

    expect(statusOf(client)).toBe(200);
    expect(client.body).toMatch(SHUTDOWN);
    expect(called.seen).toEqual(['late', 'onClose Feed.late shutdown']);
  });

  it.each([
    ['of the registry, when its stream is closed', {}],
    ['at maxDuration', { maxDuration: 40 }],
  ])('%s before it has opened receives the same response', async (_what, options) => {
    const { get, registry } = await start({ hooks, ...options });
    const client = await get('/late', SSE);
    await called.count(1);

    if (!('maxDuration' in options)) {
      await registry.close();
    }
    await answered(client);

    expect(statusOf(client)).toBe(200);
    expect(client.body).toMatch(SHUTDOWN);
  });

  it('is refused with 429 over limits.perClient', async () => {
    const { get } = await start({ limits: { perClient: 1 } });
    await (await get('/feed', SSE)).until('data: x');

    expect(statusOf(await answered(await get('/feed', SSE)))).toBe(429);
  });

  it('has to pass the guards before that', async () => {
    const guard: CanActivate = { canActivate: () => false };
    @Controller()
    @UseGuards(guard)
    class Guarded {
      @Sse('guarded')
      guarded() {
        return ['x'];
      }
    }
    const { get } = await start({ limits: { connections: 1 } }, { controllers: [Feed, Guarded] });
    await (await get('/feed', SSE)).until('data: x');

    expect(statusOf(await answered(await get('/guarded', SSE)))).toBe(403);
  });

  it.each([
    ['that accepts other types too', '/any', { Accept: 'text/event-stream, application/json' }, 'GET'],
    ['that accepts anything', '/feed', { Accept: '*/*' }, 'GET'],
    ['that posts', '/posted', SSE, 'POST'],
    ['of a format that is not the EventSource one', '/ai', SSE, 'GET'],
    ['that asks for the head alone', '/feed', SSE, 'HEAD'],
  ])('is distinguished from a client %s, which receives 503', async (_what, path, headers, method) => {
    const { get } = await start({ limits: { connections: 1 } });
    await (await get('/any')).until('x');

    const client = await get(path, { ...headers, 'Content-Length': '0' }, method);
    await client.until('\r\n\r\n');

    expect(statusOf(client)).toBe(503);
    expect(client.head).toMatch(/^retry-after: 5\r$/im);
  });

  it('receives 503 with refusal: "status"', async () => {
    const { get, finish } = await closing({ refusal: 'status' });

    const client = await get('/feed', SSE);
    await client.closed();

    expect(statusOf(client)).toBe(503);
    expect(client.head).toMatch(/^retry-after: 5\r$/im);
    await finish();
  });
});

describe.each(PLATFORMS)('%s: limits.perConnection', (platform: Platform) => {
  const start = useApps();

  beforeEach(() => {
    called = new Recorder();
  });

  it('limits the streams of pipelined requests on one connection, and of no other', async () => {
    const { connect, registry, get } = await start(platform, {
      controllers: [Feed],
      options: { limits: { perConnection: 3 } },
    });
    const client = await connect();
    client.send('GET /feed HTTP/1.1\r\nHost: test\r\n\r\n'.repeat(5));
    await called.count(3);
    await (await get('/feed')).until('data: x');

    expect(called.seen).toHaveLength(4);
    expect(registry.size).toBe(4);
    client.disconnect();
  });

  it('is 1000 by default', async () => {
    const { connect, registry, get } = await start(platform, { controllers: [Feed] });
    const client = await connect();
    client.send('GET /feed HTTP/1.1\r\nHost: test\r\n\r\n'.repeat(1_010));
    await called.count(1_000);
    await (await get('/feed')).until('data: x');

    expect(registry.size).toBe(1_001);
    client.disconnect();
  });

  it('no longer counts a stream that is over, and a 429 says when to try again', async () => {
    const { connect } = await start(platform, {
      controllers: [Feed],
      options: { limits: { perConnection: 1, retryAfter: 1_500 } },
    });
    const request = 'GET /gated HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n';
    const client = await connect();
    for (const count of range(1, 3)) {
      gate = deferred();
      client.send(request);
      await called.count(count);
      gate.resolve();
      await client.until(new RegExp(`(?:data: x.*){${count}}`, 's'));
    }
    gate = deferred();
    client.send(request.repeat(2));
    await called.count(4);
    await turns();
    gate.resolve();
    await client.until('429');

    expect(client.received).toMatch(/HTTP\/1\.1 429 Too Many Requests\r\n[\s\S]*retry-after: 2\r\n/i);
  });
});

describe('An application of Fastify', () => {
  const launch = useApps();

  it('with slow preClose hooks sends no EventSource the 503 of Fastify, but ends its connection, so that it reconnects', async () => {
    const held = deferred();
    const closing = new Recorder();
    const { get, close } = await launch('fastify', {
      controllers: [Feed],
      configure: (app) => {
        const fastify = app.getHttpAdapter().getInstance() as {
          addHook(name: string, hook: () => Promise<void>): void;
        };
        fastify.addHook('preClose', async () => {
          closing.add('preClose');
          await held.promise;
        });
      },
    });

    const closed = close();
    await closing.count(1);
    const source = await get('/feed', SSE);
    await source.closed();
    const other = await get('/any', { Connection: 'close' });
    await other.closed();

    expect(source.received).toBe('');
    expect(statusOf(other)).toBe(503);
    held.resolve();
    await closed;
  });
});

describe('HTTP/2:', () => {
  const session = useSessions();
  const start = useApps();
  const fastify = { http2: true } as const;

  beforeEach(() => {
    called = new Recorder();
  });

  it('limits.perConnection limits the streams of one session, and of no other', async () => {
    const { port, registry } = await start('fastify', {
      controllers: [Feed],
      fastify,
      options: { limits: { perConnection: 2 } },
    });
    const [one, other] = [await session(port), await session(port)];
    const [first] = [one.get('/feed'), one.get('/feed')];
    await called.count(2);

    const refused = one.get('/feed', { accept: 'text/event-stream' });
    expect(await refused.head()).toMatchObject({ ':status': 429, 'retry-after': '5' });
    await other.get('/feed').until('data: x');

    first?.stream.close();
    while (registry.size > 2) {
      await turns(1);
    }
    await one.get('/feed').until('data: x');
  });

  it('an EventSource over limits.connections receives 200 and a time after which to reconnect', async () => {
    const { port } = await start('fastify', {
      controllers: [Feed],
      fastify,
      options: { limits: { connections: 1 } },
    });
    const client = await session(port);
    await client.get('/feed').until('data: x');

    const refused = client.get('/feed', { accept: 'text/event-stream' });
    await refused.closed();

    expect(refused.status).toBe(200);
    expect(refused.complete).toBe(true);
    expect(refused.received).toMatch(SHUTDOWN);
  });
});
