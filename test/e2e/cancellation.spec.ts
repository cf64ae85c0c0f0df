import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { setTimeout } from 'node:timers/promises';
import { Body, type CanActivate, Controller, Get, Param, type PipeTransform, Post, UseGuards } from '@nestjs/common';
import { Observable } from 'rxjs';
import {
  abortable,
  ConnectedStream,
  Sse,
  Stream,
  StreamCloseError,
  type StreamConnection,
  type StreamHooks,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { type Deferred, deferred, Recorder } from '../support/events.js';
import { realProcess } from '../support/real-process.js';
import { turns, untilStable, useApps } from '../support/running.js';

const NEVER = new Promise<never>(() => undefined);
const KIB_64 = 'x'.repeat(65_536);

/** Records the calls of a route, in order. */
class CallRecorder extends Recorder {
  readonly hooks: StreamHooks = { onClose: (_stream, reason) => this.add(`onClose ${reason.code}`) };

  /** Listens to a signal. */
  on(signal: AbortSignal): void {
    signal.addEventListener('abort', () => {
      const { reason } = signal;
      this.add(`aborted ${reason instanceof StreamCloseError ? reason.code : String(reason)}`);
    });
  }
}

/** An async iterator whose chunks the test provides, and which records its calls. */
class ManualSource implements AsyncIterableIterator<unknown> {
  readonly pulls: Deferred<IteratorResult<unknown>>[] = [];

  constructor(private readonly calls: CallRecorder) {}

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    const pull = deferred<IteratorResult<unknown>>();
    this.pulls.push(pull);
    this.calls.add('pull');
    return pull.promise;
  }

  return(): Promise<IteratorResult<unknown>> {
    this.calls.add('return');
    return Promise.resolve({ done: true, value: undefined });
  }
}

/** Calls a function in the turn in which a socket of the server closes, after Node.js has notified the response. */
function atClose<T>(socket: Socket | undefined, look: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    if (!socket) {
      reject(new Error('There is no such connection'));
    }
    socket?.once('close', () => {
      try {
        resolve(look());
      } catch (error) {
        reject(error);
      }
    });
  });
}

describe.each(PLATFORMS)('%s: a client that disconnects', (platform) => {
  const start = useApps();

  describe('before the stream exists', () => {
    it.each([
      ['', ''],
      [' that injects its connection', '/connected'],
    ])('during an async guard keeps the handler%s from being called', async (_, path) => {
      const calls = new CallRecorder();
      const gate = deferred();
      class Waiting implements CanActivate {
        async canActivate() {
          calls.add('guard');
          await gate.promise;
          calls.add('passed');
          return true;
        }
      }
      @Controller()
      class Feed {
        @Stream('feed')
        @UseGuards(Waiting)
        feed() {
          calls.add('handler');
          return ['x'];
        }

        @Stream('feed/connected')
        @UseGuards(Waiting)
        connected(@ConnectedStream() _stream: StreamConnection) {
          calls.add('handler');
        }

        @Stream('other')
        other() {
          return ['fine'];
        }
      }
      const { get, sockets, text, registry } = await start(platform, {
        controllers: [Feed],
        options: { hooks: { onClose: (stream, { code }) => calls.add(`onClose ${stream.route} ${code}`) } },
      });
      const client = await get(`/feed${path}`);
      await calls.count(1);

      const gone = atClose(sockets.seen[0], () => undefined);
      client.disconnect();
      await gone;
      gate.resolve();
      await calls.count(2);
      expect(await text('/other')).toBe('fine');

      expect(calls.seen.slice(0, 2)).toEqual(['guard', 'passed']);
      expect(calls.seen.slice(2)).toEqual(['onClose Feed.other completed']);
      expect(registry.size).toBe(0);
    });

    it('during an async pipe keeps the handler from being called', async () => {
      const calls = new CallRecorder();
      const gate = deferred();
      class Waiting implements PipeTransform {
        async transform(value: string) {
          calls.add('pipe');
          await gate.promise;
          calls.add('passed');
          return value;
        }
      }
      @Controller()
      class Feed {
        @Stream('feed/:of')
        feed(@StreamSignal() _signal: AbortSignal, @Param('of', Waiting) _of: string) {
          calls.add('handler');
          return ['x'];
        }

        @Stream('plain/:of')
        plain(@Param('of', Waiting) _of: string) {
          calls.add('handler');
          return ['x'];
        }

        @Get('other')
        other() {
          return 'fine';
        }
      }
      const { get, sockets, text } = await start(platform, { controllers: [Feed] });
      const clients = [await get('/feed/a'), await get('/plain/a')];
      await calls.count(2);

      const gone = sockets.seen.map((socket) => atClose(socket, () => undefined));
      for (const client of clients) {
        client.disconnect();
      }
      await Promise.all(gone);
      gate.resolve();
      await calls.count(4);
      expect(await text('/other')).toBe('fine');

      expect(calls.seen).toEqual(['pipe', 'pipe', 'passed', 'passed']);
    });

    it('after half of a request causes no call of a handler, and the server continues to serve', async () => {
      const calls = new CallRecorder();
      @Controller()
      class Feed {
        @Post('feed')
        @Stream()
        feed(@Body() _body: unknown) {
          calls.add('handler');
          return ['fine'];
        }
      }
      const { connect, sockets, url } = await start(platform, { controllers: [Feed] });
      const halfHead = await connect();
      halfHead.send('POST /feed HTTP/1.1\r\nHost: te');
      const halfBody = await connect();
      halfBody.send(
        'POST /feed HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"a',
      );
      await sockets.count(2);
      await turns();

      const gone = sockets.seen.map((socket) => atClose(socket, () => undefined));
      halfHead.disconnect();
      halfBody.disconnect();
      await Promise.all(gone);
      await turns();

      expect(calls.seen).toEqual([]);
      const response = await fetch(url('/feed'), { method: 'POST', body: '{}' });
      expect(await response.text()).toBe('fine');
      expect(calls.seen).toEqual(['handler']);
    });
  });

  describe('is noticed in the turn in which its socket closes', () => {
    it('by the signal, the source, the hooks and the registry', async () => {
      const calls = new CallRecorder();
      const source = new ManualSource(calls);
      const streams: StreamConnection[] = [];
      @Controller()
      class Feed {
        @Stream('feed', { format: 'ndjson' })
        feed(@StreamSignal() signal: AbortSignal, @ConnectedStream() stream: StreamConnection) {
          calls.on(signal);
          streams.push(stream.hooks(calls.hooks));
          return source;
        }
      }
      const { get, sockets, registry } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      await calls.count(1);
      source.pulls[0]?.resolve({ done: false, value: 1 });
      await client.until('1\n');

      const inThatTurn = atClose(sockets.seen[0], () => ({
        state: streams[0]?.state,
        open: registry.size,
        seen: [...calls.seen],
      }));
      client.disconnect();

      expect(await inThatTurn).toEqual({
        state: 'closed',
        open: 0,
        seen: ['pull', 'pull', 'aborted client-closed', 'return', 'onClose client-closed'],
      });
      source.pulls[1]?.resolve({ done: false, value: 'too late' });
      await turns();
      expect(calls.seen).toHaveLength(5);
    });

    const SOURCES: [string, (calls: CallRecorder) => unknown][] = [
      [
        'an Observable is unsubscribed from',
        (calls) =>
          new Observable((subscriber) => {
            calls.add('started');
            subscriber.next('x');
            return () => calls.add('stopped');
          }),
      ],
      [
        'a Readable is destroyed',
        (calls) =>
          new Readable({
            objectMode: true,
            read() {
              if (!calls.seen.includes('started')) {
                calls.add('started');
                this.push('x');
              }
            },
            destroy(error, done) {
              calls.add('stopped');
              done(error);
            },
          }),
      ],
      [
        'a web stream is cancelled',
        (calls) =>
          new ReadableStream(
            {
              pull(controller) {
                if (!calls.seen.includes('started')) {
                  calls.add('started');
                  controller.enqueue('x');
                }
              },
              cancel: () => calls.add('stopped'),
            },
            { highWaterMark: 0 },
          ),
      ],
      [
        'the body of a Response is cancelled',
        (calls) =>
          new Response(
            new ReadableStream(
              {
                pull(controller) {
                  if (!calls.seen.includes('started')) {
                    calls.add('started');
                    controller.enqueue(Buffer.from('x'));
                  }
                },
                cancel: () => calls.add('stopped'),
              },
              { highWaterMark: 0 },
            ),
          ),
      ],
      [
        'an iterator of promises is returned from',
        (calls) => ({
          [Symbol.iterator]: () => ({
            next: () => {
              const first = !calls.seen.includes('started');
              if (first) {
                calls.add('started');
              }
              return { done: false, value: first ? 'x' : NEVER };
            },
            return: () => {
              calls.add('stopped');
              return { done: true, value: undefined };
            },
          }),
        }),
      ],
    ];

    it.each(SOURCES)('by %s, exactly once', async (_, make) => {
      const calls = new CallRecorder();
      @Controller()
      class Feed {
        @Stream('feed')
        feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks(calls.hooks);
          return make(calls);
        }
      }
      const { get, sockets } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      await client.until('x');

      const inThatTurn = atClose(sockets.seen[0], () => [...calls.seen]);
      client.disconnect();

      expect(await inThatTurn).toEqual(['started', 'stopped', 'onClose client-closed']);
      await turns();
      expect(calls.seen).toHaveLength(3);
    });

    it('also by a generator that waits at a yield, whose finally has run', async () => {
      const calls = new CallRecorder();
      @Controller()
      class Feed {
        @Stream('feed')
        *feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks(calls.hooks);
          try {
            for (;;) {
              yield KIB_64;
            }
          } finally {
            calls.add('finally');
          }
        }
      }
      const { get, sockets } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      client.socket.pause();
      await untilStable(() => sockets.seen[0]?.bytesWritten ?? 0);

      const inThatTurn = atClose(sockets.seen[0], () => [...calls.seen]);
      client.disconnect();

      expect(await inThatTurn).toEqual(['finally', 'onClose client-closed']);
    });
  });

  describe('while the generator', () => {
    it('is stuck in an await ends the stream without waiting for the generator, whose finally runs when the await resolves', async () => {
      const calls = new CallRecorder();
      const work = deferred();
      @Controller()
      class Feed {
        @Stream('feed')
        async *feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks(calls.hooks);
          try {
            yield 'x';
            await work.promise;
            calls.add('woke');
            yield 'y';
            calls.add('went on');
          } finally {
            calls.add('finally');
          }
        }
      }
      const { get, sockets, registry } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      await client.until('x');

      const inThatTurn = atClose(sockets.seen[0], () => ({ seen: [...calls.seen], open: registry.size }));
      client.disconnect();

      expect(await inThatTurn).toEqual({ seen: ['onClose client-closed'], open: 0 });
      work.resolve();
      expect(await calls.count(3)).toEqual(['onClose client-closed', 'woke', 'finally']);
    });

    it.each(['promise', 'iterable'] as const)(
      'waits for an abortable %s ends that wait, and the finally of the generator runs',
      async (kind) => {
        const calls = new CallRecorder();
        const source = new ManualSource(calls);
        @Controller()
        class Feed {
          @Stream('feed')
          async *feed(@StreamSignal() signal: AbortSignal) {
            try {
              yield 'x';
              if (kind === 'promise') {
                await abortable(NEVER, signal);
              } else {
                yield* abortable(source, signal);
              }
            } catch (error) {
              calls.add(`threw ${error instanceof StreamCloseError ? error.code : String(error)}`);
              throw error;
            } finally {
              calls.add('finally');
            }
          }
        }
        const { get, logs } = await start(platform, { controllers: [Feed] });
        const client = await get('/feed');
        await client.until('x');
        if (kind === 'iterable') {
          await calls.count(1);
        }

        client.disconnect();

        const expected = kind === 'promise' ? [] : ['pull', 'return'];
        expect(await calls.count(expected.length + 2)).toEqual([...expected, 'threw client-closed', 'finally']);
        await turns();
        expect(logs.of('error')).toEqual([]);
      },
    );

    it('waits for a timer of Node.js that its signal aborts logs no error', async () => {
      const calls = new CallRecorder();
      @Controller()
      class Feed {
        @Stream('feed')
        async *feed(@StreamSignal() signal: AbortSignal) {
          try {
            yield 'x';
            // The errors of Node.js are those of its own realm, which is another than that of a test in Jest.
            await setTimeout(86_400_000, undefined, { signal });
          } finally {
            calls.add('finally');
          }
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      await client.until('x');

      client.disconnect();

      await calls.count(1);
      await turns();
      expect(logs.of('error')).toEqual([]);
    });

    it('throws in its finally causes only a warning', async () => {
      const calls = new CallRecorder();
      @Controller()
      class Feed {
        @Stream('feed')
        async *feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks(calls.hooks);
          try {
            for (;;) {
              yield KIB_64;
            }
          } finally {
            calls.add('finally');
            // biome-ignore lint/correctness/noUnsafeFinally: it is what the test is about
            throw new Error('could not clean up');
          }
        }
      }
      const { get, sockets, logs, text, url } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      client.socket.pause();
      await untilStable(() => sockets.seen[0]?.bytesWritten ?? 0);

      client.disconnect();
      await calls.count(2);
      await turns();

      expect(calls.seen.sort()).toEqual(['finally', 'onClose client-closed']);
      expect(logs.of('error').join()).toMatch(/Feed\.feed.*could not clean up/s);
      expect((await fetch(url('/none'))).status).toBe(404);
      await text('/none');
    });
  });

  it('while a send waits for drain rejects the send in that turn', async () => {
    const calls = new CallRecorder();
    const streams: StreamConnection<string>[] = [];
    let sends = 0;
    @Controller()
    class Feed {
      @Stream('feed')
      feed(@ConnectedStream() stream: StreamConnection<string>) {
        streams.push(stream.hooks(calls.hooks));
        void this.push(stream);
      }

      private async push(stream: StreamConnection<string>) {
        try {
          for (;;) {
            sends++;
            await stream.send(KIB_64);
          }
        } catch (error) {
          calls.add(`rejected ${error instanceof StreamCloseError ? error.code : String(error)}`);
        }
      }
    }
    const { get, sockets } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    client.socket.pause();
    await untilStable(() => sends);

    const inThatTurn = atClose(sockets.seen[0], () => ({ state: streams[0]?.state, seen: [...calls.seen] }));
    client.disconnect();

    expect(await inThatTurn).toEqual({ state: 'closed', seen: ['onClose client-closed'] });
    expect(await calls.count(2)).toEqual(['onClose client-closed', 'rejected client-closed']);
    expect(streams[0]?.bufferedAmount).toBeLessThanOrEqual(2 * 65_536);
  });

  it('during a slow onOpen ends the stream, and beforeClose is not called', async () => {
    const calls = new CallRecorder();
    const gate = deferred();
    @Controller()
    class Feed {
      @Stream('feed')
      feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          async onOpen() {
            calls.add('onOpen');
            await gate.promise;
            calls.add('opened');
          },
          beforeClose: () => calls.add('beforeClose'),
        });
        stream.hooks(calls.hooks);
        return [];
      }
    }
    const { get } = await start(platform, { controllers: [Feed] });
    const client = await get('/feed');
    await calls.count(1);

    client.disconnect();
    await calls.count(2);
    gate.resolve();
    await calls.count(3);
    await turns();

    expect(calls.seen).toEqual(['onOpen', 'onClose client-closed', 'opened']);
  });

  it('after the body of its POST was read is noticed', async () => {
    const calls = new CallRecorder();
    @Controller()
    class Feed {
      @Post('feed')
      @Sse()
      async *feed(@Body() body: { readonly q: string }, @ConnectedStream() stream: StreamConnection) {
        stream.hooks(calls.hooks);
        await turns();
        yield { data: body.q };
        await turns();
        yield { data: 'more' };
        await NEVER;
      }
    }
    const { connect, sockets } = await start(platform, { controllers: [Feed] });
    const client = await connect();
    const body = '{"q":"hello"}';
    client.send(
      `POST /feed HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    await client.until('data: more');

    expect(client.body).toBe('data: hello\n\ndata: more\n\n');
    expect(calls.seen).toEqual([]);
    const inThatTurn = atClose(sockets.seen[0], () => [...calls.seen]);
    client.disconnect();
    expect(await inThatTurn).toEqual(['onClose client-closed']);
  });
});

describe.each(PLATFORMS)('%s: pipelined requests', (platform) => {
  const start = useApps();
  const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: test\r\n\r\n`;

  it('receive their responses in order, whatever their sources are', async () => {
    const gate = deferred();
    const calls = new CallRecorder();
    @Controller()
    class Feed {
      @Stream('slow')
      async *slow() {
        yield 'slow 1;';
        await gate.promise;
        yield 'slow 2;';
      }

      @Stream('fast/:n')
      fast(@Param('n') n: string, @ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          beforeChunk(chunk) {
            calls.add(n);
            return chunk;
          },
        });
        return [`fast ${n};`];
      }
    }
    const { connect } = await start(platform, { controllers: [Feed] });
    const client = await connect();

    client.send(request('/slow') + request('/fast/1') + request('/fast/2'));
    await calls.count(2);
    await client.until('slow 1;');
    expect(client.received).not.toContain('fast');
    gate.resolve();
    await client.until(/fast 2;/);

    expect(client.received.match(/(slow|fast) \d;/g)).toEqual(['slow 1;', 'slow 2;', 'fast 1;', 'fast 2;']);
  });

  it('are all cancelled when their client disconnects, also those whose response has not begun', async () => {
    const calls = new CallRecorder();
    @Controller()
    class Feed {
      @Stream('feed/:n')
      async *feed(@Param('n') n: string, @ConnectedStream() stream: StreamConnection) {
        stream.hooks({ onClose: (_, { code }) => calls.add(`${n} ${code}`) });
        calls.add('started');
        yield 'x';
        await NEVER;
      }
    }
    const { connect, sockets, registry } = await start(platform, { controllers: [Feed] });
    const client = await connect();
    client.send(request('/feed/1') + request('/feed/2') + request('/feed/3'));
    await calls.count(3);
    await client.until('x');

    const inThatTurn = atClose(sockets.seen[0], () => [...calls.seen].slice(3).sort());
    client.disconnect();

    const closed = ['1 client-closed', '2 client-closed', '3 client-closed'];
    await calls.count(6);
    expect(await inThatTurn).toEqual(closed);
    expect(registry.size).toBe(0);
  });

  it('may be a hundred, without a listener warning', async () => {
    const warnings = new Recorder<Error>();
    realProcess.on('warning', warnings.add);
    @Controller()
    class Feed {
      @Stream('feed/:n')
      async *feed(@Param('n') n: string) {
        yield `<${n}`;
        await turns(1);
        yield '>';
      }
    }
    const { connect } = await start(platform, { controllers: [Feed] });
    const client = await connect();

    const numbers = Array.from({ length: 100 }, (_, i) => i);
    client.send(numbers.map((n) => request(`/feed/${n}`)).join(''));
    await client.until(/<99[^<]*>/);
    await turns();
    realProcess.off('warning', warnings.add);

    expect([...client.received.matchAll(/<(\d+)/g)].map(([, n]) => Number(n))).toEqual(numbers);
    expect(warnings.seen).toEqual([]);
  });
});

describe.each(PLATFORMS)('%s: a client that sends', (platform) => {
  const start = useApps();

  @Controller()
  class Feed {
    static started = 0;
    static called = 0;

    @Stream('whole')
    async *whole() {
      yield 'one ';
      await turns(2);
      yield 'two ';
      await turns(2);
      yield 'three';
    }

    @Stream('failing')
    async *failing() {
      yield 'one ';
      await turns(2);
      throw new Error('broken');
    }

    @Stream('head')
    head() {
      Feed.called++;
      return this.body();
    }

    @Stream('closing')
    *closing(@ConnectedStream() stream: StreamConnection) {
      try {
        yield 'one ';
        yield 'two';
        void stream.close();
        yield 'never';
        yield 'never ever';
      } finally {
        Feed.started = -1;
      }
    }

    private *body() {
      Feed.started++;
      yield 'body';
    }
  }

  it('HTTP/1.0 receives the whole body, which the end of the connection delimits', async () => {
    const { connect } = await start(platform, { controllers: [Feed] });
    const client = await connect();

    client.send('GET /whole HTTP/1.0\r\n\r\n');
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(client.head).not.toMatch(/transfer-encoding|content-length/i);
    expect(client.body).toBe('one two three');
    expect(client.error).toBeUndefined();
  });

  it('HTTP/1.0 receives a reset if the stream fails', async () => {
    const { connect } = await start(platform, { controllers: [Feed] });
    const client = await connect();

    client.send('GET /failing HTTP/1.0\r\n\r\n');
    await client.closed();

    expect(client.body).toBe('one ');
    expect(client.error?.code).toBe('ECONNRESET');
  });

  it('"Connection: close" receives the whole body, chunked, and then the end of the connection', async () => {
    const { get } = await start(platform, { controllers: [Feed] });

    const client = await get('/whole', { Connection: 'close' });
    await client.closed();

    expect(client.head).toMatch(/^connection: close\r$/im);
    expect(client.frames).toEqual(['one ', 'two ', 'three']);
    expect(client.complete).toBe(true);
  });

  it('HEAD causes a call of the handler, but starts no generator, and its connection is kept alive', async () => {
    const { get } = await start(platform, { controllers: [Feed] });
    Feed.called = 0;
    Feed.started = 0;

    const client = await get('/head', { Accept: 'text/event-stream' }, 'HEAD');
    await client.until('\r\n\r\n');
    const { head } = client;
    client.send('GET /head HTTP/1.1\r\nHost: test\r\nAccept: text/event-stream\r\n\r\n');
    await client.until('body');

    expect(head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(head).toMatch(/^content-type: text\/event-stream\r$/im);
    expect(client.received.slice(head.length)).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(Feed.called).toBe(2);
    expect(Feed.started).toBe(1);
  });

  it('a request for a sync generator that closes its own stream receives a clean end, and the finally of the generator runs', async () => {
    const { get } = await start(platform, { controllers: [Feed] });

    const client = await get('/closing');
    await client.until('two');
    await turns();

    expect(client.received).not.toContain('never');
    expect(Feed.started).toBe(-1);
    client.send('GET /whole HTTP/1.1\r\nHost: test\r\n\r\n');
    await client.until('three');
  });
});
