import { Readable } from 'node:stream';
import { Controller, Get } from '@nestjs/common';
import { Observable, Subject } from 'rxjs';
import {
  ConnectedStream,
  flush,
  Sse,
  Stream,
  type StreamConnection,
  type StreamHooks,
  type StreamingModuleOptions,
} from '../../lib/index.js';
import { expectOpenStreams, streamOf, useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { realProcess } from '../support/real-process.js';
import { countWrites, turns, untilStable, useApps } from '../support/running.js';

interface FastifyInstance {
  addHook(name: 'onSend', hook: () => Promise<void>): void;
}

const NEVER = new Promise<never>(() => undefined);
const MIB = 1024 * 1024;
/** The bytes that may wait in the process for one client, in addition to one chunk. The default of Node.js is 16 KiB or 64 KiB. */
const HIGH_WATER_MARK = new Readable().readableHighWaterMark;

function closing(seen: Recorder): StreamHooks {
  return { onClose: (_stream, { code }) => seen.add(code) };
}

describe.each(PLATFORMS)('%s: a client that stops reading', (platform) => {
  const start = useApps();

  interface Counter {
    pulled: number;
    release: () => void;
  }
  const chunk = 'x'.repeat(MIB);
  const SOURCES: [string, (counter: Counter) => unknown][] = [
    [
      'a sync generator',
      function* (counter) {
        for (;;) {
          counter.pulled++;
          yield chunk;
        }
      },
    ],
    [
      'an async generator',
      async function* (counter) {
        for (;;) {
          counter.pulled++;
          yield chunk;
        }
      },
    ],
    [
      'a Readable',
      (counter) =>
        new Readable({
          read() {
            counter.pulled++;
            this.push(Buffer.alloc(MIB));
          },
        }),
    ],
    [
      'a web stream',
      (counter) =>
        new ReadableStream({
          pull(controller) {
            counter.pulled++;
            controller.enqueue(Buffer.alloc(MIB));
          },
        }),
    ],
  ];

  it.each(SOURCES)('pauses %s, which continues when the client reads again', async (_, source) => {
    const counter: Counter = { pulled: 0, release: () => undefined };
    const streams: StreamConnection[] = [];
    @Controller()
    class Feed {
      @Stream('feed', { format: 'bytes' })
      feed(@ConnectedStream() stream: StreamConnection) {
        streams.push(stream);
        return source(counter);
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    client.socket.pause();

    const stalledAt = await untilStable(() => counter.pulled, 150);

    // The buffers of the kernel grow up to tens of MiB.
    expect(stalledAt).toBeLessThan(100);
    expect(streams[0]?.bufferedAmount).toBeGreaterThan(0);
    // A Readable emits its buffered chunks at once: two chunks.
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * MIB + 2 * 65_536);
    client.socket.resume();
    while (counter.pulled < stalledAt + 5) {
      await turns(1);
    }
  });

  it('leaves at most twice the high-water mark in the process when chunks are small', async () => {
    const streams: StreamConnection[] = [];
    let pulled = 0;
    @Controller()
    class Feed {
      @Stream('feed')
      *feed(@ConnectedStream() stream: StreamConnection) {
        streams.push(stream);
        for (;;) {
          pulled++;
          yield 'x'.repeat(1_000);
        }
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    client.socket.pause();

    await untilStable(() => pulled, 150);

    expect(streams[0]?.bufferedAmount).toBeGreaterThan(0);
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * Math.max(HIGH_WATER_MARK, 16_384));
  });

  it('is disconnected after sendTimeout while only the end of the body waits for it', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { sendTimeout: 100 })
      *feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(closing(seen));
        for (let i = 0; i < 20; i++) {
          yield chunk;
        }
      }

      @Stream('failing', { sendTimeout: 100 })
      *failing(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(closing(seen));
        yield 'x'.repeat(16 * MIB);
        throw new Error('broken');
      }

      @Stream('closed', { sendTimeout: 100, queue: { bytes: 64 * MIB } })
      closed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(closing(seen));
        void stream.send('x'.repeat(16 * MIB));
        void stream.close();
      }
    }
    const { get, registry } = await start(platform, { controllers: [Feed] });
    for (const path of ['/feed', '/failing', '/closed']) {
      (await get(path)).socket.pause();
    }

    expect(await seen.count(3)).toEqual(['send-timeout', 'send-timeout', 'send-timeout']);
    expect(registry.size).toBe(0);
  });

  it('for less than sendTimeout each time is not disconnected', async () => {
    const seen = new Recorder();
    let pulled = 0;
    @Controller()
    class Feed {
      @Stream('feed', { sendTimeout: 1_500 })
      *feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(closing(seen));
        for (let i = 0; i < 4; i++) {
          pulled++;
          yield 'x'.repeat(4 * MIB);
        }
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed', { Connection: 'close' });
    let last = 0;
    // Each time a little, but more than the server writes at once.
    const sip = () => {
      if (client.received.length > last + MIB) {
        last = client.received.length;
        client.socket.pause();
        setTimeout(() => client.socket.resume(), 100);
      }
    };
    client.socket.on('data', sip);
    await client.closed();

    expect(client.complete).toBe(true);
    expect(pulled).toBe(4);
    expect(await seen.count(1)).toEqual(['completed']);
  });
});

describe.each(PLATFORMS)('%s: a stream', (platform) => {
  const start = useApps();

  it('delivers a chunk of 5 MiB whole, yielded or sent', async () => {
    const big = Array.from({ length: (5 * MIB) / 8 }, (_, i) => i.toString(16).padStart(8, '0')).join('');
    @Controller()
    class Feed {
      @Stream('yielded')
      *yielded() {
        yield big;
        yield 'end';
      }

      @Stream('sent')
      async sent(@ConnectedStream() stream: StreamConnection) {
        void (async () => {
          await stream.send(big);
          await stream.send(Buffer.from('end'));
          await stream.close();
        })();
      }

      @Stream('binary')
      *binary() {
        yield Buffer.from(big);
        yield Buffer.from('end');
      }

      @Stream('wide')
      *wide() {
        yield 'ü€'.repeat(500_000);
        yield 'end';
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    for (const path of ['/yielded', '/sent', '/binary']) {
      const body = await text(path);
      expect(body.length).toBe(big.length + 3);
      expect(body === `${big}end`).toBe(true);
    }
    expect((await text('/wide')) === `${'ü€'.repeat(500_000)}end`).toBe(true);
  });

  it('delivers 10,000 chunks in order, whatever the source, without a listener warning', async () => {
    const warnings = new Recorder<Error>();
    realProcess.on('warning', warnings.add);
    const COUNT = 10_000;
    @Controller()
    class Feed {
      @Stream('sync', { format: 'ndjson' })
      *sync() {
        for (let i = 0; i < COUNT; i++) {
          yield i;
        }
      }

      @Stream('async', { format: 'ndjson' })
      async *async() {
        yield* this.sync();
      }

      @Stream('observable', { format: 'ndjson' })
      observable() {
        return new Observable((subscriber) => {
          for (let i = 0; i < COUNT; i++) {
            subscriber.next(i);
          }
          subscriber.complete();
        });
      }

      @Stream('readable', { format: 'ndjson' })
      readable() {
        return Readable.from(this.sync());
      }

      @Stream('push', { format: 'ndjson', flush: 'each' })
      push(@ConnectedStream() stream: StreamConnection) {
        void (async () => {
          for (let i = 0; i < COUNT; i++) {
            await stream.send(i);
          }
          await stream.close();
        })();
      }

      @Stream('hooked', { format: 'ndjson', flush: 'each' })
      hooked(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ beforeChunk: async (chunk) => chunk });
        return this.sync();
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });
    const all = Array.from({ length: COUNT }, (_, i) => `${i}\n`).join('');

    for (const path of ['/sync', '/async', '/observable', '/readable', '/push', '/hooked']) {
      expect((await text(path)) === all).toBe(true);
    }
    await turns();
    realProcess.off('warning', warnings.add);
    expect(warnings.seen).toEqual([]);
  });
});

describe.each(PLATFORMS)('%s: a stream', (platform) => {
  const start = useApps();

  /** Reads a generator, which the test advances step by step. */
  async function framesOf(
    options: StreamingModuleOptions,
    source: (go: () => Promise<void>, stream: StreamConnection<string>) => unknown,
    steps: readonly string[],
  ): Promise<string[]> {
    const gates: Deferred[] = [];
    const waiting = new Recorder<Deferred>();
    const go = () => {
      const gate = deferred();
      gates.push(gate);
      waiting.add(gate);
      return gate.promise;
    };
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      feed(@ConnectedStream() stream: StreamConnection<string>) {
        return source(go, stream);
      }
    }
    const { get } = await start(platform, { controllers: [Feed], options });
    const client = await get('/feed');
    for (const [i, step] of steps.entries()) {
      await client.until(step);
      (await waiting.count(i + 1))[i]?.resolve();
    }
    await client.until('0\r\n\r\n');
    return client.frames;
  }

  it('with flush: auto sends all chunks that a generator yields without waiting in one write, and a single chunk at once', async () => {
    const frames = await framesOf(
      {},
      async function* (go) {
        yield '<1>';
        yield '<2>';
        yield '<3>';
        await go();
        yield '<4>';
        await go();
        yield '<5>';
        yield '<6>';
        await go();
        yield '<7>';
        yield '<8>';
      },
      ['<3>', '<4>', '<6>'],
    );

    expect(frames).toEqual(['<1><2><3>', '<4>', '<5><6>', '<7><8>']);
  });

  it('with flush: auto does so however long the source has waited before', async () => {
    const frames = await framesOf(
      {},
      async function* () {
        for (let i = 0; i < 20; i++) {
          await new Promise((resolve) => setTimeout(resolve, 3));
          yield '<1>';
          yield '<2>';
        }
        await turns(2);
      },
      [],
    );

    expect(frames).toEqual(Array(20).fill('<1><2>'));
  });

  it('with flush: auto sends the chunks that are pushed in one turn in one write', async () => {
    const frames = await framesOf(
      {},
      (go, stream) => {
        const push = async () => {
          void stream.send('<1>');
          void stream.send('<2>');
          await go();
          void stream.send('<3>');
          void stream.send('<4>');
          await go();
          await stream.close();
        };
        void push();
      },
      ['<2>', '<4>'],
    );

    expect(frames).toEqual(['<1><2>', '<3><4>']);
  });

  it('with flush: auto sends the values that an Observable emits at once in one write', async () => {
    const frames = await framesOf(
      {},
      (go) =>
        new Observable<string>((subscriber) => {
          const run = async () => {
            subscriber.next('<1>');
            subscriber.next('<2>');
            await go();
            subscriber.next('<3>');
            await go();
            subscriber.next('<4>');
            subscriber.complete();
          };
          void run();
        }),
      ['<2>', '<3>'],
    );

    expect(frames).toEqual(['<1><2>', '<3>', '<4>']);
  });

  it('with flush: auto gathers fast chunks up to 16 KiB, and no more', async () => {
    const frames = await framesOf(
      {},
      function* () {
        for (let i = 0; i < 500; i++) {
          yield 'x'.repeat(1_000);
        }
      },
      [],
    );

    expect(frames.join('')).toHaveLength(500_000);
    expect(Math.max(...frames.map(({ length }) => length))).toBe(17_000);
    // A busy machine may split the work into more slices.
    expect(frames.length).toBeLessThan(250);
  });

  it('with flush: each sends every chunk in a separate write', async () => {
    const frames = await framesOf(
      { flush: 'each' },
      function* () {
        yield '1';
        yield '2';
        yield '3';
      },
      [],
    );

    expect(frames).toEqual(['1', '2', '3']);
  });

  it('with flush: { bytes, ms } sends its chunks as soon as that number of bytes is gathered', async () => {
    const frames = await framesOf(
      { flush: { bytes: 4, ms: 60_000 } },
      async function* () {
        for (const chunk of ['12', '3', '45', '678', '9']) {
          yield chunk;
          await turns(2);
        }
      },
      [],
    );

    expect(frames).toEqual(['12345', '6789']);
  });

  it('with flush: { bytes, ms } sends its chunks after ms', async () => {
    const frames = await framesOf(
      { flush: { bytes: 100_000, ms: 30 } },
      async function* (go) {
        yield '<1>';
        await turns(2);
        yield '<2>';
        await go();
        yield '<3>';
        await go();
        yield '<4>';
      },
      ['<2>', '<3>'],
    );

    expect(frames.join('')).toBe('<1><2><3><4>');
    expect(frames.slice(-2)).toEqual(['<3>', '<4>']);
  });

  it('sends all waiting chunks upon yield flush() and stream.flush(), whatever its policy', async () => {
    const frames = await framesOf(
      { flush: { bytes: 100_000, ms: 60_000 } },
      async function* (go, stream) {
        yield '<1>';
        yield '<2>';
        yield flush();
        await go();
        yield '<3>';
        // When the generator continues, the stream has the chunk before.
        stream.flush();
        await go();
        yield '<4>';
        await stream.send(flush() as never);
        await go();
        yield '<5>';
        yield '<6>';
      },
      ['<2>', '<3>', '<4>'],
    );

    expect(frames).toEqual(['<1><2>', '<3>', '<4>', '<5><6>']);
  });

  it('whose source ends in its first turn sends head, chunks and end in one write', async () => {
    @Controller()
    class Feed {
      @Stream('sync')
      *sync() {
        for (let i = 0; i < 5; i++) {
          yield `${i};`;
        }
      }

      @Stream('async')
      async *async() {
        yield* this.sync();
      }

      @Stream('binary')
      *binary() {
        yield Buffer.from('0;1;2;');
        yield Buffer.from('3;4;');
      }

      @Stream('observable')
      observable() {
        return new Observable((subscriber) => {
          subscriber.next('0;1;2;');
          subscriber.next('3;4;');
          subscriber.complete();
        });
      }
    }
    const { connect, sockets } = await start(platform, { controllers: [Feed] });
    const client = await connect();
    const [socket] = await sockets.count(1);
    const writes = socket ? countWrites(socket) : () => 0;

    for (const [i, path] of ['/sync', '/async', '/binary', '/observable'].entries()) {
      client.received = '';
      client.send(`GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`);
      await client.until('4;');
      await turns();

      expect(client.body).toBe('0;1;2;3;4;');
      expect(writes()).toBe(i + 1);
    }
  });
});

describe.each(PLATFORMS)('%s: fairness', (platform) => {
  const start = useApps();

  it('endless generators that never wait block neither other requests, nor timers, nor each other', async () => {
    const pulled = [0, 0, 0, 0];
    @Controller()
    class Feed {
      @Stream('endless/0')
      *zero() {
        for (;;) {
          pulled[0] = (pulled[0] ?? 0) + 1;
          yield 'tick';
        }
      }

      @Stream('endless/1')
      async *one() {
        for (;;) {
          pulled[1] = (pulled[1] ?? 0) + 1;
          yield 'tick';
        }
      }

      // Its chunks never reach the client, so the client never pauses it.
      @Stream('endless/2')
      *two(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ beforeChunk: () => undefined });
        for (;;) {
          pulled[2] = (pulled[2] ?? 0) + 1;
          yield 'tick';
        }
      }

      // Its hook returns a promise that is resolved already, which must not count as waiting.
      @Stream('endless/3')
      *three(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ beforeChunk: async () => undefined });
        for (;;) {
          pulled[3] = (pulled[3] ?? 0) + 1;
          yield 'tick';
        }
      }

      @Get('other')
      other() {
        return 'done';
      }
    }
    const { get, text, registry } = await start(platform, { controllers: [Feed] });
    const clients = await Promise.all([0, 1, 2, 3].map((n) => get(`/endless/${n}`)));
    for (const client of clients) {
      // The received data is not kept, because it is large.
      client.socket.removeAllListeners('data').resume();
    }
    while (pulled.some((count) => count === 0)) {
      await turns(1);
    }

    expect(await text('/other')).toBe('done');
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await text('/other')).toBe('done');

    const before = [...pulled];
    while (pulled.some((count, i) => count <= (before[i] ?? 0))) {
      await turns(1);
    }
    for (const client of clients) {
      client.disconnect();
    }
    while (registry.size > 0) {
      await turns(1);
    }
  });
});

describe.each(PLATFORMS)('%s: the queue of an Observable', (platform) => {
  const start = useApps();
  const KIB = 'x'.repeat(1_000);

  /** A Subject whose client has stopped reading and whose buffers are full. */
  async function stalled(options: StreamingModuleOptions) {
    const subject = new Subject<unknown>();
    const seen = new Recorder();
    const streams: StreamConnection[] = [];
    @Controller()
    class Feed {
      @Sse('feed')
      feed(@ConnectedStream() stream: StreamConnection) {
        streams.push(stream.hooks(closing(seen)));
        return subject;
      }
    }
    const running = await start(platform, { controllers: [Feed], options: { heartbeat: false, ...options } });
    const client = await running.get('/feed');
    subject.next('first');
    while (!client.received.includes('first')) {
      await turns(1);
      if (streams.length === 1 && streams[0]?.state === 'new') {
        subject.next('first');
      }
    }
    client.socket.pause();
    return { ...running, client, subject, seen, stream: streams[0] };
  }

  it('disconnects the client when it is full, with a warning', async () => {
    const { client, subject, seen, stream, logs, sockets } = await stalled({ queue: { items: 100 } });

    let emitted = 0;
    while (subject.observed) {
      subject.next(KIB);
      emitted++;
    }

    expect(seen.seen).toEqual(['slow-consumer']);
    expect(stream?.state).toBe('closed');
    expect(emitted).toBeGreaterThan(100);
    expect(logs.of('warn').join()).toMatch(/Feed\.feed.*too slow/);
    expect(sockets.seen[0]?.destroyed).toBe(true);
    client.socket.resume();
    await client.closed();
    expect(client.complete).toBe(false);
  });

  it('is bounded by bytes too', async () => {
    const { subject, seen, stream } = await stalled({ queue: { bytes: 100_000 } });
    let most = 0;
    while (subject.observed) {
      most = Math.max(most, stream?.bufferedAmount ?? 0);
      subject.next(KIB);
    }

    expect(seen.seen).toEqual(['slow-consumer']);
    expect(most).toBeLessThanOrEqual(100_000 + 2 * 65_536);
  });

  it.each(['drop-oldest', 'drop-newest'] as const)(
    'with %s reports the exact number of dropped chunks to the client',
    async (overflow) => {
      const { client, subject, seen, stream, logs } = await stalled({ overflow, queue: { items: 50 } });
      let most = 0;
      // In one turn, so that nothing drains in between.
      for (let i = 0; i < 1_000; i++) {
        subject.next({ i, KIB });
        most = Math.max(most, stream?.bufferedAmount ?? 0);
      }
      client.socket.resume();
      await client.until('event: lagged');
      subject.next({ i: 1_000 });
      subject.complete();
      await client.until('0\r\n\r\n');

      const events = client.body.split('\n\n');
      const got = [...client.body.matchAll(/^data: \{"i":(\d+)/gm)].map(([, i]) => Number(i));
      const [, dropped] = /event: lagged\ndata: \{"dropped":(\d+)\}/.exec(client.body) ?? [];
      expect(got.length + Number(dropped)).toBe(1_001);
      expect(Number(dropped)).toBeGreaterThan(800);
      expect(got).toEqual([...got].sort((a, b) => a - b));
      expect(got.at(-1)).toBe(1_000);
      expect(got.includes(999)).toBe(overflow === 'drop-oldest');
      expect(events.filter((event) => event.startsWith('event: lagged'))).toHaveLength(1);
      expect(most).toBeLessThan(200_000);
      expect(logs.of('warn').join()).toContain(`${dropped} chunks were dropped`);
      expect(await seen.count(1)).toEqual(['completed']);
    },
  );

  it.each(['drop-oldest', 'drop-newest'] as const)(
    'with %s reports that number also if the source ends before the client reads again',
    async (overflow) => {
      const { client, subject } = await stalled({ overflow, queue: { items: 50 } });
      for (let i = 0; i < 1_000; i++) {
        subject.next({ i, KIB });
      }
      subject.complete();
      client.socket.resume();
      await client.until('0\r\n\r\n');

      const got = [...client.body.matchAll(/^data: \{"i":(\d+)/gm)];
      const [, dropped] = /event: lagged\ndata: \{"dropped":(\d+)\}/.exec(client.body) ?? [];
      expect(got.length + Number(dropped)).toBe(1_000);
    },
  );

  it.each(['drop-oldest', 'drop-newest'] as const)(
    'with %s is bounded also if a slow hook follows',
    async (overflow) => {
      const subject = new Subject<number>();
      const gate = deferred();
      const seen = new Recorder<unknown>();
      @Controller()
      class Feed {
        @Stream('feed', { format: 'ndjson', overflow, queue: { items: 50 } })
        feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks({
            async beforeChunk(chunk) {
              seen.add(chunk);
              await gate.promise;
              return chunk;
            },
          });
          return subject;
        }
      }
      const { get } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      while (!subject.observed) {
        await turns(1);
      }

      for (let i = 0; i < 1_000; i++) {
        subject.next(i);
      }
      subject.complete();
      gate.resolve();
      await client.until('dropped');

      const [, dropped] = /\{"lagged":\{"dropped":(\d+)\}\}/.exec(client.body) ?? [];
      expect(seen.seen).toHaveLength(50);
      expect(seen.seen.length + Number(dropped)).toBe(1_000);
    },
  );

  it('with drop-oldest leaves a valid JSON array, whatever was dropped', async () => {
    @Controller()
    class Feed {
      @Stream('feed', { format: 'json', overflow: 'drop-oldest', queue: { items: 5 } })
      feed() {
        return new Observable((subscriber) => {
          for (let i = 0; i < 20; i++) {
            subscriber.next(i);
          }
          subscriber.complete();
        });
      }
    }
    const { text } = await start(platform, {
      controllers: [Feed],
      configure(app) {
        if (platform === 'fastify') {
          // The head waits for the hook, so the first chunk is queued already.
          const fastify = app.getHttpAdapter().getInstance() as FastifyInstance;
          fastify.addHook('onSend', async () => {
            await turns();
          });
        }
      },
    });

    const chunks: unknown = JSON.parse(await text('/feed'));

    // No chunk is dropped if none has to wait.
    expect(chunks).toEqual(platform === 'fastify' ? [0, 16, 17, 18, 19] : Array.from({ length: 20 }, (_, i) => i));
  });

  it('also bounds the chunks of send() that are not awaited', async () => {
    const seen = new Recorder();
    const rejected = new Recorder<unknown>();
    @Controller()
    class Feed {
      @Sse('feed', { queue: { items: 10 } })
      feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks(closing(seen));
        setImmediate(() => {
          while (stream.state !== 'closed') {
            stream.send(KIB).catch(rejected.add);
          }
        });
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');

    expect(await seen.count(1)).toEqual(['slow-consumer']);
    expect((await rejected.count(1))[0]).toMatchObject({ code: 'slow-consumer' });
    await client.closed();
  });
});

describe.each(PLATFORMS)('%s: as time passes,', (platform) => {
  const start = useApps();
  const silence = async function* () {
    await NEVER;
    yield 'never';
  };

  it.each([
    ['sse', 'text/event-stream', ':\n\n:\n\n'],
    ['ndjson', 'application/x-ndjson', '\n\n'],
    ['json-seq', 'application/json-seq', '\x1e\x1e'],
    ['json', 'application/json', '\n\n'],
  ])('a silent stream of %s receives heartbeats, and one of text none', async (_, accept, beats) => {
    @Controller()
    class Feed {
      @Stream('feed')
      feed() {
        return silence();
      }
    }
    const { get } = await start(platform, { controllers: [Feed], options: { heartbeat: 30, openDelay: 10 } });
    const text = await get('/feed', { Accept: 'text/plain' });
    const bytes = await get('/feed', { Accept: 'application/octet-stream' });
    await text.until('\r\n\r\n');
    await bytes.until('\r\n\r\n');
    const client = await get('/feed', { Accept: accept });
    while (client.body.length < beats.length) {
      await turns(1);
    }

    expect(client.body.startsWith(beats)).toBe(true);
    expect([text.body, bytes.body]).toEqual(['', '']);
  });

  it('heartbeats are sent only in silence, and not between chunks that are flushed later', async () => {
    const chunks = new Subject<string>();
    @Controller()
    class Feed {
      @Sse('talking')
      talking() {
        return chunks;
      }

      @Sse('silent')
      silent() {
        return silence();
      }
    }
    const { app } = await start(platform, { controllers: [Feed], options: { heartbeat: 600, openDelay: 0 } });
    const clock = useFakeClock(app);
    const silent = await streamOf(app, '/silent', { all: true });
    const talking = await streamOf(app, '/talking', { all: true });
    for (let i = 0; i < 4; i++) {
      chunks.next('x');
      await clock.advance(599);
    }
    chunks.complete();

    expect(await talking.rest()).toEqual(Array(4).fill({ data: 'x' }));
    expect(await silent.collect(3)).toEqual(Array(3).fill({ comment: '' }));
  });

  it('heartbeats can be turned off', async () => {
    @Controller()
    class Feed {
      @Sse('on', { heartbeat: 20 })
      on() {
        return silence();
      }

      @Sse('off', { heartbeat: false, maxDuration: 100 })
      off() {
        return silence();
      }
    }
    const { app } = await start(platform, { controllers: [Feed], options: { openDelay: 0 } });
    const clock = useFakeClock(app);
    const off = await streamOf(app, '/off', { all: true });
    const on = await streamOf(app, '/on', { all: true });
    await clock.advance(100);

    expect(await on.collect(5)).toEqual(Array(5).fill({ comment: '' }));
    expect(await off.rest()).toEqual([]);
  });

  it('the head of a silent stream is sent after openDelay, and its body later', async () => {
    const gate = deferred();
    @Controller()
    class Feed {
      @Sse('feed')
      async *feed() {
        await gate.promise;
        yield 'x';
      }
    }
    const { app, get } = await start(platform, { controllers: [Feed], options: { openDelay: 20 } });
    const clock = useFakeClock(app);

    const client = await get('/feed');
    await expectOpenStreams(app, 1);
    await clock.advance(19);
    expect(client.received).toBe('');
    await clock.advance(1);
    await client.until('\r\n\r\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(client.body).toBe('');
    gate.resolve();
    await client.until('data: x');
  });

  it('an error within openDelay has its own status, and with openDelay: first-chunk at any time', async () => {
    const waited = new Recorder();
    @Controller()
    class Feed {
      // biome-ignore lint/correctness/useYield: it never gets that far
      @Sse('early')
      async *early() {
        await turns(3);
        throw new Error('broken');
      }

      // biome-ignore lint/correctness/useYield: it never gets that far
      @Sse('late', { openDelay: 'first-chunk' })
      async *late() {
        await waited.count(1);
        throw new Error('broken');
      }

      @Sse('opened', { openDelay: 20 })
      async *opened() {
        yield* silence();
      }
    }
    const { get, url } = await start(platform, { controllers: [Feed] });

    expect((await fetch(url('/early'))).status).toBe(500);
    const late = await get('/late', { Connection: 'close' });
    const opened = await get('/opened');
    await opened.until('\r\n\r\n');
    waited.add('another stream has opened by its delay meanwhile');
    await late.closed();
    expect(late.head).toMatch(/^HTTP\/1\.1 500 /);
  });

  it('a stream whose format depends on its first chunk waits for that chunk longer than openDelay', async () => {
    const gate = deferred();
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed() {
        await gate.promise;
        yield 'text';
      }

      @Sse('opened')
      opened() {
        return silence();
      }
    }
    const { get } = await start(platform, { controllers: [Feed], options: { openDelay: 20 } });
    const client = await get('/feed');
    const opened = await get('/opened');
    await opened.until('\r\n\r\n');

    expect(client.received).toBe('');
    gate.resolve();
    await client.until('text');
    expect(client.head).toMatch(/^content-type: text\/plain; charset=utf-8\r$/im);
  });

  it('stream.open() sends the head at once', async () => {
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text', openDelay: 'first-chunk' })
      feed(@ConnectedStream() stream: StreamConnection) {
        stream.status(202).header('X-Tail', 'on').open();
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });

    const client = await get('/feed');
    await client.until('\r\n\r\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 202 /);
    expect(client.head).toMatch(/^x-tail: on\r$/im);
  });

  it('maxDuration ends a stream cleanly', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', { maxDuration: 10_000, format: 'json' })
      async *feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ ...closing(seen), beforeClose: () => stream.send('bye').then(() => undefined) });
        try {
          yield 'x';
          await NEVER;
        } finally {
          seen.add('finally');
        }
      }
    }
    const { app, get } = await start(platform, { controllers: [Feed] });
    const clock = useFakeClock(app);

    const client = await get('/feed');
    await client.until('"x"');
    await clock.advance(9_999);
    expect(seen.seen).toEqual([]);
    await clock.advance(1);
    await client.until('0\r\n\r\n');

    expect(client.body).toBe('["x","bye"]');
    expect(await seen.count(1)).toEqual(['deadline']);
  });
});

describe.each(PLATFORMS)('%s: limits', (platform) => {
  const start = useApps();

  function feed() {
    const called = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed() {
        called.add('feed');
        yield 'x';
        await NEVER;
      }

      @Stream('other', { limits: { connections: 1, retryAfter: 60_000 } })
      async *other() {
        called.add('other');
        yield 'x';
        await NEVER;
      }

      @Get('plain')
      plain() {
        return 'fine';
      }
    }
    return { Feed, called };
  }

  it('refuse one stream more than limits.connections with 503 and Retry-After, before its handler is called', async () => {
    const { Feed, called } = feed();
    const { get, url, text, registry } = await start(platform, {
      controllers: [Feed],
      options: { limits: { connections: 2 } },
    });
    const first = await get('/feed');
    await first.until('x');
    await (await get('/feed')).until('x');

    const refused = await fetch(url('/feed'));

    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await refused.json()).toMatchObject({ message: expect.stringContaining('2') });
    expect(called.seen).toEqual(['feed', 'feed']);
    expect(await text('/plain')).toBe('fine');
    expect(registry.size).toBe(2);
  });

  it('of a route apply in addition to limits.connections of the application', async () => {
    const { Feed, called } = feed();
    const { get, url } = await start(platform, { controllers: [Feed], options: { limits: { connections: 2 } } });
    await (await get('/other')).until('x');

    const refused = await fetch(url('/other'));
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('60');
    // The refused request was not counted.
    await (await get('/feed')).until('x');
    expect((await fetch(url('/feed'))).status).toBe(503);
    expect(called.seen).toEqual(['other', 'feed']);
  });
});
