import { AsyncLocalStorage } from 'node:async_hooks';
import { Controller, HttpException, Injectable } from '@nestjs/common';
import { Subject } from 'rxjs';
import {
  ConnectedStream,
  Stream,
  type StreamCloseReason,
  type StreamConnection,
  type StreamHooks,
  type StreamingModuleOptions,
  UseStreamHooks,
} from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { turns, untilStable, useApps } from '../support/running.js';

const NEVER = new Promise<never>(() => undefined);
const KIB_64 = 'x'.repeat(65_536);

/** Hooks that record their calls. */
function recordingHooks(name: string, seen: Recorder): StreamHooks {
  return {
    onOpen: () => seen.add(`${name} onOpen`),
    beforeChunk(chunk) {
      seen.add(`${name} beforeChunk`);
      return chunk;
    },
    beforeClose: () => seen.add(`${name} beforeClose`),
    onError: () => seen.add(`${name} onError`),
    onClose: (_stream, { code }) => seen.add(`${name} onClose ${code}`),
  };
}

describe.each(PLATFORMS)('%s: hooks', (platform) => {
  const start = useApps();

  describe('run in order, the outermost first,', () => {
    const seen = new Recorder();
    const LEVELS = ['application', 'class 1', 'class 2', 'method', 'connection'];
    const all = (what: string) => LEVELS.map((level) => `${level} ${what}`);

    @Controller()
    @UseStreamHooks(recordingHooks('class 1', seen), recordingHooks('class 2', seen))
    class Feed {
      @UseStreamHooks(recordingHooks('method', seen))
      @Stream('good')
      good(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(recordingHooks('connection', seen));
        return ['x'];
      }

      @Stream('bad')
      @UseStreamHooks(recordingHooks('method', seen))
      async *bad(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(recordingHooks('connection', seen));
        yield 'x';
        throw new Error('broken');
      }
    }
    const options = { hooks: recordingHooks('application', seen) };

    beforeEach(() => {
      seen.seen.length = 0;
    });

    it('around a stream that ends cleanly', async () => {
      const { text } = await start(platform, { controllers: [Feed], options });

      expect(await text('/good')).toBe('x');

      expect(await seen.count(20)).toEqual([
        ...all('onOpen'),
        ...all('beforeChunk'),
        ...all('beforeClose'),
        ...all('onClose completed'),
      ]);
    });

    it('around a stream that fails', async () => {
      const { text } = await start(platform, { controllers: [Feed], options });

      await expect(text('/bad')).rejects.toThrow('terminated');

      expect(await seen.count(20)).toEqual([
        ...all('onOpen'),
        ...all('beforeChunk'),
        ...all('onError'),
        ...all('onClose error'),
      ]);
    });
  });

  describe('beforeChunk', () => {
    const CASES: [string, (chunk: unknown) => unknown, string][] = [
      ['the same chunk: it is sent', (chunk) => chunk, '1\n2\n3\n'],
      ['another chunk: that is sent', (chunk) => Number(chunk) * 10, '10\n20\n30\n'],
      ['several: all are sent, in their order', (chunk) => [chunk, 'and'], '1\n"and"\n2\n"and"\n3\n"and"\n'],
      ['an array in an array: it is one chunk', (chunk) => [[chunk]], '[1]\n[2]\n[3]\n'],
      ['an empty array: nothing is sent', (chunk) => (chunk === 2 ? [] : chunk), '1\n3\n'],
      ['nothing: the chunk is dropped', (chunk) => (chunk === 2 ? undefined : chunk), '1\n3\n'],
      ['null: it is sent', (chunk) => (chunk === 2 ? null : chunk), '1\nnull\n3\n'],
      ['a promise: the next chunk waits for it', (chunk) => turns(4 - Number(chunk)).then(() => chunk), '1\n2\n3\n'],
      ['a promise of nothing', async () => undefined, ''],
      ['a promise of several', async (chunk) => [chunk, 0], '1\n0\n2\n0\n3\n0\n'],
    ];

    it.each(CASES)('may return %s', async (_, beforeChunk, body) => {
      @Controller()
      class Feed {
        @Stream('generator', { format: 'ndjson' })
        @UseStreamHooks({ beforeChunk })
        *generator() {
          yield 1;
          yield 2;
          yield 3;
        }

        @Stream('observable', { format: 'ndjson' })
        @UseStreamHooks({ beforeChunk })
        observable() {
          const numbers = new Subject<number>();
          setImmediate(() => {
            numbers.next(1);
            numbers.next(2);
            numbers.next(3);
            numbers.complete();
          });
          return numbers;
        }

        @Stream('push', { format: 'ndjson' })
        @UseStreamHooks({ beforeChunk })
        async push(@ConnectedStream() stream: StreamConnection) {
          void stream.send(1);
          void stream.send(2);
          await stream.send(3);
          void stream.close();
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });

      expect(await text('/generator')).toBe(body);
      expect(await text('/observable')).toBe(body);
      expect(await text('/push')).toBe(body);
    });

    it('passes the chunks that it returns to the next hook, one by one', async () => {
      const seen: unknown[] = [];
      @Controller()
      class Feed {
        @Stream('feed', { format: 'ndjson' })
        @UseStreamHooks({ beforeChunk: (chunk) => [chunk, 'more'] })
        @UseStreamHooks({ beforeChunk: (chunk) => void seen.push(chunk) })
        feed() {
          return [[1, 2], 3];
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });

      await text('/feed');

      // The decorator next to the method is the inner one.
      expect(seen).toEqual([[1, 2], 'more', 3, 'more']);
    });

    it('that is slow loses neither chunks that were sent before close() nor chunks that beforeClose sends', async () => {
      @Controller()
      class Feed {
        @Stream('feed', { format: 'json' })
        @UseStreamHooks({
          beforeChunk: (chunk) => turns(2).then(() => chunk),
          beforeClose: (stream) => void stream.send('bye'),
        })
        feed(@ConnectedStream() stream: StreamConnection) {
          void stream.send(1);
          void stream.send(2);
          void stream.close();
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });

      expect(await text('/feed')).toBe('[1,2,"bye"]');
    });

    it('that resolves after the client has disconnected has no effect', async () => {
      const seen = new Recorder();
      const gate = deferred();
      @Controller()
      class Feed {
        @Stream('feed')
        @UseStreamHooks({
          async beforeChunk(chunk) {
            if (chunk === 'second') {
              seen.add('asked');
              await gate.promise;
              seen.add('answered');
            }
            return chunk;
          },
          onClose: (_, { code }) => seen.add(code),
        })
        *feed() {
          yield 'first';
          yield 'second';
          yield 'third';
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      await client.until('first');
      await seen.count(1);

      client.disconnect();
      await seen.count(2);
      gate.resolve();
      await seen.count(3);
      await turns();

      expect(seen.seen).toEqual(['asked', 'client-closed', 'answered']);
      expect(logs.of('error')).toEqual([]);
    });
  });

  it('include an async onOpen that sends first, while the chunks of the source wait', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      @UseStreamHooks({
        async onOpen(stream) {
          await turns();
          await stream.send('first ');
          await turns();
          await stream.send('second ');
        },
      })
      *feed() {
        yield 'third ';
        yield 'fourth';
      }

      @Stream('empty', { format: 'text' })
      @UseStreamHooks({
        async onOpen(stream) {
          await turns();
          await stream.send('all there is');
        },
      })
      empty() {
        return [];
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('first second third fourth');
    expect(await text('/empty')).toBe('all there is');
  });

  it('include a sync onOpen that sends first', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      @UseStreamHooks({ onOpen: (stream) => void stream.send('first ') })
      feed() {
        return ['second'];
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('first second');
  });

  it('include an onOpen that ends a stream whose source has no chunk', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      @UseStreamHooks({
        onOpen: (stream) => void stream.close(),
        onClose: (_stream, { code }) => seen.add(code),
      })
      feed() {
        return [];
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('');

    expect(await seen.count(1)).toEqual(['completed']);
  });

  it('include a beforeClose that fails before the first byte, and the response has its status, however long it takes', async () => {
    const closing = deferred();
    const go = deferred();
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      @UseStreamHooks({
        async beforeClose() {
          closing.resolve();
          await go.promise;
          throw new HttpException('too late', 418);
        },
      })
      feed() {
        return [];
      }
    }
    const { app, get } = await start(platform, { controllers: [Feed] });
    const clock = useFakeClock(app);
    const client = await get('/feed');
    await closing.promise;

    await clock.advance(5_000);
    go.resolve();

    await client.until('too late');
    expect(client.head).toContain('418');
    clock.restore();
  });

  it('include a beforeClose that sends more, and the stream ends after that', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      @UseStreamHooks({
        async beforeClose(stream) {
          await turns();
          await stream.send(' and goodbye');
        },
      })
      @UseStreamHooks({ beforeClose: (stream) => void stream.send('!') })
      feed() {
        return ['hello'];
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('hello and goodbye!');
  });

  it.each([
    ['', (chunk: unknown) => chunk],
    [', also by a promise', (chunk: unknown) => turns().then(() => chunk)],
  ])('include an onError that returns a last chunk%s, which is sent before the error record', async (_, give) => {
    const given: unknown[] = [];
    const error = new Error('broken');
    @Controller()
    class Feed {
      @Stream('feed', { format: 'ndjson' })
      @UseStreamHooks({
        onError(thrown) {
          given.push(thrown);
          return give({ last: 'words' });
        },
      })
      async *feed() {
        yield 1;
        throw error;
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });

    const client = await get('/feed');
    await client.closed();

    expect(client.body).toBe('1\n{"last":"words"}\n{"error":{"statusCode":500,"message":"Internal server error"}}\n');
    expect(client.complete).toBe(false);
    expect(given).toEqual([error]);
  });

  it('are resolved through DI if they are classes, listed as providers or not', async () => {
    const seen = new Recorder();
    @Injectable()
    class Meter {
      record(what: string) {
        seen.add(what);
      }
    }
    @Injectable()
    class Unlisted implements StreamHooks {
      constructor(private readonly meter: Meter) {}

      onClose(stream: StreamConnection, reason: StreamCloseReason) {
        this.meter.record(`unlisted ${stream.route} ${reason.code}`);
      }
    }
    @Injectable()
    class Listed implements StreamHooks {
      constructor(private readonly meter: Meter) {}

      onClose(stream: StreamConnection, reason: StreamCloseReason) {
        this.meter.record(`listed ${stream.route} ${reason.code}`);
      }
    }
    @Controller()
    @UseStreamHooks(Unlisted)
    class Feed {
      @Stream('feed')
      @UseStreamHooks(Listed)
      feed() {
        return ['x'];
      }
    }
    const { text, app } = await start(platform, { controllers: [Feed], providers: [Meter, Listed] });

    expect(await text('/feed')).toBe('x');

    expect(await seen.count(2)).toEqual(['unlisted Feed.feed completed', 'listed Feed.feed completed']);
    expect(app.get(Listed)).toBeInstanceOf(Listed);
  });

  describe('that throw', () => {
    const FAILING = ['onOpen', 'beforeChunk', 'beforeClose'] as const;
    const KINDS = ['sync', 'async'] as const;

    function throwing(name: keyof StreamHooks, kind: (typeof KINDS)[number]): StreamHooks {
      const error = new Error(`${name} threw`);
      return {
        [name]: () => {
          if (kind === 'sync') {
            throw error;
          }
          return turns(2).then(() => Promise.reject(error));
        },
      };
    }

    it.each(FAILING.flatMap((name) => KINDS.map((kind) => [kind, name] as const)))(
      'include a %s %s that fails its stream, whatever the source is, and the server continues to serve',
      async (kind, name) => {
        const seen = new Recorder();
        @Controller()
        @UseStreamHooks({
          onClose: (stream, reason) => seen.add(`${stream.route} ${reason.code} ${String(reason.error)}`),
        })
        class Feed {
          @Stream('generator', { format: 'text' })
          @UseStreamHooks(throwing(name, kind))
          *generator() {
            yield 'x';
          }

          @Stream('observable', { format: 'text' })
          @UseStreamHooks(throwing(name, kind))
          observable() {
            const subject = new Subject<string>();
            setImmediate(() => {
              subject.next('x');
              subject.complete();
            });
            return subject;
          }

          @Stream('push', { format: 'text' })
          @UseStreamHooks(throwing(name, kind))
          push(@ConnectedStream() stream: StreamConnection) {
            setImmediate(() => {
              void stream.send('x');
              void stream.close();
            });
          }

          @Stream('opened', { format: 'text' })
          @UseStreamHooks(throwing(name, kind))
          opened(@ConnectedStream() stream: StreamConnection) {
            setImmediate(() => {
              if (stream.state === 'new') {
                stream.open();
              }
              void stream.send('x');
              void stream.close();
            });
          }

          @Stream('fine')
          fine() {
            return ['fine'];
          }
        }
        const { get, text, logs, registry } = await start(platform, { controllers: [Feed] });

        const ROUTES = ['generator', 'observable', 'push', 'opened'];
        for (const [i, route] of ROUTES.entries()) {
          const client = await get(`/${route}`, { Connection: 'close' });
          await client.closed();
          // Before the head is sent, an exception filter responds.
          const late = name === 'beforeClose' || (route === 'opened' && (name === 'beforeChunk' || kind === 'async'));
          expect(client.received).toMatch(late ? /^HTTP\/1.1 200/ : /^HTTP\/1.1 500/);
          if (late) {
            expect(client.complete).toBe(false);
          }
          expect((await seen.count(i + 1)).at(-1)).toBe(`Feed.${route} error Error: ${name} threw`);
        }

        expect(await text('/fine')).toBe('fine');
        await turns();
        expect(seen.seen).toHaveLength(ROUTES.length + 1);
        expect(logs.of('error')).toHaveLength(ROUTES.length);
        expect(logs.of('error').join()).toContain(`${name} threw`);
        expect(registry.size).toBe(0);
      },
    );

    it.each(KINDS)('include a %s onError, which is logged, and the stream fails as without it', async (kind) => {
      const seen = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed', { format: 'ndjson' })
        @UseStreamHooks(throwing('onError', kind), {
          onError: () => seen.add('inner onError'),
          onClose: (_, { code, error }) => seen.add(`${code} ${String(error)}`),
        })
        async *feed() {
          yield 1;
          throw new Error('broken');
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed');
      await client.closed();

      expect(client.body).toBe('1\n{"error":{"statusCode":500,"message":"Internal server error"}}\n');
      expect(client.complete).toBe(false);
      expect(await seen.count(2)).toEqual(['inner onError', 'error Error: broken']);
      expect(logs.of('error').join()).toMatch(/broken.*onError hook threw.*onError threw/s);
    });

    it.each(KINDS)(
      'include a %s onError before the first byte, and the exception filter responds anyway',
      async (kind) => {
        @Controller()
        class Feed {
          @Stream('feed', { format: 'ndjson' })
          @UseStreamHooks(throwing('onError', kind))
          feed() {
            throw new Error('broken');
          }
        }
        const { url, logs } = await start(platform, { controllers: [Feed] });

        const response = await fetch(url('/feed'));
        await turns(4);

        expect(response.status).toBe(500);
        expect(logs.of('error').join()).toContain('onError threw');
      },
    );

    it.each(KINDS)('include a %s onClose, which is logged, and the others are called', async (kind) => {
      const seen = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed')
        @UseStreamHooks(throwing('onClose', kind), { onClose: () => seen.add('inner onClose') })
        feed() {
          return ['x'];
        }
      }
      const { text, logs } = await start(platform, { controllers: [Feed] });

      expect(await text('/feed')).toBe('x');
      expect(await seen.count(1)).toEqual(['inner onClose']);
      await turns(4);

      expect(logs.of('error').join()).toMatch(/Feed\.feed.*onClose hook threw.*onClose threw/s);
    });

    it.each(KINDS)('include a %s onShutdown, which fails the stream, and the application closes', async (kind) => {
      const seen = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed')
        @UseStreamHooks(throwing('onShutdown', kind), { onClose: (_, { code }) => seen.add(code) })
        async *feed() {
          yield 'x';
          await NEVER;
        }
      }
      const { get, close } = await start(platform, {
        controllers: [Feed],
        options: { shutdown: { grace: 10_000 } },
      });
      const client = await get('/feed');
      await client.until('x');

      await close();

      expect(await client.closed()).not.toContain('0\r\n\r\n');
      expect(seen.seen).toEqual(['error']);
    });
  });

  describe('include onClose, which is called exactly once when the stream ends with', () => {
    interface Ending {
      readonly code: string;
      readonly options?: StreamingModuleOptions;
      readonly source: () => unknown;
      readonly stalled?: boolean;
      readonly end?: (running: Awaited<ReturnType<typeof start>>, disconnect: () => void) => unknown;
    }

    async function* endless() {
      yield 'x';
      await NEVER;
    }
    function* torrent() {
      for (;;) {
        yield KIB_64;
      }
    }
    const flood = () => {
      const subject = new Subject<string>();
      const more = () => {
        for (let i = 0; i < 100; i++) {
          subject.next(KIB_64);
        }
        if (subject.observed) {
          setImmediate(more);
        }
      };
      setImmediate(more);
      return subject;
    };
    const ENDINGS: Ending[] = [
      { code: 'client-closed', source: endless, end: (_, disconnect) => disconnect() },
      { code: 'completed', source: () => ['x'] },
      {
        code: 'error',
        source: async function* () {
          yield 'x';
          throw new Error('broken');
        },
      },
      { code: 'server-closed', source: endless, end: ({ registry }) => registry.close() },
      { code: 'shutdown', source: endless, end: ({ close }) => close() },
      { code: 'slow-consumer', source: flood, stalled: true, options: { queue: { items: 10 } } },
      { code: 'send-timeout', source: torrent, stalled: true, options: { sendTimeout: 100 } },
      { code: 'deadline', source: endless, options: { maxDuration: 50 } },
    ];

    it.each(ENDINGS)('$code', async ({ code, options = {}, source, stalled, end }) => {
      const seen = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed')
        feed() {
          return source();
        }
      }
      const running = await start(platform, {
        controllers: [Feed],
        options: { shutdown: { grace: 0 }, ...options, hooks: { onClose: (_, reason) => seen.add(reason.code) } },
      });
      const client = await running.get('/feed');
      if (stalled) {
        client.socket.pause();
      } else {
        await client.until('x');
      }

      await end?.(running, () => client.disconnect());

      expect(await seen.count(1)).toEqual([code]);
      expect(running.registry.size).toBe(0);
      client.disconnect();
      await running.close();
      expect(seen.seen).toEqual([code]);
    });
  });

  describe('run in the AsyncLocalStorage context of their request', () => {
    const als = new AsyncLocalStorage<string>();
    const seen = new Recorder();
    const note = (what: string) => seen.add(`${what}: ${als.getStore()}`);
    const hooks: StreamHooks = {
      onOpen: () => note('onOpen'),
      beforeChunk(chunk) {
        note('beforeChunk');
        return chunk;
      },
      beforeClose: () => note('beforeClose'),
      onError: () => note('onError'),
      onClose: () => note('onClose'),
    };
    const configure = (app: { use(middleware: unknown): unknown }) => {
      app.use((request: { url: string }, _response: unknown, next: () => void) => als.run(request.url, next));
    };
    const wrong = () => seen.seen.filter((line) => !line.endsWith(': /feed'));

    beforeEach(() => {
      seen.seen.length = 0;
    });

    it('in every pull, hook and finally of a stream that ends', async () => {
      @Controller()
      class Feed {
        @Stream('feed')
        @UseStreamHooks(hooks)
        async *feed() {
          try {
            for (let i = 0; i < 3; i++) {
              note('pull');
              yield 'x';
              await turns(1);
            }
          } finally {
            note('finally');
          }
        }
      }
      const { text } = await start(platform, { controllers: [Feed], configure });

      await text('/feed');
      await seen.count(10);

      expect(wrong()).toEqual([]);
    });

    it('after a drain, and when the client disconnects', async () => {
      let pulls = 0;
      @Controller()
      class Feed {
        @Stream('feed')
        @UseStreamHooks(hooks)
        *feed(@ConnectedStream() stream: StreamConnection) {
          stream.signal.addEventListener('abort', () => note('aborted'));
          try {
            for (;;) {
              pulls++;
              note('pull');
              yield KIB_64;
            }
          } finally {
            note('finally');
          }
        }
      }
      const { get } = await start(platform, { controllers: [Feed], configure });
      const client = await get('/feed');
      client.socket.pause();
      const stalledAt = await untilStable(() => pulls);
      client.socket.resume();
      while (pulls < stalledAt + 10) {
        await turns(1);
      }
      client.socket.pause();
      await untilStable(() => pulls);

      client.disconnect();
      while (!seen.seen.some((line) => line.startsWith('onClose'))) {
        await turns(1);
      }

      expect(wrong()).toEqual([]);
      expect(seen.seen.slice(-3).map((line) => line.split(':')[0])).toEqual(['aborted', 'finally', 'onClose']);
    });

    it('when another request causes their call, or no request', async () => {
      @Controller()
      class Feed {
        readonly subject = new Subject<string>();

        @Stream('feed')
        @UseStreamHooks(hooks)
        feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks({ onShutdown: () => note('onShutdown') });
          return this.subject;
        }

        @Stream('trigger')
        trigger() {
          this.subject.next('x');
          return ['done'];
        }
      }
      const { get, text, close } = await start(platform, { controllers: [Feed], configure });
      const client = await get('/feed');
      while ((await text('/trigger')) === 'done' && !client.received.includes('x')) {
        await turns();
      }

      await als.run('another', close);

      expect(wrong()).toEqual([]);
      expect(seen.seen).toContain('onShutdown: /feed');
      expect(seen.seen).toContain('onClose: /feed');
    });
  });
});
