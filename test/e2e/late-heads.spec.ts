import { ForbiddenException } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { Response as ExpressResponse, NextFunction } from 'express';
import type { StreamHooks } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { deferred, Recorder } from '../support/events.js';
import { turns, useApps } from '../support/running.js';

const start = useApps();
const FOREVER = new Promise<never>(() => undefined);

/** Records the close codes of streams. */
function closing(seen: Recorder): StreamHooks {
  return { onClose: (_stream, reason) => seen.add(reason.code) };
}

describe.each(PLATFORMS)('%s: a Response', (platform) => {
  it.each([200, 500])(
    'of status %d after openDelay makes the stream fail, and its body is cancelled',
    async (status) => {
      const gate = deferred();
      const cancelled = deferred();
      const seen = new Recorder();
      const upstream = () =>
        new Response(new ReadableStream({ pull: () => FOREVER, cancel: () => cancelled.resolve() }), { status });
      const { get, logs } = await start(platform, {
        controllers: [controllerOf(() => gate.promise.then(upstream), { format: 'text', openDelay: 10 })],
        options: { hooks: closing(seen) },
      });

      const client = await get('/source');
      await client.until('\r\n\r\n');
      gate.resolve();
      await cancelled.promise;
      await client.closed();

      expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
      expect(client.body).toBe('');
      expect(client.complete).toBe(false);
      expect(await seen.count(1)).toEqual(['error']);
      expect(logs.of('error')).toHaveLength(1);
      expect(logs.of('error').join()).toMatch(/Sources\.source.*openDelay/s);
    },
  );

  it('keeps the cookies and the Vary that middleware has set, and adds its own', async () => {
    const upstream = () => {
      const headers = new Headers({ 'Content-Type': 'text/plain', Vary: 'Accept-Encoding, Origin' });
      headers.append('Set-Cookie', 'up=1');
      headers.append('Set-Cookie', 'up2=2');
      return new Response('body', { headers });
    };
    const { url } = await start(platform, {
      controllers: [controllerOf(upstream)],
      configure: (app) =>
        void app.use((_: unknown, response: ExpressResponse, next: NextFunction) => {
          response.setHeader('Set-Cookie', 'mw=1');
          response.setHeader('Vary', 'Origin');
          next();
        }),
    });

    const response = await fetch(url('/source'));

    expect(await response.text()).toBe('body');
    expect(response.headers.getSetCookie()).toEqual(['mw=1', 'up=1', 'up2=2']);
    const vary = response.headers.get('vary')?.split(', ');
    expect(vary?.filter((field) => field !== 'Accept').sort()).toEqual(['Accept-Encoding', 'Origin']);
  });
});

describe.each(PLATFORMS)('%s: a beforeChunk hook before the head', (platform) => {
  it('that drops the first chunk does not delay the head longer than openDelay', async () => {
    const gate = deferred();
    async function* feed() {
      yield 'dropped';
      await gate.promise;
      yield 'kept';
    }
    const { get } = await start(platform, {
      controllers: [controllerOf(feed, { format: 'text', openDelay: 20 })],
      options: { hooks: { beforeChunk: (chunk) => (chunk === 'dropped' ? undefined : chunk) } },
    });

    const client = await get('/source');
    await client.until('\r\n\r\n');
    expect(client.body).toBe('');
    gate.resolve();
    await client.until('0\r\n\r\n');

    expect(client.head).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(client.body).toBe('kept');
  });

  it.each([
    [
      'strings',
      { text: 'tok' },
      (chunk: unknown) => (chunk as { text: string }).text,
      'text/plain; charset=utf-8',
      'tok',
    ],
    ['objects', 'tok', (chunk: unknown) => ({ text: chunk }), 'application/x-ndjson', '{"text":"tok"}\n'],
    ['strings, later', { text: 'tok' }, async () => 'tok', 'text/plain; charset=utf-8', 'tok'],
  ])('that returns %s decides the format of a route without one', async (_what, chunk, beforeChunk, type, body) => {
    const { url } = await start(platform, {
      controllers: [
        controllerOf(async function* () {
          await turns(1);
          yield chunk;
        }),
      ],
      options: { hooks: { beforeChunk } },
    });

    const response = await fetch(url('/source'));

    expect(response.headers.get('content-type')).toBe(type);
    expect(await response.text()).toBe(body);
  });

  it.each([
    [
      'throws',
      () => {
        throw new ForbiddenException('not this');
      },
    ],
    ['rejects', async () => Promise.reject(new ForbiddenException('not this'))],
  ])('that %s causes a response with the status of the exception filter', async (_how, beforeChunk) => {
    const seen = new Recorder();
    const stopped = deferred();
    async function* feed() {
      try {
        yield 'a';
        await FOREVER;
      } finally {
        stopped.resolve();
      }
    }
    const { url, logs, registry } = await start(platform, {
      controllers: [controllerOf(feed)],
      options: { hooks: [{ beforeChunk }, closing(seen)] },
    });

    const response = await fetch(url('/source'));
    await stopped.promise;

    expect(response.status).toBe(403);
    expect(await response.json()).toEqual({ statusCode: 403, message: 'not this', error: 'Forbidden' });
    expect(seen.seen).toEqual(['error']);
    expect(logs.of('error')).toEqual([]);
    expect(registry.size).toBe(0);
  });
});

describe.each(PLATFORMS)('%s: a handler that is still pending', (platform) => {
  const CASES = [
    ['maxDuration is over', 'deadline', { maxDuration: 20 }],
    ['the registry closes it', 'server-closed', {}],
    ['the application closes', 'shutdown', {}],
  ] as const;

  it.each(CASES)('when %s responds with 503, and onClose receives %s', async (_what, code, options) => {
    const called = deferred();
    const seen = new Recorder();
    const handler = async () => {
      called.resolve();
      await FOREVER;
    };
    const { get, close, registry } = await start(platform, {
      controllers: [controllerOf(handler, { format: 'text', openDelay: 'first-chunk' })],
      options: { ...options, hooks: closing(seen) },
    });
    const client = await get('/source', { Connection: 'close' });
    await called.promise;

    if (code === 'server-closed') {
      expect(await registry.close()).toBe(1);
    } else if (code === 'shutdown') {
      await close();
    }
    await client.closed();

    expect(client.head).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/);
    expect(JSON.parse(client.body)).toMatchObject({ statusCode: 503, error: 'Service Unavailable' });
    expect(seen.seen).toEqual([code]);
    expect(registry.size).toBe(0);
  });
});

describe('fastify: an onSend hook that makes the head invalid', () => {
  it.each(['at once', 'later'])('%s does not leave the client without a response', async (when) => {
    const seen = new Recorder();
    const { get, logs, registry, text } = await start('fastify', {
      controllers: [controllerOf(() => ['a', 'b'])],
      options: { hooks: closing(seen) },
      configure: (app) => {
        const fastify = (app as NestFastifyApplication).getHttpAdapter().getInstance();
        fastify.addHook('onSend', async (request, reply, payload) => {
          if (when === 'later') {
            await turns();
          }
          if (request.headers['x-spoil'] !== undefined && reply.statusCode === 200) {
            reply.header('X-Bad', 'a\nb');
          }
          return payload;
        });
      },
    });

    const client = await get('/source', { 'X-Spoil': 'yes', Connection: 'close' });
    await client.closed();

    expect(client.received).not.toMatch(/^HTTP\/1\.1 200/);
    expect(seen.seen).toEqual(['error']);
    expect(logs.of('error').join()).toContain('X-Bad'.toLowerCase());
    expect(registry.size).toBe(0);
    expect(await text('/source')).toBe('ab');
  });
});
