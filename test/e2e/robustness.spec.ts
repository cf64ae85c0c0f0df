import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Controller, HttpException, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  ConnectedStream,
  defineFormat,
  Stream,
  type StreamConnection,
  type StreamFormat,
  type StreamHooks,
  StreamingModule,
  type StreamingModuleOptions,
  type StreamOptions,
  UseStreamHooks,
} from '../../lib/index.js';
import { LogRecorder, PLATFORMS, type Platform, startApp } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { Recorder } from '../support/events.js';
import { turns, untilStable, useApps } from '../support/running.js';

const start = useApps();
const FOREVER = new Promise<never>(() => undefined);
const KIB = 'x'.repeat(1_000);

/** Records the close codes of streams. */
function closing(seen: Recorder): StreamHooks {
  return { onClose: (_stream, reason) => seen.add(reason.code) };
}

/** A route that only passes its connection to the test. */
function pushing(options: StreamOptions = {}) {
  const streams = new Recorder<StreamConnection>();
  @Controller()
  class Feed {
    @Stream('feed', options)
    feed(@ConnectedStream() stream: StreamConnection) {
      streams.add(stream);
    }
  }
  return { Feed, streams };
}

/** Middleware that passes the response of Node.js to a test. */
function responses(touch: (response: ServerResponse, url: string) => void) {
  return (app: INestApplication) =>
    void app.use((request: { url: string; originalUrl?: string }, response: ServerResponse, next: () => void) => {
      touch(response, request.originalUrl ?? request.url);
      next();
    });
}

/** Listens on a Unix socket. */
async function onUnixSocket(platform: Platform, controller: new () => object, path: string) {
  const logs = new LogRecorder();
  const root = { module: class Root {}, imports: [StreamingModule.forRoot()], controllers: [controller] };
  const settings = { logger: logs, abortOnError: false };
  const app: INestApplication = await (platform === 'express'
    ? NestFactory.create(root, settings)
    : NestFactory.create(root, new FastifyAdapter(), settings));
  await app.listen((platform === 'express' ? path : { path }) as string);
  return { app, logs };
}

// Jest fails a test in which an exception is uncaught or a rejection unhandled.
describe.each(PLATFORMS)('%s: a failure after the first chunk', (platform) => {
  it('cuts off a client with HTTP/1.0 on a Unix socket, which cannot be reset', async () => {
    async function* feed() {
      yield 'a';
      await turns();
      throw new Error('broken');
    }
    const folder = await mkdtemp(join(tmpdir(), 'streaming-'));
    const path = join(folder, 'socket');
    const { app, logs } = await onUnixSocket(platform, controllerOf(feed, { format: 'text' }), path);
    try {
      const socket = connect(path);
      let received = '';
      socket.setEncoding('latin1').on('data', (data: string) => {
        received += data;
      });
      socket.on('error', () => undefined);
      socket.write('GET /source HTTP/1.0\r\n\r\n');
      await once(socket, 'close');
      await turns();

      expect(received).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\na$/);
      expect(logs.of('error')).toHaveLength(1);
    } finally {
      await app.close();
      await rm(folder, { recursive: true });
    }
  });

  it('whose description has no JSON form is reported as an internal error, and the body is cut off', async () => {
    const seen = new Recorder();
    async function* feed() {
      yield 'a';
      await turns();
      throw new HttpException({ message: 'x', big: 10n }, 400);
    }
    const { get, logs, registry } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'ndjson' })],
      options: { hooks: closing(seen) },
    });

    const client = await get('/source');
    await client.closed();
    await turns();

    expect(client.body).toBe('"a"\n{"error":{"statusCode":500,"message":"Internal server error"}}\n');
    expect(client.complete).toBe(false);
    expect(seen.seen).toEqual(['error']);
    expect(logs.of('error').join('\n')).toMatch(/failed after it had been opened/);
    expect(registry.size).toBe(0);
  });
});

describe.each(PLATFORMS)('%s: middleware', (platform) => {
  it('may end the response while chunks wait for the client', async () => {
    const { Feed, streams } = pushing({ format: 'text', flush: 'each' });
    const seen = new Recorder();
    const taken: ServerResponse[] = [];
    const { get, registry } = await start(platform, {
      controllers: [Feed],
      options: { hooks: closing(seen) },
      configure: responses((response) => taken.push(response)),
    });
    const client = await get('/feed');
    const [stream] = await streams.count(1);
    client.socket.pause();
    for (let i = 0; i < 3_000; i++) {
      void stream?.send(KIB);
    }
    expect(stream?.bufferedAmount).toBeGreaterThan(1_000_000);

    taken[0]?.end();
    await turns();
    client.socket.resume();
    await seen.count(1);
    await turns();

    expect(seen.seen).toHaveLength(1);
    expect(registry.size).toBe(0);
  });

  it.each([
    ['once', 'identity'],
    ['always', 'identity'],
    ['once', 'gzip'],
    ['always', 'gzip'],
  ])('whose writeHead() throws %s makes only its own stream fail (%s)', async (how, coding) => {
    const seen = new Recorder();
    async function* feed() {
      for (let i = 0; ; i++) {
        yield `tick ${i};`;
        await turns(1);
      }
    }
    const { get, logs, registry } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text' })],
      options: { hooks: closing(seen), compression: { encodings: ['gzip'] } },
      configure: responses((response, url) => {
        if (!url.includes('patched')) {
          return;
        }
        const { writeHead } = response;
        response.writeHead = ((...args: never[]) => {
          response.writeHead = how === 'once' ? writeHead : response.writeHead;
          throw new Error(`cannot write ${args.length > 0 ? 'this' : 'a'} head`);
        }) as never;
      }),
    });
    const other = await get('/source');
    await other.until('tick 1;');

    const client = await get('/source?patched', { 'accept-encoding': coding });
    await client.closed();
    const sofar = other.received.length;
    while (other.received.length === sofar) {
      await turns(1);
    }

    expect(client.complete).toBe(false);
    expect(seen.seen).toEqual(['error']);
    expect(logs.of('error').filter((line) => line.includes('cannot write'))).toHaveLength(1);
    expect(registry.size).toBe(1);
    expect(other.socket.destroyed).toBe(false);
  });
});

describe.each(PLATFORMS)('%s: chunks dropped in a custom format', (platform) => {
  /** A client that has missed some chunks, and continues to read. */
  async function missing(own: Partial<StreamFormat>) {
    const encoded: unknown[] = [];
    const csv = defineFormat({
      name: 'csv',
      mediaTypes: ['text/csv'],
      encode(row: { id: number }) {
        encoded.push(row);
        return `${row.id},${KIB}\n`;
      },
      ...own,
    });
    const seen = new Recorder();
    const { Feed, streams } = pushing({ format: csv, overflow: 'drop-oldest', queue: { items: 50 } });
    const running = await start(platform, { controllers: [Feed], options: { hooks: closing(seen) } });
    const client = await running.get('/feed');
    const [stream] = await streams.count(1);
    client.socket.pause();
    for (let i = 0; i < 1_000; i++) {
      void stream?.send({ id: i });
    }
    client.socket.resume();
    return { ...running, client, stream, encoded, seen };
  }

  it('are only logged if the format has no lagged(), and its encode() receives only chunks', async () => {
    const { client, stream, encoded, logs } = await missing({});

    await client.until('\n999,');
    await stream?.close();
    await client.until('0\r\n\r\n');

    expect(encoded.filter((row) => typeof (row as { id?: unknown }).id !== 'number')).toEqual([]);
    expect(client.body).toMatch(/^(\d+,x{1000}\n)+$/);
    expect(logs.of('warn').join()).toMatch(/\d+ chunks were dropped/);
  });

  it('are reported to the client by lagged()', async () => {
    const { client, stream } = await missing({ lagged: (dropped) => `#${dropped} dropped\n` });

    await client.until('dropped');
    await stream?.close();
    await client.until('0\r\n\r\n');

    const rows = client.body.match(/^\d+,/gm) ?? [];
    const counts = [...client.body.matchAll(/^#(\d+) dropped$/gm)].map(([, count]) => Number(count));
    expect(counts).toHaveLength(1);
    expect(rows.length + Number(counts[0])).toBe(1_000);
  });

  it('make the stream fail if lagged() throws', async () => {
    const { client, seen, logs, registry } = await missing({
      lagged() {
        throw new Error('cannot tell');
      },
    });

    await client.closed();
    await turns();

    expect(client.complete).toBe(false);
    expect(seen.seen).toEqual(['error']);
    expect(logs.of('error').join()).toContain('cannot tell');
    expect(registry.size).toBe(0);
  });
});

describe.each(PLATFORMS)('%s: hooks', (platform) => {
  it.each([
    ['a chunk', ['a;']],
    ['several chunks', ['a;', 'b;', 'c;']],
  ])('include an async onOpen that awaits what it sends, after the handler has sent %s', async (_what, chunks) => {
    @Controller()
    class Feed {
      @Stream('feed', { format: 'text' })
      @UseStreamHooks({
        async onOpen(stream) {
          await turns();
          await stream.send('hello;');
          await stream.send('again;');
        },
      })
      feed(@ConnectedStream() stream: StreamConnection) {
        void Promise.all(chunks.map((chunk) => stream.send(chunk))).then(() => stream.close());
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe(['hello;', 'again;', ...chunks].join(''));
  });

  it.each([
    ['beforeClose', 'send-timeout'],
    ['onError', 'error'],
  ] as const)('include a %s that never settles, and the client is cut off after sendTimeout', async (name, code) => {
    const seen = new Recorder();
    async function* feed() {
      yield 'a';
      await turns();
      if (name === 'onError') {
        throw new Error('broken');
      }
    }
    const { get, registry } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text', sendTimeout: 40 })],
      options: { hooks: [{ [name]: () => FOREVER }, closing(seen)] },
    });

    const client = await get('/source');
    await client.until('a');
    await client.closed();
    await seen.count(1);

    expect(client.body).toBe('a');
    expect(client.complete).toBe(false);
    expect(seen.seen).toEqual([code]);
    expect(registry.size).toBe(0);
  });

  it('that have no onOpen do not hide that a method returned nothing', async () => {
    const { url, logs } = await start(platform, {
      controllers: [controllerOf(() => undefined)],
      options: { hooks: { onClose: () => undefined, beforeChunk: (chunk) => chunk } },
    });

    expect((await fetch(url('/source'))).status).toBe(500);
    expect(logs.of('error').join()).toContain('Sources.source returned nothing and cannot push');
  });

  it('may read the signal for the first time while the server ends the stream, and the signal is aborted', async () => {
    const signals = new Recorder<AbortSignal>();
    async function* feed() {
      yield 'a';
      await FOREVER;
    }
    const { get, registry } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text' })],
      options: { hooks: { beforeClose: (stream) => signals.add(stream.signal) } },
    });
    const client = await get('/source');
    await client.until('a');

    await registry.close();

    expect(signals.seen).toMatchObject([{ aborted: true, reason: { code: 'server-closed' } }]);
  });
});

describe.each(PLATFORMS)('%s: a method', (platform) => {
  it('may be wrapped by a decorator above @Stream() that copies its metadata', async () => {
    const calls = new Recorder();
    const Wrapped: MethodDecorator = (_target, key, descriptor) => {
      const original = descriptor.value as object as (...args: unknown[]) => unknown;
      const wrapper = function (this: unknown, ...args: unknown[]) {
        calls.add(String(key));
        return original.apply(this, args);
      };
      for (const name of Reflect.getMetadataKeys(original)) {
        Reflect.defineMetadata(name, Reflect.getMetadata(name, original), wrapper);
      }
      descriptor.value = wrapper as never;
    };
    @Controller()
    class Feed {
      @Wrapped
      @Stream('feed', { format: 'ndjson' })
      async *feed(@ConnectedStream() stream: StreamConnection) {
        yield stream.route;
      }
    }
    const { text } = await start(platform, { controllers: [Feed] });

    expect(await text('/feed')).toBe('"Feed.feed"\n');
    expect(calls.seen).toEqual(['feed']);
  });

  it.each([
    ['first', []],
    ['later', ['a']],
  ])('may be a generator that yields a rejected promise %s, and its finally runs once', async (_when, before) => {
    const cleaned = new Recorder();
    function* feed() {
      try {
        yield* before;
        yield Promise.reject(new HttpException('refused', 418));
      } finally {
        cleaned.add('finally');
      }
    }
    const seen = new Recorder();
    const { get } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text' })],
      options: { hooks: closing(seen) },
    });

    const client = await get('/source', { Connection: 'close' });
    await client.closed();
    await turns();

    expect(client.head).toMatch(before.length === 0 ? /^HTTP\/1\.1 418 / : /^HTTP\/1\.1 200 /);
    expect(cleaned.seen).toEqual(['finally']);
    expect(seen.seen).toEqual(['error']);
  });
});

describe.each(PLATFORMS)('%s: an option', (platform) => {
  const UNSET = { items: undefined, bytes: undefined };

  it.each<[string, StreamingModuleOptions, StreamOptions, number]>([
    ['of a route', { queue: { items: 20 } }, { queue: UNSET }, 500],
    ['of a route', { queue: { bytes: 20_000 } }, { queue: { bytes: undefined } }, 500],
    ['of the application', { queue: UNSET }, {}, 10_000],
    ['of both', { queue: UNSET }, { queue: UNSET }, 10_000],
  ])('queue %s that is undefined counts as not given: %j, %j', async (_where, options, own, enough) => {
    const { Feed, streams } = pushing({ format: 'text', ...own });
    const seen = new Recorder();
    const { get } = await start(platform, { controllers: [Feed], options: { ...options, hooks: closing(seen) } });
    const client = await get('/feed');
    const [stream] = await streams.count(1);
    client.socket.pause();

    let sent = 0;
    while (stream?.state !== 'closed' && sent < enough) {
      void stream?.send(KIB);
      sent++;
    }

    expect(seen.seen).toEqual(['slow-consumer']);
  });

  it('sendTimeout of a route that is undefined counts as not given', async () => {
    let pulled = 0;
    const seen = new Recorder();
    function* feed() {
      for (;;) {
        pulled++;
        yield KIB.repeat(64);
      }
    }
    const { get } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text', sendTimeout: undefined })],
      options: { sendTimeout: 100, hooks: closing(seen) },
    });
    const client = await get('/source');
    client.socket.pause();
    await untilStable(() => pulled);

    expect(await seen.count(1)).toEqual(['send-timeout']);
  });

  it.each([
    [{ shutdown: { grace: Number.POSITIVE_INFINITY } }, '"shutdown.grace" must be a number of milliseconds'],
    [{ shutdown: { retry: Number.POSITIVE_INFINITY } }, '"shutdown.retry" must be a number of milliseconds'],
    [{ flush: { bytes: 1, ms: Number.POSITIVE_INFINITY } }, '"flush" must be "auto", "each" or { bytes, ms }'],
    [{ constructor: 1 }, 'has an unknown option "constructor"'],
    [{ queue: { constructor: 1 } }, '"queue" has an unknown option "constructor"'],
  ])('is refused: %j', async (options, problem) => {
    await expect(startApp(platform, { options: options as StreamingModuleOptions })).rejects.toThrow(problem);
  });
});

describe.each(PLATFORMS)('%s: a response to which middleware has added a property', (platform) => {
  it('named stream is closed with its connection, if its client is too slow', async () => {
    const { Feed, streams } = pushing({ format: 'text', queue: { items: 20 } });
    const { get, logs, sockets } = await start(platform, {
      controllers: [Feed],
      configure: (app) => {
        app.use((_request: unknown, response: object, next: () => void) => {
          Object.assign(response, { stream: () => undefined });
          next();
        });
      },
    });
    const client = await get('/feed');
    const [stream] = await streams.count(1);
    client.socket.pause();

    for (let sent = 0; stream?.state !== 'closed' && sent < 10_000; sent++) {
      void stream?.send(KIB);
    }

    expect(stream?.state).toBe('closed');
    expect(sockets.seen[0]?.destroyed).toBe(true);
    expect(logs.of('error')).toEqual([]);
  });
});
