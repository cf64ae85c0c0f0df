import { AsyncLocalStorage } from 'node:async_hooks';
import { Readable } from 'node:stream';
import {
  ClassSerializerInterceptor,
  Controller,
  GoneException,
  type INestApplication,
  type NestInterceptor,
  NotFoundException,
  StreamableFile,
  UseInterceptors,
} from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import { Exclude } from 'class-transformer';
import { concat, defer, finalize, from, interval, map, mergeMap, NEVER, Observable, of, repeat, retry } from 'rxjs';
import {
  ConnectedStream,
  flush,
  getHubToken,
  type Hub,
  HubSubscription,
  InjectHub,
  LastEventId,
  Stream,
  type StreamConnection,
  type StreamHooks,
  StreamingModule,
  UseStreamHooks,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { turns, useApps } from '../support/running.js';

const FOREVER = new Promise<never>(() => undefined);

const plain: NestInterceptor = { intercept: (_, next) => next.handle() };

/** Records the close codes of streams. */
function closing(seen: Recorder): StreamHooks {
  return { onClose: (_stream, reason) => seen.add(reason.code) };
}

describe.each(PLATFORMS)('%s: an interceptor that tries again', (platform) => {
  const start = useApps();

  /** A route whose handler throws some times, and then returns a slow async generator. */
  function flaky(failures: number, tries: number) {
    const calls = new Recorder<number>();
    const seen = new Recorder();
    @Controller()
    class Feed {
      left = failures;

      @Stream('feed', { format: 'text', limits: { connections: 1 } })
      @UseInterceptors({ intercept: (_, next) => next.handle().pipe(retry(tries)) } satisfies NestInterceptor)
      @UseStreamHooks(closing(seen))
      feed() {
        calls.add(this.left);
        if (this.left > 0) {
          this.left--;
          throw new Error('not yet');
        }
        this.left = failures;
        return this.body();
      }

      private async *body() {
        for (let i = 0; i < 4; i++) {
          yield `c${i};`;
          await turns(2);
        }
      }
    }
    return { Feed, calls, seen };
  }

  it.each([
    [1, 1],
    [1, 2],
    [2, 2],
  ])('after %d failures, with retry(%d), sends the whole body, counted as one stream', async (failures, tries) => {
    const { Feed, calls, seen } = flaky(failures, tries);
    const { url, registry } = await start(platform, { controllers: [Feed] });

    for (let i = 1; i <= 2; i++) {
      const response = await fetch(url('/feed'));
      expect(response.status).toBe(200);
      expect(await response.text()).toBe('c0;c1;c2;c3;');
      await seen.count(i);
    }

    expect(calls.seen).toHaveLength(2 * (failures + 1));
    expect(seen.seen).toEqual(['completed', 'completed']);
    expect(registry.size).toBe(0);
  });

  it('without success responds with the status of the error, and no longer counts for the limit', async () => {
    const { Feed, calls, seen } = flaky(3, 1);
    const { url, registry } = await start(platform, { controllers: [Feed] });

    expect((await fetch(url('/feed'))).status).toBe(500);
    expect(calls.seen).toEqual([3, 2]);
    expect(await seen.count(1)).toEqual(['error']);
    expect(registry.size).toBe(0);

    expect(await (await fetch(url('/feed'))).text()).toBe('c0;c1;c2;c3;');
  });
});

describe.each(PLATFORMS)('%s: an interceptor that responds without the handler', (platform) => {
  const start = useApps();

  function answering(result: () => Observable<unknown>) {
    const seen = new Recorder();
    const calls = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'ndjson', limits: { connections: 1 } })
      @UseInterceptors({ intercept: result } satisfies NestInterceptor)
      @UseStreamHooks(closing(seen))
      feed() {
        calls.add('feed');
      }
    }
    return { Feed, seen, calls };
  }

  async function* endless(stopped: Deferred) {
    try {
      for (let i = 0; ; i++) {
        yield i;
        await turns(1);
      }
    } finally {
      stopped.resolve();
    }
  }

  it('with an endless generator creates a stream that is registered, counted, and ended when the application closes', async () => {
    const stopped = deferred();
    const { Feed, seen, calls } = answering(() => of(endless(stopped)));
    const { get, url, close, registry } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    await client.until('3\n');

    expect([...registry].map(({ route }) => route)).toEqual(['Feed.feed']);
    expect((await fetch(url('/feed'))).status).toBe(503);
    await close();
    await client.closed();
    await stopped.promise;

    expect(client.complete).toBe(true);
    expect(seen.seen).toEqual(['shutdown']);
    expect(calls.seen).toEqual([]);
  });

  it('with an endless generator stops the generator when the client disconnects, which no longer counts for the limit', async () => {
    const stopped = deferred();
    const { Feed, seen } = answering(() => of(endless(stopped)));
    const { get, registry } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    await client.until('3\n');

    client.disconnect();
    await seen.count(1);
    await stopped.promise;

    expect(seen.seen).toEqual(['client-closed']);
    expect(registry.size).toBe(0);
    await (await get('/feed')).until('3\n');
  });

  it.each([
    ['several values', () => of('a', 'b', 'c'), '"a"\n"b"\n"c"\n'],
    ['several arrays', () => of(['a'], ['b', 'c']), '["a"]\n["b","c"]\n'],
    ['one array', () => of(['a', 'b', 'c']), '"a"\n"b"\n"c"\n'],
    ['a Set', () => of(new Set(['a', 'b'])), '"a"\n"b"\n'],
  ])('with %s', async (_what, result, body) => {
    const { Feed, seen, calls } = answering(result);
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe(body);
    expect(await seen.count(1)).toEqual(['completed']);
    expect(calls.seen).toEqual([]);
  });

  it('with several values sends each as a chunk when it is emitted, in a stream that is registered and counted', async () => {
    const stopped = new Recorder();
    const { Feed, seen } = answering(() => interval(5).pipe(finalize(() => stopped.add('stopped'))));
    const { get, url, close, registry } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    await client.until('0\n');
    await client.until('2\n');

    expect(client.body).toMatch(/^0\n1\n2\n/);
    expect(registry.size).toBe(1);
    expect((await fetch(url('/feed'))).status).toBe(503);
    // The request that was refused.
    expect(await stopped.count(1)).toHaveLength(1);
    await close();
    await client.closed();

    expect(client.complete).toBe(true);
    expect(seen.seen).toEqual(['shutdown']);
  });
});

describe.each(PLATFORMS)('%s: an interceptor that sets an AsyncLocalStorage', (platform) => {
  const start = useApps();
  const als = new AsyncLocalStorage<string>();
  const seen = new Recorder();
  const note = (what: string) => seen.add(`${what}: ${als.getStore()}`);
  const cls: NestInterceptor = {
    intercept: (_, next) =>
      new Observable((subscriber) => als.run('request', () => next.handle().subscribe(subscriber))),
  };
  const hooks: StreamHooks = {
    onOpen: () => note('onOpen'),
    beforeChunk(chunk) {
      note('beforeChunk');
      return chunk;
    },
    beforeClose: () => note('beforeClose'),
    onClose: () => note('onClose'),
  };

  @Controller()
  @UseInterceptors(cls)
  @UseStreamHooks(hooks)
  class Feed {
    @Stream('feed')
    async *feed() {
      yield* this.noted(2);
    }

    @Stream('forever')
    async *forever() {
      yield* this.noted(Number.POSITIVE_INFINITY);
    }

    private async *noted(count: number) {
      try {
        for (let i = 0; i < count; i++) {
          note('pull');
          yield 'x';
          await turns(1);
          note('step');
        }
      } finally {
        note('finally');
      }
    }
  }

  beforeEach(() => {
    seen.seen.length = 0;
  });

  it('provides it in every pull, every hook and finally', async () => {
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('xx');
    await seen.count(10);

    const steps = ['pull', 'onOpen', 'beforeChunk', 'step', 'pull', 'beforeChunk', 'step', 'finally'];
    expect(seen.seen).toEqual([...steps, 'beforeClose', 'onClose'].map((what) => `${what}: request`));
  });

  it('provides it when the client disconnects', async () => {
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/forever');
    await client.until('x');

    client.disconnect();
    while (!seen.seen.some((line) => line.startsWith('finally')) || !seen.seen.some((line) => /^onClose/.test(line))) {
      await turns(1);
    }

    expect(seen.seen.filter((line) => !line.endsWith(': request'))).toEqual([]);
  });
});

describe.each(PLATFORMS)('%s: a response without a body', (platform) => {
  const start = useApps();

  it.each([
    ['an Observable that emits', () => interval(1)],
    ['an Observable that ends', () => of(1, 2)],
    ['an Observable that is silent', () => NEVER],
  ])('to HEAD behind an interceptor, for %s', async (_what, result) => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'ndjson', openDelay: 20 })
      @UseInterceptors(plain)
      @UseStreamHooks(closing(seen))
      feed() {
        return result();
      }
    }
    const { get, registry } = await start(platform, { controllers: [Feed] });

    const client = await get('/feed', {}, 'HEAD');
    await client.until('\r\n\r\n');
    await seen.count(1);

    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(client.head).toMatch(/^content-type: application\/x-ndjson\r\n/im);
    expect(client.received).toBe(client.head);
    expect(seen.seen).toEqual(['completed']);
    expect(registry.size).toBe(0);
  });

  it('whose status allows none is sent with the first chunk, and the generator is stopped', async () => {
    const seen = new Recorder();
    const stopped = deferred();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text', openDelay: 'first-chunk' })
      @UseStreamHooks(closing(seen))
      async *feed(@ConnectedStream() stream: StreamConnection) {
        try {
          stream.status(204);
          await turns(1);
          yield 'never sent';
          await turns(1);
          yield 'never pulled';
          await FOREVER;
        } finally {
          stopped.resolve();
        }
      }
    }
    const { get, registry } = await start(platform, { controllers: [Feed] });

    const client = await get('/feed');
    await client.until('\r\n\r\n');
    await seen.count(1);
    await stopped.promise;

    expect(client.head).toMatch(/^HTTP\/1\.1 204 No Content\r\n/);
    expect(client.received).toBe(client.head);
    expect(seen.seen).toEqual(['completed']);
    expect(registry.size).toBe(0);
  });
});

describe.each(PLATFORMS)('%s: openDelay', (platform) => {
  const start = useApps();

  it('counts from the call of the handler, however long an interceptor takes before it', async () => {
    const entered = deferred();
    const gate = deferred();
    const slow: NestInterceptor = {
      intercept: (_, next) =>
        defer(() => {
          entered.resolve();
          return gate.promise;
        }).pipe(mergeMap(() => next.handle())),
    };
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text', openDelay: 100 })
      @UseInterceptors(slow)
      async feed() {
        await turns();
        throw new NotFoundException('no such feed');
      }

      @Stream('clock', { format: 'text', openDelay: 300 })
      clock() {
        return NEVER;
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    await entered.promise;
    // Three times that delay passes before the handler is called.
    await (await get('/clock')).until('\r\n\r\n');
    expect(client.received).toBe('');

    gate.resolve();
    await client.until('no such feed');

    expect(client.head).toMatch(/^HTTP\/1\.1 404 Not Found\r\n/);
  });

  it('also applies to the Observable that an interceptor returns', async () => {
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text', openDelay: 20 })
      @UseInterceptors({ intercept: (_, next) => next.handle().pipe(map((value) => `<${value}>`)) } as NestInterceptor)
      feed() {
        return concat(
          defer(() => opened.promise),
          NEVER,
        );
      }
    }
    const opened = deferred<string>();
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    await client.until('\r\n\r\n');

    opened.resolve('late');
    await client.until('<late>');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });
});

describe.each(PLATFORMS)('%s: an interceptor whose values are promises', (platform) => {
  const start = useApps();
  const later: NestInterceptor = {
    intercept: (_, next) =>
      next.handle().pipe(
        map(async (value: unknown) => {
          await turns(1);
          return value;
        }),
      ),
  };

  it.each<[string, () => unknown]>([
    [
      'an async generator',
      async function* () {
        yield* ['a', 'b'];
      },
    ],
    [
      'a sync generator',
      function* () {
        yield* ['a', 'b'];
      },
    ],
    ['an array', () => ['a', 'b']],
    ['a promise of an array', async () => ['a', 'b']],
    ['a Readable', () => Readable.from(['a', 'b'])],
    ['an Observable', () => of('a', 'b')],
  ])('sends the values to which they resolve, around %s', async (_what, feed) => {
    const { text } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'ndjson' })],
      configure: (app) => void app.useGlobalInterceptors(later),
    });

    expect(await text('/source')).toBe('"a"\n"b"\n');
  });

  it('sends the events of a subscription to which its promise resolves', async () => {
    const { Feed, imports } = subscribing();
    const { get, app } = await start(platform, {
      imports,
      controllers: [Feed],
      configure: (app) => void app.useGlobalInterceptors(later),
    });
    const client = await get('/feed');
    await client.until('\r\n\r\n');

    await app.get<Hub>(getHubToken('feed')).publish({ a: 1 });

    await client.until('{"a":1}\n');
  });

  it.each<[string, () => unknown]>([
    ['an array', () => ['a']],
    ['an Observable', () => of('a')],
  ])('makes the stream fail when one rejects, around %s', async (_what, feed) => {
    const rejecting: NestInterceptor = {
      intercept: (_, next) => next.handle().pipe(map(() => Promise.reject(new GoneException('gone')))),
    };
    const { url } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'ndjson' })],
      configure: (app) => void app.useGlobalInterceptors(rejecting),
    });

    const response = await fetch(url('/source'));

    expect(response.status).toBe(410);
    expect(await response.json()).toMatchObject({ statusCode: 410, message: 'gone' });
  });
});

function subscribing() {
  @Controller()
  class Feed {
    constructor(@InjectHub('feed') private readonly hub: Hub) {}

    @Stream('feed', { format: 'ndjson' })
    feed(@LastEventId() after?: string) {
      return this.hub.subscribe({ after });
    }
  }
  return { Feed, imports: [StreamingModule.registerHub({ name: 'feed' })] };
}

describe.each(PLATFORMS)('%s: the ClassSerializerInterceptor of Nest', (platform) => {
  const start = useApps();

  class User {
    @Exclude()
    readonly password = 'secret';

    constructor(readonly name: string) {}
  }
  const users = () => [new User('a'), flush(), new User('b')];
  const serialize = {
    configure: (app: INestApplication) =>
      void app.useGlobalInterceptors(new ClassSerializerInterceptor(app.get(Reflector))),
  };

  it.each<[string, () => unknown]>([
    [
      'an async generator',
      async function* () {
        yield* users();
      },
    ],
    [
      'a sync generator',
      function* () {
        yield* users();
      },
    ],
    ['a Map', () => new Map(Object.entries(users())).values()],
    ['an array', users],
    ['a Set', () => new Set(users())],
    ['an Observable', () => from(users())],
    ['a Readable', () => Readable.from(users())],
  ])('serializes the chunks of %s, and not the result of flush()', async (_what, feed) => {
    const { text } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'ndjson' })],
      ...serialize,
    });

    expect(await text('/source')).toBe('{"name":"a"}\n{"name":"b"}\n');
  });

  it('does not change a subscription, which sends a reset for an unknown id', async () => {
    const { Feed, imports } = subscribing();
    const { get, app } = await start(platform, { imports, controllers: [Feed], ...serialize });
    const client = await get('/feed', { 'last-event-id': 'unknown' });
    await client.until('{"reset":{"reason":"malformed"');

    await app.get<Hub>(getHubToken('feed')).publish({ a: 1 });

    await client.until('\n{"a":1}\n');
  });

  it.each<[string, () => unknown]>([
    ['a file', () => new StreamableFile(Buffer.from('ab'), { type: 'text/csv' })],
    ['a Response', () => new Response('ab', { headers: { 'content-type': 'text/csv' } })],
  ])('does not change %s', async (_what, feed) => {
    const { url } = await start(platform, { controllers: [controllerOf(feed)], ...serialize });

    const response = await fetch(url('/source'));

    expect(response.headers.get('content-type')).toBe('text/csv');
    expect(await response.text()).toBe('ab');
  });

  it('stops a generator when the client leaves', async () => {
    const stopped = new Recorder<string>();
    const feed = async function* () {
      try {
        for (;;) {
          yield new User('a');
          await new Promise((resolve) => setImmediate(resolve));
        }
      } finally {
        stopped.add('stopped');
      }
    };
    const { get } = await start(platform, { controllers: [controllerOf(feed, { format: 'ndjson' })], ...serialize });
    const client = await get('/source');
    await client.until('{"name":"a"}');

    client.disconnect();

    expect(await stopped.count(1)).toEqual(['stopped']);
  });

  it('stops a generator whose chunk cannot be serialized, and the client receives the error', async () => {
    const stopped = new Recorder<string>();
    const unreadable = {
      get name(): string {
        throw new GoneException();
      },
    };
    const feed = async function* () {
      try {
        yield unreadable;
      } finally {
        stopped.add('stopped');
      }
    };
    const { url } = await start(platform, { controllers: [controllerOf(feed, { format: 'ndjson' })], ...serialize });

    expect((await fetch(url('/source'))).status).toBe(410);
    expect(await stopped.count(1)).toEqual(['stopped']);
  });
});

describe.each(PLATFORMS)('%s: an interceptor that wraps, replaces or repeats a result', (platform) => {
  const start = useApps();

  it('may read a subscription itself', async () => {
    const { Feed, imports } = subscribing();
    const wrap: NestInterceptor = {
      intercept: (_, next) =>
        next.handle().pipe(
          map(async function* (events: AsyncIterable<{ data: unknown }>) {
            expect(events).toBeInstanceOf(HubSubscription);
            for await (const { data } of events) {
              yield { wrapped: data };
            }
          }),
        ),
    };
    const { get, app } = await start(platform, {
      imports,
      controllers: [Feed],
      configure: (app) => void app.useGlobalInterceptors(wrap),
    });
    const client = await get('/feed');
    await client.until('\r\n\r\n');

    await app.get<Hub>(getHubToken('feed')).publish('x');

    await client.until('{"wrapped":"x"}\n');
  });

  it('may call the handler repeatedly, and then the last result is sent, as on a route of Nest, and the others are closed', async () => {
    const destroyed = new Recorder<number>();
    let calls = 0;
    const feed = (): Readable => {
      const call = ++calls;
      return new Readable({
        read() {
          this.push(`${call}`);
          this.push(null);
        },
        destroy(_error, done) {
          destroyed.add(call);
          done(null);
        },
      });
    };
    const { text } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text' })],
      configure: (app) =>
        void app.useGlobalInterceptors({ intercept: (_, next) => next.handle().pipe(repeat(2)) } as NestInterceptor),
    });

    expect(await text('/source')).toBe('2');
    expect(await destroyed.count(2)).toEqual([1, 2]);
  });
});
