import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type CallHandler,
  type CanActivate,
  ConflictException,
  Controller,
  type ExecutionContext,
  ForbiddenException,
  HttpCode,
  Injectable,
  type NestInterceptor,
  Param,
  Post,
  Scope,
  type Type,
  UseGuards,
  UseInterceptors,
} from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { interval, map, of, tap } from 'rxjs';
import {
  type Broker,
  ConnectedStream,
  event,
  Hub,
  InjectHub,
  LastEventId,
  MemoryBroker,
  Sse,
  Stream,
  type StreamCloseError,
  type StreamConnection,
  StreamingModule,
  type StreamingModuleOptions,
  type StreamOptions,
  StreamSignal,
} from '../../lib/index.js';
import { type AppSetup, PLATFORMS, type Platform, startApp } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { Reading } from '../support/reading.js';
import { type RunningApp, useApps } from '../support/running.js';
import { WebSocketClient } from '../support/websocket-client.js';

const launch = useApps();

/** What a handler and its interceptors have done, in order. */
let calls: Recorder;
/** Lets handlers that wait for it continue. */
let go: Deferred;
/** The reasons with which signals of runs were aborted. */
let aborted: Recorder;

beforeEach(() => {
  calls = new Recorder();
  go = deferred();
  aborted = new Recorder();
});

const user = new AsyncLocalStorage<string>();

/** Two chunks, then one more when `go` is resolved. */
async function* answer(signal: AbortSignal): AsyncGenerator<unknown> {
  calls.add('called');
  signal.addEventListener('abort', () => aborted.add((signal.reason as StreamCloseError).code));
  try {
    yield { n: 1 };
    yield { n: 2 };
    await Promise.race([go.promise, new Promise((resolve) => signal.addEventListener('abort', resolve))]);
    if (!signal.aborted) {
      yield { n: 3 };
    }
  } finally {
    calls.add(`over for ${user.getStore()}`);
  }
}

/** A controller with the producer at `chat/:id`, for GET and for POST. */
function chatOf(onDisconnect: StreamOptions['onDisconnect'], produce: (signal: AbortSignal) => unknown = answer): Type {
  @Controller('chat')
  class Chat {
    @Stream(':id', { onDisconnect, format: ['sse', 'ndjson'] })
    read(@StreamSignal() signal: AbortSignal) {
      return produce(signal);
    }

    @Post(':id')
    @HttpCode(200)
    @Stream({ onDisconnect, format: ['sse', 'ndjson'] })
    send(@StreamSignal() signal: AbortSignal) {
      return produce(signal);
    }
  }
  return Chat;
}

async function start(
  platform: Platform,
  controller: Type,
  setup: Omit<AppSetup, 'controllers'> = {},
): Promise<RunningApp> {
  return launch(platform, {
    ...setup,
    controllers: [controller],
    configure: async (app) => {
      (app as NestExpressApplication).use?.((_request: unknown, _response: unknown, next: () => void) =>
        user.run('ada', next),
      );
      await setup.configure?.(app);
    },
  });
}

const SSE = { Accept: 'text/event-stream' };
const NDJSON = { Accept: 'application/x-ndjson' };

function idsIn(text: string): string[] {
  return [...text.matchAll(/^id: (.*)$/gm)].map(([, id = '']) => id);
}

/** Reads a body up to a text, and disconnects. */
async function readUpTo(response: Response, text: string): Promise<string> {
  const reading = new Reading(response);
  const body = await reading.until(text);
  await reading.leave();
  return body;
}

/** Starts a run, reads its first two chunks, and disconnects. Returns where it can be joined, and the ids of the chunks. */
async function startAndLeave(app: RunningApp, method = 'POST', path = '/chat/1') {
  const response = await fetch(app.url(path), { method, headers: SSE });
  const location = response.headers.get('content-location') ?? '';
  return { location, ids: idsIn(await readUpTo(response, '{"n":2}\n\n')) };
}

describe.each(PLATFORMS)('%s: a route with onDisconnect', (platform) => {
  it('sends the chunks with ids that begin with the random id in Content-Location', async () => {
    const app = await start(platform, chatOf('detach'));
    go.resolve();

    const response = await fetch(app.url('/chat/1?tone=calm&lastEventId='), { method: 'POST', headers: SSE });
    const body = await response.text();

    expect(response.status).toBe(200);
    const [, id = ''] =
      /^\/chat\/1\?tone=calm&lastEventId=([\w-]{22})$/.exec(response.headers.get('content-location') ?? '') ?? [];
    const [first = '', second, third] = idsIn(body);
    expect(first).toMatch(new RegExp(`^${id}\\.\\w+\\.2$`));
    expect(body).toBe(`id: ${first}\ndata: {"n":1}\n\nid: ${second}\ndata: {"n":2}\n\nid: ${third}\ndata: {"n":3}\n\n`);
  });

  it.each(['GET', 'POST'])(
    'continues without its client (%s), who comes back with the last id and misses nothing',
    async (method) => {
      const app = await start(platform, chatOf('detach'));
      const { ids } = await startAndLeave(app, method);
      go.resolve();
      await calls.count(2);

      const back = await fetch(app.url('/chat/1'), { method, headers: { ...SSE, 'Last-Event-ID': ids[0] ?? '' } });
      const body = await back.text();

      expect(back.status).toBe(200);
      expect(body.replace(/^id: .*\n/gm, '')).toBe('data: {"n":2}\n\ndata: {"n":3}\n\n');
      expect(idsIn(body)[0]).toBe(ids[1]);
      expect(calls.seen).toEqual(['called', expect.stringMatching('over')]);
      expect(aborted.seen).toEqual([]);
    },
  );

  it('is joined from its start at the URL of Content-Location, in another format, while it goes on', async () => {
    const app = await start(platform, chatOf('detach'));
    const { location } = await startAndLeave(app);

    const joined = await fetch(app.url(location), { method: 'POST', headers: NDJSON });
    expect(joined.headers.get('content-location')).toBe(null);
    go.resolve();

    expect(await joined.text()).toBe('{"n":1}\n{"n":2}\n{"n":3}\n');
    expect(calls.seen.filter((each) => each === 'called')).toHaveLength(1);
  });

  it('prefers the header to the id in the URL, as an EventSource on that URL reconnects with it', async () => {
    const app = await start(platform, chatOf('detach'));
    const { location, ids } = await startAndLeave(app);
    go.resolve();

    const headers = { ...NDJSON, 'Last-Event-ID': ids[1] ?? '' };
    expect(await (await fetch(app.url(location), { method: 'POST', headers })).text()).toBe('{"n":3}\n');
  });

  it('responds with 204 to the id of no run, of a run that was read to its end, and of a run at another path or route', async () => {
    const app = await start(platform, chatOf('detach'));
    const { location, ids } = await startAndLeave(app);
    go.resolve();
    const whole = await (await fetch(app.url(location), { method: 'POST', headers: SSE })).text();
    const last = idsIn(whole).at(-1) ?? '';
    const statusOf = async (path: string, method: string, id: string) => {
      const { status, headers } = await fetch(app.url(path), { method, headers: { ...SSE, 'Last-Event-ID': id } });
      return [status, headers.get('content-location')];
    };

    expect(await statusOf('/chat/1', 'POST', 'unknown')).toEqual([204, null]);
    expect(await statusOf('/chat/1', 'POST', `${'A'.repeat(22)}.1.1`)).toEqual([204, null]);
    expect(await statusOf('/chat/1', 'POST', last)).toEqual([204, null]);
    expect(await statusOf('/chat/2', 'POST', ids[0] ?? '')).toEqual([204, null]);
    expect(await statusOf('/chat/1', 'GET', ids[0] ?? '')).toEqual([204, null]);
    expect(calls.seen.filter((each) => each === 'called')).toHaveLength(1);
  });

  it('forgets a run that is over after `keep`', async () => {
    const app = await start(platform, chatOf('detach'), { options: { runs: { keep: 1 } } });
    const { location } = await startAndLeave(app);
    go.resolve();
    await calls.count(2);
    const join = async () => (await fetch(app.url(location), { method: 'POST', headers: SSE })).status;

    while ((await join()) !== 204) {
      // It is kept for a moment.
    }

    expect(await join()).toBe(204);
  });

  it('aborts the signal when the last client has left with `cancel`, and not before', async () => {
    const app = await start(platform, chatOf('cancel'));
    const first = await fetch(app.url('/chat/1'), { headers: SSE });
    const second = await fetch(app.url(first.headers.get('content-location') ?? ''), { headers: SSE });

    await readUpTo(first, '{"n":2}\n\n');
    expect(aborted.seen).toEqual([]);
    await readUpTo(second, '{"n":2}\n\n');

    expect(await aborted.count(1)).toEqual(['client-closed']);
    expect(await calls.count(2)).toEqual(['called', expect.stringMatching('over')]);
  });

  it('aborts the signal some time after the last client has left with { detach: ms }', async () => {
    const app = await start(platform, chatOf({ detach: 30 }));
    await startAndLeave(app);

    expect(await aborted.count(1)).toEqual(['client-closed']);
  });

  it('responds with the status of an error before the first chunk, also to those who have joined', async () => {
    const app = await start(
      platform,
      chatOf('detach', async () => {
        calls.add('called');
        await go.promise;
        throw new ConflictException('taken');
      }),
    );
    const open = fetch(app.url('/chat/1'), { headers: SSE });
    await calls.count(1);
    go.resolve();
    const response = await open;
    const joined = await fetch(app.url(response.headers.get('content-location') ?? ''), { headers: SSE });

    for (const each of [response, joined]) {
      expect([each.status, await each.json()]).toEqual([409, { statusCode: 409, message: 'taken', error: 'Conflict' }]);
    }
    expect(app.logs.of('error')).toEqual([]);
  });

  it('sends the error after the first chunk to those who join later', async () => {
    const app = await start(
      platform,
      chatOf('detach', async function* () {
        yield 1;
        throw new Error('secret');
      }),
    );
    const response = await fetch(app.url('/chat/1'), { headers: SSE });
    await response.text().catch(() => undefined);
    const client = await app.get(response.headers.get('content-location') ?? '', SSE);

    expect(await client.closed()).toMatch(
      /data: 1\n\n.*event: error\ndata: {"statusCode":500,"message":"Internal server error"}\n\n/s,
    );
  });

  it('calls guards for those who join, and not the handler', async () => {
    let allowed = true;
    class Guard implements CanActivate {
      canActivate(): boolean {
        calls.add('guard');
        if (!allowed) {
          throw new ForbiddenException();
        }
        return true;
      }
    }
    @Controller()
    @UseGuards(Guard)
    class Feed {
      @Stream('feed/:n', { onDisconnect: 'detach', format: 'ndjson' })
      feed(@Param('n', { transform: (n: string) => Number(n) }) n: number) {
        calls.add('handler');
        return [n];
      }
    }
    const app = await start(platform, Feed);
    const response = await fetch(app.url('/feed/7'));
    expect(await response.text()).toBe('7\n');
    const location = app.url(response.headers.get('content-location') ?? '');

    expect(await (await fetch(location)).text()).toBe('7\n');
    allowed = false;
    expect((await fetch(location)).status).toBe(403);

    expect(calls.seen).toEqual(['guard', 'handler', 'guard', 'guard']);
  });

  it.each([
    ['a generator', () => [1, 2].values(), '"<1>"\n"<2>"\n'],
    ['a promise of a generator', async () => [1, 2].values(), '"<1>"\n"<2>"\n'],
    ['an Observable', () => of(1, 2), '"<1>"\n"<2>"\n'],
  ])('stores what an interceptor makes of %s, which it calls once', async (_what, produce, expected) => {
    const wrap = (value: unknown): unknown =>
      typeof value === 'number'
        ? `<${value}>`
        : (function* () {
            for (const each of value as Iterable<number>) {
              yield `<${each}>`;
            }
          })();
    @Injectable()
    class Wrapping implements NestInterceptor {
      intercept(_context: ExecutionContext, next: CallHandler) {
        calls.add('before');
        return next.handle().pipe(map(wrap), tap({ complete: () => calls.add('after') }));
      }
    }
    @Controller()
    @UseInterceptors(Wrapping)
    class Feed {
      @Stream('feed', { onDisconnect: 'detach', format: 'ndjson' })
      feed(): unknown {
        return produce();
      }
    }
    const app = await start(platform, Feed);
    const response = await fetch(app.url('/feed'));
    expect(await response.text()).toBe(expected);

    const joined = await fetch(app.url(response.headers.get('content-location') ?? ''));
    expect(await joined.text()).toBe(expected);

    expect(calls.seen).toEqual(['before', 'after']);
  });

  it('responds with the error of an interceptor, and unsubscribes from an Observable of interceptors when the run ends', async () => {
    @Injectable()
    class Failing implements NestInterceptor {
      intercept(context: ExecutionContext, next: CallHandler) {
        if (context.getHandler().name === 'refused') {
          throw new ConflictException('no');
        }
        return next.handle().pipe(tap({ unsubscribe: () => calls.add('unsubscribed') }));
      }
    }
    @Controller()
    @UseInterceptors(Failing)
    class Feed {
      @Stream('refused', { onDisconnect: 'cancel', format: 'ndjson' })
      refused() {
        return [1];
      }

      @Stream('endless', { onDisconnect: 'cancel', format: 'ndjson' })
      endless() {
        return interval(1);
      }
    }
    const app = await start(platform, Feed);
    expect((await fetch(app.url('/refused'))).status).toBe(409);

    await readUpTo(await fetch(app.url('/endless')), '1\n');

    expect(await calls.count(1)).toEqual(['unsubscribed']);
  });

  it('keeps the AsyncLocalStorage of the first request in the producer, also when it is stopped by another', async () => {
    const app = await start(platform, chatOf('cancel'));
    await readUpTo(await fetch(app.url('/chat/1'), { headers: SSE }), '{"n":2}');

    expect(await calls.count(2)).toEqual(['called', 'over for ada']);
  });

  it('keeps a request-scoped controller for the producer', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Count {
      value = 0;
    }
    @Controller()
    class Feed {
      constructor(private readonly count: Count) {}

      @Stream('feed', { onDisconnect: 'detach', format: 'ndjson' })
      async *feed() {
        yield ++this.count.value;
        await go.promise;
        yield ++this.count.value;
      }
    }
    Reflect.defineMetadata('design:paramtypes', [Count], Feed);
    const app = await start(platform, Feed, { providers: [Count] });
    const response = await fetch(app.url('/feed'));
    await readUpTo(response, '1\n');
    go.resolve();

    const joined = await fetch(app.url(response.headers.get('content-location') ?? ''));
    expect(await joined.text()).toBe('1\n2\n');
  });

  it('produces the events of a hub subscription', async () => {
    @Controller()
    class Feed {
      constructor(@InjectHub('prices') readonly hub: Hub) {}

      @Sse('prices', { onDisconnect: 'detach' })
      prices() {
        calls.add('called');
        return this.hub.subscribe();
      }
    }
    const app = await start(platform, Feed, { imports: [StreamingModule.registerHub({ name: 'prices' })] });
    const { hub } = app.app.get(Feed);
    const response = await fetch(app.url('/prices'), { headers: SSE });
    await calls.count(1);
    await hub.publish(1, { type: 'price' });
    const text = await readUpTo(response, '\n\n');
    await hub.publish(2);

    expect(text.replace(/^id: .*\n/gm, '')).toBe('event: price\ndata: 1\n\n');
    const joined = await fetch(app.url('/prices'), { headers: { ...SSE, 'Last-Event-ID': idsIn(text)[0] ?? '' } });
    expect((await readUpTo(joined, '\n\n')).replace(/^id: .*\n/gm, '')).toBe('data: 2\n\n');
  });

  it('treats the objects of an @Sse() method as events, and leaves out those without data', async () => {
    @Controller()
    class Feed {
      @Sse('feed', { onDisconnect: 'detach' })
      async *feed() {
        yield { type: 'a', data: 1, id: 'own', retry: 5 };
        yield { comment: 'hello' };
        yield event({ type: 'b', data: Promise.resolve({ late: true }) });
        yield { n: 2 };
      }
    }
    const app = await start(platform, Feed);

    const body = await app.text('/feed', SSE);

    expect(body.replace(/^id: .*\n/gm, '')).toBe(
      'event: a\ndata: 1\n\nevent: b\ndata: {"late":true}\n\ndata: {"n":2}\n\n',
    );
    expect(idsIn(body)).toHaveLength(3);
  });

  it('chooses the format by the first chunk, as any route without `format`', async () => {
    @Controller()
    class Feed {
      @Stream('text', { onDisconnect: 'detach' })
      text() {
        return ['a', 'b'];
      }

      @Stream('bytes', { onDisconnect: 'detach' })
      bytes() {
        return [Buffer.from([1, 2])];
      }
    }
    const app = await start(platform, Feed);
    const text = await fetch(app.url('/text'));
    const bytes = await fetch(app.url('/bytes'));

    expect([text.headers.get('content-type'), await text.text()]).toEqual(['text/plain; charset=utf-8', 'ab']);
    expect([bytes.headers.get('content-type'), new Uint8Array(await bytes.arrayBuffer())]).toEqual([
      'application/octet-stream',
      new Uint8Array([1, 2]),
    ]);
  });

  it('responds to HEAD without starting a run', async () => {
    const app = await start(platform, chatOf('detach'));

    const response = await fetch(app.url('/chat/1'), { method: 'HEAD', headers: SSE });

    expect([response.status, response.headers.get('content-type'), response.headers.get('content-location')]).toEqual([
      200,
      'text/event-stream',
      null,
    ]);
    expect(calls.seen).toEqual([]);
  });

  it('starts and joins runs over WebSocket', async () => {
    const app = await start(platform, chatOf('detach'), { options: { websocket: true } });
    const first = await WebSocketClient.open(app.url('/chat/1'), ['events.v1+json']);
    await first.messages.count(2);
    const messages = first.messages.seen.map((each) => JSON.parse(String(each)) as { id: string; data: unknown });
    first.socket.terminate();
    go.resolve();

    const second = await WebSocketClient.open(app.url(`/chat/1?lastEventId=${messages[0]?.id}`));

    expect(await second.messages.count(2)).toEqual(['{"n":2}', '{"n":3}']);
    expect((await second.closed).code).toBe(1000);
  });

  it('refuses a request for an endless number of runs with 503', async () => {
    const app = await start(platform, chatOf('detach'), { options: { runs: { limits: { running: 1 } } } });
    await startAndLeave(app);

    const refused = await fetch(app.url('/chat/1'), { headers: SSE });

    expect([refused.status, await refused.json()]).toEqual([
      503,
      { statusCode: 503, message: 'Too many runs are in progress: try again later' },
    ]);
  });
});

describe.each(PLATFORMS)('%s: an application with a wrong onDisconnect', (platform) => {
  const failure = async (controller: Type, options: StreamingModuleOptions = {}): Promise<unknown> =>
    startApp(platform, { controllers: [controller], options }).then(
      (app) => app.close(),
      (error: unknown) => error,
    );
  const feed = (options: object): Type => {
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
    ['a connection', ConnectedStream, /Feed.feed has "onDisconnect", and injects @ConnectedStream\(\)/],
    ['a Last-Event-ID', LastEventId, /Feed.feed has "onDisconnect", and injects @LastEventId\(\)/],
  ])('does not start if the method injects %s', async (_what, Inject, message) => {
    @Controller()
    class Feed {
      @Stream('feed', { onDisconnect: 'detach' })
      feed(@Inject() _value: StreamConnection | string) {
        return [1];
      }
    }
    expect(await failure(Feed)).toMatchObject({ code: 'invalid-route', message: expect.stringMatching(message) });
  });

  it.each([[{ detach: -1 }], [{ detach: 0 }], [{}], ['keep'], [true], [{ detach: 1, ms: 2 }]])(
    'does not start with onDisconnect: %j',
    async (onDisconnect) => {
      expect(await failure(feed({ onDisconnect }))).toMatchObject({
        code: 'invalid-option',
        message: expect.stringMatching(/^@Stream\(\) of Feed.feed: "onDisconnect" must be "cancel", "detach" or/),
      });
    },
  );

  it.each([
    [{ onDisconnect: 'detach' }, /"runs.onDisconnect" is an option of a route/],
    [{ limits: { perOwner: 1 } }, /"runs.limits.perOwner" has no effect/],
    [{ name: 'x' }, /"runs" has an unknown option "name"/],
    [{ keep: -1 }, /"runs.keep" must be a number of milliseconds/],
  ])('does not start with forRoot({ runs: %j })', async (runs, message) => {
    expect(await failure(feed({ onDisconnect: 'detach' }), { runs } as StreamingModuleOptions)).toMatchObject({
      code: 'invalid-option',
      message: expect.stringMatching(message),
    });
  });

  it('does not start with a broker that cannot have runs', async () => {
    const memory = new MemoryBroker();
    class Plain implements Broker {
      open = memory.open.bind(memory);
      append = memory.append.bind(memory);
      tail = memory.tail.bind(memory);
      read = memory.read.bind(memory);
      close = memory.close.bind(memory);
    }
    const broker = new Plain();

    expect(await failure(feed({ onDisconnect: 'detach' }), { broker })).toMatchObject({
      code: 'invalid-option',
      message: expect.stringMatching(/^"onDisconnect" of Feed.feed: Plain does not implement BrokerRuns/),
    });
    expect(await failure(feed({}), { broker })).toBeUndefined();
  });
});
