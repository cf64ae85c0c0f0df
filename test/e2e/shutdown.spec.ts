import { type CanActivate, Controller, Get, UseGuards } from '@nestjs/common';
import { interval } from 'rxjs';
import {
  ConnectedStream,
  Sse,
  Stream,
  StreamCloseError,
  type StreamConnection,
  type StreamingModuleOptions,
  StreamSignal,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { deferred, Recorder } from '../support/events.js';
import { RawClient } from '../support/raw-client.js';
import { turns, useApps } from '../support/running.js';
import { ServerProcess } from '../support/server-process.js';
import { WebSocketClient } from '../support/websocket-client.js';

const NEVER = new Promise<never>(() => undefined);
const LONG_MS = 60_000;

describe.each(PLATFORMS)('%s: when the application closes', (platform) => {
  const start = useApps();

  /** Options with hooks, and `what`, which records how streams ended. */
  function observed(options: StreamingModuleOptions = {}) {
    const seen = new Recorder();
    const hooks = {
      onClose: (stream: StreamConnection, { code }: { code: string }) => seen.add(`${stream.route} ${code}`),
    };
    return { seen, options: { ...options, hooks } };
  }

  it('an SSE client whose generator is stuck in an await does not delay it, and its stream completes', async () => {
    const { seen, options } = observed({ shutdown: { grace: 20 } });
    const reasons = new Recorder<unknown>();
    @Controller()
    class Feed {
      @Sse('feed')
      async *feed(@StreamSignal() signal: AbortSignal) {
        signal.addEventListener('abort', () => reasons.add(signal.reason));
        yield 'x';
        await NEVER;
      }
    }
    const { get, close } = await start(platform, { controllers: [Feed], options });
    const client = await get('/feed');
    await client.until('data: x');

    await close();
    await client.closed();

    expect(client.complete).toBe(true);
    expect(seen.seen).toEqual(['Feed.feed shutdown']);
    expect(reasons.seen).toEqual([expect.any(StreamCloseError)]);
    expect(reasons.seen[0]).toMatchObject({ code: 'shutdown' });
  });

  it('all kinds of endless streams are ended, also those that have not opened', async () => {
    const { seen, options } = observed({ shutdown: { grace: 20 } });
    const called = new Recorder();
    @Controller()
    class Feed {
      @Stream('observable', { format: 'json' })
      observable() {
        called.add('observable');
        return interval(10);
      }

      @Stream('push', { format: 'json' })
      push(@ConnectedStream() stream: StreamConnection) {
        called.add('push');
        void stream.send(1);
      }

      @Stream('unopened', { format: 'json', openDelay: 'first-chunk' })
      async *unopened() {
        called.add('unopened');
        await NEVER;
        yield 1;
      }

      @Stream('undecided', { openDelay: 'first-chunk' })
      async *undecided() {
        called.add('undecided');
        await NEVER;
        yield 1;
      }

      @Stream('handler', { format: 'json', openDelay: 'first-chunk' })
      async handler() {
        called.add('handler');
        await NEVER;
        return [1];
      }
    }
    const { get, close } = await start(platform, { controllers: [Feed], options });
    const routes = ['observable', 'push', 'unopened', 'undecided', 'handler'];
    const clients = await Promise.all(routes.map((route) => get(`/${route}`)));
    await called.count(routes.length);

    await close();
    await Promise.all(clients.map((client) => client.closed()));

    expect(seen.seen.sort()).toEqual(routes.map((route) => `Feed.${route} shutdown`).sort());
    for (const [i, client] of clients.entries()) {
      const opened = i < routes.indexOf('unopened');
      expect(client.head).toMatch(opened ? /^HTTP\/1\.1 200 OK\r\n/ : /^HTTP\/1\.1 503 Service Unavailable\r\n/);
      if (opened) {
        expect(JSON.parse(client.body)).toBeInstanceOf(Array);
      }
    }
  });

  it('pipelined streams are ended, also those that wait for their turn', async () => {
    const { seen, options } = observed({ shutdown: { grace: 20 } });
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed() {
        yield 'x';
        await NEVER;
      }
    }
    const { connect, close, registry } = await start(platform, { controllers: [Feed], options });
    const client = await connect();
    client.send('GET /feed HTTP/1.1\r\nHost: test\r\n\r\n'.repeat(3));
    while (registry.size < 3) {
      await turns(1);
    }

    await close();
    await client.closed();

    expect(seen.seen).toEqual(Array(3).fill('Feed.feed shutdown'));
    expect(client.received.match(/1\r\nx\r\n0\r\n\r\n|\r\n\r\nx/g)).toHaveLength(3);
  });

  it('new streams are refused with 503 while it waits, and other routes still respond', async () => {
    const { seen, options } = observed({ shutdown: { grace: LONG_MS } });
    const gate = deferred();
    const farewell = deferred();
    const passed = deferred();
    const guarding = deferred();
    class Guard implements CanActivate {
      async canActivate() {
        guarding.resolve();
        await passed.promise;
        return true;
      }
    }
    let called = 0;
    @Controller()
    class Feed {
      @Stream('feed')
      async *feed(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ onShutdown: () => farewell.resolve() });
        yield 'x';
        await gate.promise;
        yield 'y';
      }

      @Stream('new')
      fresh() {
        called++;
        return ['x'];
      }

      @Stream('guarded')
      @UseGuards(Guard)
      guarded() {
        called++;
        return ['x'];
      }

      @Get('plain')
      plain() {
        return 'fine';
      }
    }
    const { get, close, url } = await start(platform, { controllers: [Feed], options });
    const client = await get('/feed');
    await client.until('x');
    const guarded = await get('/guarded', { Connection: 'close' });
    await guarding.promise;

    const closed = close();
    await farewell.promise;
    const refused = await fetch(url('/new'));
    passed.resolve();
    await guarded.closed();

    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('5');
    expect(await refused.json()).toMatchObject({ statusCode: 503 });
    expect(guarded.head).toMatch(/^HTTP\/1\.1 503 /);
    expect(called).toBe(0);
    expect(await (await fetch(url('/plain'))).text()).toBe('fine');
    gate.resolve();
    await closed;
    expect(seen.seen).toEqual(['Feed.feed completed']);
  });

  it('onShutdown may send a last chunk or a promise of one; SSE clients also receive retry', async () => {
    const { options } = observed({ shutdown: { grace: 20, retry: 1_000 } });
    const sayings: unknown[] = [{ type: 'bye', data: 'soon back' }, turns().then(() => 'soon back'), undefined];
    @Controller()
    class Feed {
      @Sse('sse')
      async *sse(@ConnectedStream() stream: StreamConnection) {
        const saying = sayings.shift();
        stream.hooks({ onShutdown: () => saying });
        yield 'x';
        await NEVER;
      }

      @Stream('ndjson', { format: 'ndjson' })
      async *ndjson(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ onShutdown: () => ({ bye: true }) });
        yield 'x';
        await NEVER;
      }
    }
    const { get, close } = await start(platform, { controllers: [Feed], options });
    const clients = [await get('/sse'), await get('/sse'), await get('/sse'), await get('/ndjson')];
    await Promise.all(clients.map((client) => client.until('x')));

    await close();
    await Promise.all(clients.map((client) => client.closed()));

    const bodies = clients.map(({ body }) => body.replace(/retry: \d+/, 'retry: <ms>'));
    expect(bodies.slice(0, 3).sort()).toEqual([
      'data: x\n\nevent: shutdown\nretry: <ms>\ndata: {}\n\n',
      'data: x\n\nevent: shutdown\nretry: <ms>\ndata: {}\n\ndata: soon back\n\n',
      'data: x\n\nevent: shutdown\nretry: <ms>\ndata: {}\n\nevent: bye\ndata: soon back\n\n',
    ]);
    expect(bodies[3]).toBe('"x"\n{"bye":true}\n');
    expect(clients.every(({ complete }) => complete)).toBe(true);
  });

  it('retry varies by 50 % in both directions, and can be turned off', async () => {
    @Controller()
    class Feed {
      @Sse('feed')
      async *feed() {
        yield 'x';
        await NEVER;
      }
    }
    const controllers = [Feed];
    const spread = await start(platform, { controllers, options: { shutdown: { grace: 0, retry: 1_000 } } });
    const clients = await Promise.all(Array.from({ length: 20 }, () => spread.get('/feed')));
    const off = await start(platform, { controllers, options: { shutdown: { grace: 0, retry: false } } });
    const untold = await off.get('/feed');
    await Promise.all([...clients, untold].map((client) => client.until('x')));

    await Promise.all([spread.close(), off.close()]);
    await Promise.all([...clients, untold].map((client) => client.closed()));

    const retries = clients.map(({ body }) => Number(/^retry: (\d+)$/m.exec(body)?.[1]));
    expect(Math.min(...retries)).toBeGreaterThanOrEqual(500);
    expect(Math.max(...retries)).toBeLessThanOrEqual(1_500);
    expect(new Set(retries).size).toBeGreaterThan(5);
    expect(untold.body).toBe('data: x\n\n');
  });

  it('hooks that never resolve do not delay it', async () => {
    const { seen, options } = observed({ shutdown: { grace: 20 } });
    const called = new Recorder();
    @Controller()
    class Feed {
      @Stream('closing')
      closing(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          beforeClose() {
            called.add('beforeClose');
            return NEVER;
          },
        });
        return ['x'];
      }

      @Stream('opening')
      opening(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          onOpen() {
            called.add('onOpen');
            return NEVER;
          },
        });
        return ['x'];
      }

      @Stream('chunk')
      chunk(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          beforeChunk() {
            called.add('beforeChunk');
            return NEVER;
          },
        });
        void stream.send('x');
      }

      @Stream('shutdown')
      async *shutdown(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({ onShutdown: () => NEVER });
        yield 'x';
        called.add('yielded');
        await NEVER;
      }

      @Stream('failing')
      async *failing(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          onError() {
            called.add('onError');
            return NEVER;
          },
        });
        yield 'x';
        throw new Error('broken');
      }
    }
    const { get, close } = await start(platform, { controllers: [Feed], options });
    const routes = ['closing', 'opening', 'chunk', 'shutdown', 'failing'];
    for (const route of routes) {
      await get(`/${route}`);
    }
    await called.count(routes.length);

    await close();

    expect(seen.seen.sort()).toEqual(
      routes.map((route) => `Feed.${route} ${route === 'failing' ? 'error' : 'shutdown'}`).sort(),
    );
  });

  it('no timer and no socket remains, and its process exits by itself', async () => {
    const server = await ServerProcess.start(platform);
    try {
      const get = (path: string) => RawClient.get(server.port, path);
      const [gone, silent, gathering, subscribed, slow] = [
        await get('/silent'),
        await get('/silent'),
        await get('/gathering'),
        await get('/live'),
        await get('/endless'),
      ];
      slow.socket.pause();
      const webSocket = await WebSocketClient.open(`http://127.0.0.1:${server.port}/silent`);
      await Promise.all([gone, silent].map((client) => client.until(':\n')));
      await gathering.until('data: x');
      await subscribed.until('position');
      await webSocket.messages.count(1);
      gone.disconnect();

      expect(await server.call('close')).toEqual([]);
      expect(await server.exited()).toBe(0);
      slow.socket.resume();
      await Promise.all([silent, gathering, subscribed, slow].map((client) => client.closed()));
      await webSocket.closed;
    } finally {
      await server.stop();
    }
  });

  it('without an open stream it closes at once, whatever the grace period is', async () => {
    @Controller()
    class Feed {
      @Stream('feed')
      feed() {
        return ['x'];
      }
    }
    const { text, close, registry } = await start(platform, {
      controllers: [Feed],
      options: { shutdown: { grace: LONG_MS } },
    });
    await text('/feed');
    while (registry.size > 0) {
      await turns(1);
    }

    await close();
  });
});
