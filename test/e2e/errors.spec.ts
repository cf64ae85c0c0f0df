import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { BadRequestException, Controller, HttpException, NotFoundException } from '@nestjs/common';
import { Subject, throwError } from 'rxjs';
import {
  ConnectedStream,
  formatSse,
  Sse,
  Stream,
  type StreamConnection,
  StreamError,
  StreamStateError,
  UseStreamHooks,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { turns, untilStable, useApps } from '../support/running.js';

const run = promisify(execFile);

// Jest fails a test in which an exception is uncaught or a rejection unhandled.
describe.each(PLATFORMS)('%s: an error', (platform) => {
  const start = useApps();

  describe('before the first byte is answered with its status, if it is thrown', () => {
    const gone = () => new NotFoundException('no such feed');
    const CASES: [string, (stream: StreamConnection) => unknown][] = [
      [
        'by the handler',
        () => {
          throw gone();
        },
      ],
      ['by an async handler', async () => Promise.reject(gone())],
      [
        'by a sync generator',
        // biome-ignore lint/correctness/useYield: it never gets that far
        function* () {
          throw gone();
        },
      ],
      [
        'by an async generator, after a wait',
        // biome-ignore lint/correctness/useYield: it never gets that far
        async function* () {
          await turns();
          throw gone();
        },
      ],
      ['by an Observable', () => throwError(gone)],
      [
        'by an Observable, after a wait',
        () => {
          const subject = new Subject();
          setImmediate(() => subject.error(gone()));
          return subject;
        },
      ],
      [
        'by a web stream',
        () =>
          new ReadableStream({
            async pull() {
              await turns();
              throw gone();
            },
          }),
      ],
      [
        'by a handler that has set another status',
        (stream) => {
          stream.status(200).header('X-Was', 'set');
          throw gone();
        },
      ],
    ];

    it.each(CASES)('%s', async (_, handler) => {
      @Controller()
      class Feed {
        @Stream('feed')
        feed(@ConnectedStream() stream: StreamConnection) {
          return handler(stream);
        }
      }
      const { url, registry, logs } = await start(platform, { controllers: [Feed] });

      const response = await fetch(url('/feed'));

      expect(response.status).toBe(404);
      expect(await response.json()).toEqual({ message: 'no such feed', error: 'Not Found', statusCode: 404 });
      expect(registry.size).toBe(0);
      expect(logs.of('error')).toEqual([]);
    });

    it('after a wait, by send() of a value that cannot be serialized', async () => {
      @Controller()
      class Feed {
        @Stream('feed', { format: 'ndjson' })
        feed(@ConnectedStream() stream: StreamConnection) {
          setImmediate(() => void stream.send(1n));
        }
      }
      const { url, logs } = await start(platform, { controllers: [Feed] });

      const response = await fetch(url('/feed'));

      expect(response.status).toBe(500);
      expect(await response.json()).toEqual({ statusCode: 500, message: 'Internal server error' });
      expect(logs.of('error').join()).toContain('Feed.feed');
    });
  });

  describe('after the first byte', () => {
    const httpError = (expose: boolean) =>
      Object.assign(new Error('the secret'), { status: 418, statusCode: 418, expose });
    const ERRORS: [string, () => unknown, { statusCode: number; message: unknown }][] = [
      ['an Error', () => new Error('the secret'), { statusCode: 500, message: 'Internal server error' }],
      ['a string', () => 'the secret', { statusCode: 500, message: 'Internal server error' }],
      ['nothing', () => undefined, { statusCode: 500, message: 'Internal server error' }],
      ['an HttpException', () => new HttpException('said so', 402), { statusCode: 402, message: 'said so' }],
      [
        'an HttpException with details',
        () => new BadRequestException(['a is wrong', 'b is wrong']),
        { statusCode: 400, message: ['a is wrong', 'b is wrong'], error: 'Bad Request' } as never,
      ],
      ['an error of http-errors', () => httpError(true), { statusCode: 418, message: 'the secret' }],
      ['an error of http-errors that hides', () => httpError(false), { statusCode: 418, message: "I'm a Teapot" }],
    ];

    it.each(ERRORS)(
      '%s is logged with its route, and its record has no more details than the exception filter of Nest sends',
      async (_, error, described) => {
        const ids: string[] = [];
        @Controller()
        class Feed {
          @Stream('feed')
          async *feed(@ConnectedStream() stream: StreamConnection) {
            ids.push(stream.id);
            yield 1;
            throw error();
          }
        }
        const { get, logs } = await start(platform, { controllers: [Feed] });

        const client = await get('/feed', { Accept: 'application/x-ndjson' });
        await client.closed();

        expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
        expect(client.body).toBe(`1\n${JSON.stringify({ error: described })}\n`);
        expect(client.complete).toBe(false);
        expect(logs.of('error')).toHaveLength(1);
        expect(logs.of('error')[0]).toContain(`Feed.feed (stream ${ids[0]})`);
        expect(client.received.includes('the secret')).toBe(String(described.message) === 'the secret');
      },
    );

    const BODIES: [string, string, string][] = [
      ['sse', 'text/event-stream', 'data: 1\n\nevent: error\ndata: {"statusCode":402,"message":"said so"}\n\n'],
      ['ndjson', 'application/x-ndjson', '1\n{"error":{"statusCode":402,"message":"said so"}}\n'],
      ['jsonl', 'application/jsonl', '1\n{"error":{"statusCode":402,"message":"said so"}}\n'],
      ['json-seq', 'application/json-seq', '\x1e1\n\x1e{"error":{"statusCode":402,"message":"said so"}}\n'],
      ['json', 'application/json', '[1'],
      ['text', 'text/plain', '1'],
      ['bytes', 'application/octet-stream', '1'],
    ];

    it.each(BODIES)('%s sends the record of the format before the truncation', async (_, accept, body) => {
      @Controller()
      class Feed {
        @Stream('feed')
        async *feed() {
          yield 1;
          await turns();
          throw new HttpException('said so', 402);
        }
      }
      const { get } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed', { Accept: accept });
      await client.closed();

      expect(client.body).toBe(body);
      expect(client.complete).toBe(false);
    });

    it.each(['HTTP/1.1', 'HTTP/1.0'])(
      '%s delays the truncation so that clients can read the record',
      async (version) => {
        const { jest } = import.meta;
        const goOn = deferred();
        @Controller()
        class Feed {
          @Sse('feed')
          async *feed() {
            yield 1;
            await goOn.promise;
            throw new HttpException('said so', 402);
          }
        }
        const { connect } = await start(platform, { controllers: [Feed] });
        const client = await connect();
        client.send(`GET /feed ${version}\r\nHost: test\r\n\r\n`);
        await client.until('data: 1\n\n');

        const timers = jest.spyOn(globalThis, 'setTimeout').mockReturnValue({} as NodeJS.Timeout);
        try {
          goOn.resolve();
          await client.until('"said so"}\n\n');
          await turns();

          expect(client.socket.readableEnded).toBe(false);
          const truncations = timers.mock.calls.filter(([, ms]) => ms === 100);
          expect(truncations).toHaveLength(1);
          truncations[0]?.[0]();
          await client.closed();
        } finally {
          timers.mockRestore();
        }
      },
    );

    it('is an event whose type can be configured for the application and for a route', async () => {
      @Controller()
      class Feed {
        @Sse('application')
        *application() {
          yield 'x';
          throw new Error('broken');
        }

        @Sse('route', { errorEvent: 'failed' })
        *route() {
          yield 'x';
          throw new Error('broken');
        }
      }
      const { get } = await start(platform, { controllers: [Feed], options: { errorEvent: 'oops' } });

      const clients = [await get('/application'), await get('/route')];
      await Promise.all(clients.map((client) => client.closed()));

      expect(clients.map(({ body }) => body)).toEqual([
        'data: x\n\nevent: oops\ndata: {"statusCode":500,"message":"Internal server error"}\n\n',
        'data: x\n\nevent: failed\ndata: {"statusCode":500,"message":"Internal server error"}\n\n',
      ]);
    });

    it('makes clients fail: fetch rejects, curl exits with 18', async () => {
      @Controller()
      class Feed {
        @Stream('feed')
        *feed() {
          yield 'half ';
          throw new Error('broken');
        }
      }
      const { text, url } = await start(platform, { controllers: [Feed] });

      await expect(text('/feed')).rejects.toThrow('terminated');
      await expect(run('curl', ['-sN', url('/feed')])).rejects.toMatchObject({ code: 18, stdout: 'half ' });
    });

    it('does not prevent the sending of chunks that were yielded before it in the same turn', async () => {
      @Controller()
      class Feed {
        @Stream('feed', { format: 'ndjson' })
        *feed() {
          for (let i = 0; i < 5_000; i++) {
            yield i;
          }
          throw new Error('broken');
        }
      }
      const { get } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed');
      await client.closed();

      const lines = client.body.trimEnd().split('\n');
      expect(lines).toHaveLength(5_001);
      expect(lines[4_999]).toBe('4999');
      expect(lines[5_000]).toContain('error');
      expect(client.complete).toBe(false);
    });

    it('stops the source of its stream, and affects neither the server nor other streams', async () => {
      const seen = new Recorder();
      const next = deferred();
      @Controller()
      class Feed {
        @Stream('failing')
        @UseStreamHooks({
          beforeChunk(chunk) {
            if (chunk === 'bad') {
              throw new Error('a bad chunk');
            }
            return chunk;
          },
        })
        *failing() {
          try {
            yield 'good';
            yield 'bad';
            yield 'never';
          } finally {
            seen.add('finally');
          }
        }

        @Stream('other')
        async *other() {
          yield 'one ';
          await next.promise;
          yield 'two';
        }
      }
      const { get, text } = await start(platform, { controllers: [Feed] });
      const other = await get('/other');
      await other.until('one');

      await expect(text('/failing')).rejects.toThrow('terminated');
      expect(seen.seen).toEqual(['finally']);
      next.resolve();
      await other.until('0\r\n\r\n');

      expect(other.body).toBe('one two');
    });
  });

  describe('of a value that cannot be serialized', () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const VALUES: [string, unknown][] = [
      ['a BigInt', 1n],
      ['a BigInt inside', { n: 1n }],
      ['a cycle', cycle],
      ['undefined', undefined],
      ['a function', () => 1],
      ['a symbol', Symbol('x')],
      [
        'a toJSON that throws',
        {
          toJSON() {
            throw new Error('not me');
          },
        },
      ],
    ];
    const FORMATS = ['ndjson', 'sse', 'json', 'json-seq'] as const;

    it.each(VALUES)(
      '%s as the first chunk results in a status of 500, and the log names the route',
      async (_, value) => {
        @Controller()
        class Feed {
          @Stream('feed', { format: ['ndjson', 'sse', 'json', 'json-seq'] })
          feed() {
            return [value];
          }
        }
        const { url, logs } = await start(platform, { controllers: [Feed] });

        for (const format of FORMATS) {
          const accept = format === 'sse' ? 'text/event-stream' : `application/${format}`.replace('ndjson', 'x-ndjson');
          logs.lines.length = 0;
          const response = await fetch(url('/feed'), { headers: { accept } });

          expect(response.status).toBe(500);
          expect(await response.json()).toEqual({ statusCode: 500, message: 'Internal server error' });
          expect(logs.of('error').join()).toContain(`Feed.feed: a chunk cannot be sent as ${format}`);
        }
      },
    );

    it.each(VALUES)('%s later truncates the body, and the log names the route', async (_, value) => {
      @Controller()
      class Feed {
        @Stream('feed', { format: 'json' })
        feed() {
          return [1, value, 2];
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed');
      await client.closed();

      expect(client.body).toBe('[1');
      expect(client.complete).toBe(false);
      expect(logs.of('error').join()).toContain('Feed.feed: a chunk cannot be sent as json');
    });
  });

  describe('of a call in the wrong state', () => {
    it('is thrown by status(), header() and open() after the stream has opened', async () => {
      const seen = new Recorder<unknown>();
      @Controller()
      class Feed {
        @Stream('feed', { format: 'text' })
        async *feed(@ConnectedStream() stream: StreamConnection) {
          stream.status(201).header('X-Early', 'yes');
          yield 'x';
          for (const late of [() => stream.status(202), () => stream.header('X-Late', 'yes'), () => stream.open()]) {
            try {
              late();
            } catch (error) {
              seen.add(error);
            }
          }
          yield 'y';
        }
      }
      const { url } = await start(platform, { controllers: [Feed] });

      const response = await fetch(url('/feed'));

      expect(response.status).toBe(201);
      expect(response.headers.get('x-early')).toBe('yes');
      expect(response.headers.get('x-late')).toBeNull();
      expect(await response.text()).toBe('xy');
      expect(seen.seen).toHaveLength(3);
      for (const error of seen.seen) {
        expect(error).toBeInstanceOf(StreamStateError);
        expect(error).toBeInstanceOf(StreamError);
        expect(error).toMatchObject({ code: 'invalid-state', message: expect.stringContaining('this one is open') });
      }
    });

    it('makes the stream fail if it is not caught', async () => {
      @Controller()
      class Feed {
        @Stream('feed')
        async *feed(@ConnectedStream() stream: StreamConnection) {
          yield 'x';
          stream.header('X-Late', 'yes');
          yield 'y';
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed');
      await client.closed();

      expect(client.body).toBe('x');
      expect(client.complete).toBe(false);
      expect(logs.of('error').join()).toContain('StreamStateError');
    });

    it('is thrown by hooks() after the stream has begun to end', async () => {
      const seen = new Recorder<unknown>();
      @Controller()
      class Feed {
        @Stream('feed')
        feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks({
            onClose() {
              try {
                stream.hooks({});
              } catch (error) {
                seen.add(error);
              }
            },
          });
          return ['x'];
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });

      await text('/feed');

      expect((await seen.count(1))[0]).toBeInstanceOf(StreamStateError);
    });

    it('rejects a send() after the end without an unhandled rejection', async () => {
      const streams: StreamConnection[] = [];
      const closed = deferred();
      @Controller()
      class Feed {
        @Stream('feed')
        feed(@ConnectedStream() stream: StreamConnection) {
          streams.push(stream.hooks({ onClose: () => closed.resolve() }));
          return ['x'];
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });
      await text('/feed');
      await closed.promise;

      void streams[0]?.send('nobody looks');
      const error: unknown = await streams[0]?.send('late').catch((reason: unknown) => reason);
      await turns();

      expect(error).toBeInstanceOf(StreamStateError);
      expect(error).toMatchObject({ code: 'invalid-state', cause: { code: 'completed' } });
      expect(streams[0]?.state).toBe('closed');
      await streams[0]?.close();
    });

    it('rejects a send() right after close(), which reaches neither the client nor the process', async () => {
      const seen = new Recorder<unknown>();
      @Controller()
      class Feed {
        @Stream('feed', { format: 'json' })
        feed(@ConnectedStream() stream: StreamConnection) {
          void stream.send('early');
          void stream.close();
          stream.send('late').catch(seen.add);
          setImmediate(() => stream.send('later').catch(seen.add));
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });

      expect(await text('/feed')).toBe('["early"]');

      for (const error of await seen.count(2)) {
        expect(error).toBeInstanceOf(StreamStateError);
      }
    });

    it('rejects a send() after close() also while the client still has to read the rest', async () => {
      const seen = new Recorder<unknown>();
      const streams: StreamConnection[] = [];
      @Controller()
      class Feed {
        @Stream('feed', { format: 'json', queue: { bytes: 64 * 1024 * 1024 } })
        feed(@ConnectedStream() stream: StreamConnection) {
          streams.push(stream);
        }
      }
      const { get, registry } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      client.socket.pause();
      await untilStable(() => registry.size);
      const [stream] = streams;
      const chunk = 'x'.repeat(1_000_000);
      for (let i = 0; i < 10; i++) {
        void stream?.send(chunk);
      }
      void stream?.close();
      await untilStable(() => stream?.bufferedAmount ?? 0);

      stream?.send('late').catch(seen.add);
      expect((await seen.count(1))[0]).toBeInstanceOf(StreamStateError);
      client.socket.resume();
      await client.until('0\r\n\r\n');

      expect(JSON.parse(client.body)).toEqual(Array(10).fill(chunk));
    });

    it('does not occur after the application destroyed the response: the stream is closed, and send() has no effect', async () => {
      const seen = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed')
        async feed(@ConnectedStream() stream: StreamConnection) {
          stream.hooks({ onClose: (_, { code }) => seen.add(code) });
          await stream.send('x');
          const { request } = stream as {
            request: { res?: { destroy(): void }; raw?: { socket: { destroy(): void } } };
          };
          (request.res ?? request.raw?.socket)?.destroy();
          stream.send('y').catch(() => seen.add('rejected'));
          stream.flush();
          setImmediate(() => stream.send('z').catch(() => seen.add('rejected')));
        }
      }
      const { get } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed');
      await client.closed();

      expect((await seen.count(2)).at(0)).toBe('client-closed');
      await turns();
    });

    it('of an iterator that violates its contract makes the stream fail, and not the process', async () => {
      const broken = (async: boolean) => ({
        [async ? Symbol.asyncIterator : Symbol.iterator]: () => {
          let i = 0;
          return {
            next: () => {
              const step = i++ === 0 ? { done: false, value: 'x' } : undefined;
              return async ? turns(1).then(() => step) : step;
            },
          };
        },
      });
      @Controller()
      class Feed {
        @Stream('sync')
        sync() {
          return broken(false);
        }

        @Stream('async')
        async() {
          return broken(true);
        }
      }
      const { get } = await start(platform, { controllers: [Feed] });

      for (const path of ['/sync', '/async']) {
        const client = await get(path);
        await client.closed();
        expect(client.body).toBe('x');
        expect(client.complete).toBe(false);
      }
    });

    it('of a generator that was stuck is logged after the end of the stream, and has no other effect', async () => {
      const gate = deferred();
      const seen = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed')
        @UseStreamHooks({ onClose: (_, { code }) => seen.add(code) })
        async *feed() {
          yield 'x';
          await gate.promise;
          throw new Error('woke up badly');
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });
      const client = await get('/feed');
      await client.until('x');
      client.disconnect();
      await seen.count(1);

      gate.resolve();
      await turns();

      expect(seen.seen).toEqual(['client-closed']);
      expect(logs.of('error').join()).toMatch(/Feed\.feed.*threw an error after it had ended.*woke up badly/s);
    });
  });

  describe('by which text could become another event or header is impossible', () => {
    const EVIL: [string, unknown][] = [
      ['type with LF', { type: 'x\ndata: injected', data: 'y' }],
      ['type with CR', { type: 'x\rdata: injected', data: 'y' }],
      ['id with LF', { id: 'x\ndata: injected', data: 'y' }],
      ['id with CRLF', { id: 'x\r\n\r\ndata: injected', data: 'y' }],
      ['id with NUL', { id: 'x\0', data: 'y' }],
      ['retry with more than digits', { retry: '1\ndata: injected', data: 'y' }],
    ];

    it.each(EVIL)('because an event with a %s is refused, and no part of it is sent', async (_, event) => {
      @Controller()
      class Feed {
        @Sse('feed')
        *feed() {
          yield 'good';
          yield event;
        }
      }
      const { get, logs } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed');
      await client.closed();

      expect(client.body).toBe(
        'data: good\n\nevent: error\ndata: {"statusCode":500,"message":"Internal server error"}\n\n',
      );
      expect(logs.of('error').join()).toContain('Feed.feed');
      expect(() => formatSse(event as never)).toThrow(StreamError);
    });

    it('because data and comments of several lines remain data and comments, line by line', async () => {
      @Controller()
      class Feed {
        @Sse('feed')
        *feed() {
          yield 'a\ndata: injected';
          yield { type: 'x', data: 'a\ndata: injected\r\nid: 7\revent: y\n\n' };
          yield { comment: 'a\n\ndata: injected' };
          yield { data: { text: 'a\nb' } };
        }
      }
      const { text } = await start(platform, { controllers: [Feed] });

      expect(await text('/feed')).toBe(
        'data: a\ndata: data: injected\n\n' +
          'event: x\ndata: a\ndata: data: injected\ndata: id: 7\ndata: event: y\ndata: \ndata: \n\n' +
          ': a\n: \n: data: injected\n\n' +
          'data: {"text":"a\\nb"}\n\n',
      );
    });

    it('because a header that would split the head is refused before anything is sent', async () => {
      @Controller()
      class Feed {
        @Stream('feed')
        feed(@ConnectedStream() stream: StreamConnection) {
          stream.header('X-Evil', 'a\r\nX-Injected: yes');
          return ['x'];
        }
      }
      const { get } = await start(platform, { controllers: [Feed] });

      const client = await get('/feed', { Connection: 'close' });
      await client.closed();

      expect(client.head).toMatch(/^HTTP\/1\.1 500 /);
      expect(client.received).not.toMatch(/^X-Injected/im);
    });
  });

  it('leaves no stream in the registry, and the application can close', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed')
      @UseStreamHooks({ onClose: (_, { code }) => seen.add(code) })
      async *feed() {
        yield 'x';
        await turns();
        throw new Error('broken');
      }
    }
    const { get, registry, close } = await start(platform, { controllers: [Feed] });
    const clients = await Promise.all(Array.from({ length: 20 }, () => get('/feed')));

    await Promise.all(clients.map((client) => client.closed()));
    await seen.count(20);

    expect(clients.map(({ complete }) => complete)).toEqual(Array(20).fill(false));
    expect(registry.size).toBe(0);
    await close();
  });
});
