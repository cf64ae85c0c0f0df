import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type CanActivate, Controller, Get, HttpException, UseGuards } from '@nestjs/common';
import { interval, map, NEVER, Observable } from 'rxjs';
import {
  ConnectedStream,
  Stream,
  type StreamConnection,
  type StreamHooks,
  type StreamingModuleOptions,
  type StreamOptions,
} from '../../lib/index.js';
import { useFakeClock } from '../../lib/testing/index.js';
import { PLATFORMS } from '../support/app.js';
import { controllerOf } from '../support/controller.js';
import { deferred, Recorder } from '../support/events.js';
import type { RawClient } from '../support/raw-client.js';
import { type RunningApp, turns, untilStable, useApps } from '../support/running.js';
import { eventually } from '../support/transports.js';
import { WebSocketClient } from '../support/websocket-client.js';
import { HANDSHAKE, maskedFrame } from '../support/websocket-frames.js';

const launch = useApps();
/** A frame of a client, masked with zeros. */
function masked(opcode: number, payload: string | Buffer = '', fin = true): string {
  return maskedFrame({ opcode, payload, fin }).toString('latin1');
}

describe.each(PLATFORMS)('%s: a WebSocket', (platform) => {
  /** The close codes of streams. */
  let over: Recorder<{ code: string; error?: unknown }>;

  const start = (
    produce: (stream: StreamConnection) => unknown,
    { hooks, ...options }: StreamingModuleOptions = {},
    route: StreamOptions = {},
  ): Promise<RunningApp> => {
    over = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed', route)
      feed(@ConnectedStream() stream: StreamConnection) {
        return produce(stream);
      }

      @Get('alive')
      alive() {
        return 'alive';
      }
    }
    return launch(platform, {
      controllers: [Feed],
      options: {
        websocket: true,
        ...options,
        hooks: [{ onClose: (_stream, reason) => over.add(reason) }, ...[(hooks as StreamHooks) ?? []].flat()],
      },
    });
  };

  /** A raw client that has been accepted. */
  const upgraded = async (app: RunningApp): Promise<RawClient> => {
    const client = await app.get('/feed', HANDSHAKE);
    await client.until('\r\n\r\n');
    return client;
  };

  const endless = () => NEVER;
  const SOON: StreamOptions = { openDelay: 0 };

  describe('is closed', () => {
    it.each<[string, (stream: StreamConnection, app: () => RunningApp) => unknown, number, string]>([
      ['1000 when the source ends', () => ['a'], 1000, 'completed'],
      ['1000 when the handler closes it', (stream) => void stream.open().close(), 1000, 'completed'],
      [
        '1000 by the registry',
        (stream, app) =>
          void stream.hooks({ onOpen: () => void setImmediate(() => void app().registry.close()) }).open(),
        1000,
        'server-closed',
      ],
      ['1001 at the deadline', () => NEVER, 1001, 'deadline'],
      ['1011 by an error', failing(new Error('secret')), 1011, 'error'],
      ['1011 by an exception that is the server’s', failing(new HttpException('later', 503)), 1011, 'error'],
      ['1008 by an exception that is the client’s', failing(new HttpException('forbidden', 403)), 1008, 'error'],
    ])('%s', async (_what, produce, code, reason) => {
      let running: RunningApp | undefined;
      const app = await start(
        (stream) => produce(stream, () => running as RunningApp),
        { maxDuration: reason === 'deadline' ? 100 : false },
        SOON,
      );
      running = app;

      const client = await WebSocketClient.open(app.url('/feed'));

      expect(await client.closed).toEqual({ code, reason });
      expect(await over.count(1)).toMatchObject([{ code: reason }]);
    });

    function failing(error: Error) {
      return async function* () {
        yield 'a';
        await turns();
        throw error;
      };
    }

    it('after a record that contains no more about the error than the response of an exception filter', async () => {
      const app = await start(failing(new Error('secret')));
      const data = await WebSocketClient.open(app.url('/feed'));
      const events = await WebSocketClient.open(app.url('/feed'), ['events.v1+json']);

      expect(await data.all()).toEqual(['a', '{"error":{"statusCode":500,"message":"Internal server error"}}']);
      expect((await events.all())[1]).toBe(
        '{"type":"error","data":{"statusCode":500,"message":"Internal server error"}}',
      );
    });

    it('with 1001 when the application closes, also if its client does not read, and an upgrade in a guard is refused or dropped', async () => {
      const entered = deferred();
      class Stuck implements CanActivate {
        canActivate() {
          entered.resolve();
          return new Promise<boolean>(() => undefined);
        }
      }
      @Controller()
      class Feed {
        @Stream('feed', SOON)
        feed() {
          return NEVER;
        }

        @Stream('stuck')
        @UseGuards(Stuck)
        stuck() {
          return NEVER;
        }
      }
      const app = await launch(platform, { controllers: [Feed], options: { websocket: true } });
      const client = await WebSocketClient.open(app.url('/feed'));
      const silent = await upgraded(app);
      const stuck = await app.get('/stuck', HANDSHAKE);
      await entered.promise;

      await app.close();

      expect(await client.closed).toEqual({ code: 1001, reason: 'shutdown' });
      expect(await silent.closed()).toContain('\x88\x0a\x03\xe9shutdown');
      expect(await stuck.closed()).toBe('');
    }, 60_000);

    it('and its socket destroyed if the client does not answer the close', async () => {
      const app = await start(() => ['a']);

      const client = await upgraded(app);

      expect(await client.closed()).toContain('\x88\x0b\x03\xe8completed');
      expect(client.error).toBeUndefined();
    }, 60_000);

    it('with 1013 if its client is too slow for pushed chunks', async () => {
      const app = await start(() => interval(1).pipe(map(() => 'x'.repeat(200_000))), { queue: { bytes: 1_000_000 } });

      const client = await WebSocketClient.open(app.url('/feed'));
      client.socket.pause();
      await over.count(1);
      client.socket.resume();

      expect(await client.closed).toEqual({ code: 1013, reason: 'slow-consumer' });
      expect(over.seen).toEqual([{ code: 'slow-consumer' }]);
    });

    it('with 1013 if its client does not read for sendTimeout, and a source that waits for the client is stopped', async () => {
      let pulled = 0;
      const stopped = deferred();
      const app = await start(
        async function* () {
          try {
            for (;;) {
              pulled++;
              yield 'x'.repeat(60_000);
            }
          } finally {
            stopped.resolve();
          }
        },
        { sendTimeout: 300 },
      );

      const client = await WebSocketClient.open(app.url('/feed'));
      client.socket.pause();
      await stopped.promise;

      expect(over.seen).toEqual([{ code: 'send-timeout' }]);
      expect(pulled).toBeLessThan(1_000);
      client.socket.resume();
      expect(await client.closed).toEqual({ code: 1013, reason: 'send-timeout' });
    });
  });

  it('pauses its source while the client does not read', async () => {
    let pulled = 0;
    const app = await start(function* () {
      for (; pulled < 2_000; pulled++) {
        yield 'x'.repeat(60_000);
      }
    });

    const client = await WebSocketClient.open(app.url('/feed'));
    client.socket.pause();
    const paused = await untilStable(() => pulled);
    expect(paused).toBeLessThan(1_000);
    const [stream] = [...app.registry];
    expect(stream?.bufferedAmount).toBeLessThan(1_000_000);
    client.socket.resume();

    expect((await client.all()).length).toBe(2_000);
    expect((await client.closed).code).toBe(1000);
  }, 60_000);

  describe('whose client disconnects', () => {
    const until = (witness: Recorder) =>
      new Observable(() => {
        witness.add('subscribed');
        return () => witness.add('unsubscribed');
      });

    it.each<[string, (client: WebSocketClient) => void]>([
      ['with a close', (client) => client.socket.close(4001, 'bye')],
      ['without one', (client) => client.socket.terminate()],
    ])('%s has its source stopped', async (_how, leave) => {
      const witness = new Recorder();
      const app = await start(() => until(witness), {}, SOON);
      const client = await WebSocketClient.open(app.url('/feed'));

      leave(client);

      expect(await over.count(1)).toEqual([{ code: 'client-closed' }]);
      expect(await witness.count(2)).toEqual(['subscribed', 'unsubscribed']);
      expect(app.registry.size).toBe(0);
    });

    it('with a close frame, and never closes its side, has its source stopped at once', async () => {
      const witness = new Recorder();
      const app = await start(() => until(witness), {}, SOON);
      const client = await upgraded(app);

      client.send(masked(8, Buffer.from([0x03, 0xe8])));

      expect(await witness.count(2)).toEqual(['subscribed', 'unsubscribed']);
      expect(over.seen).toEqual([{ code: 'client-closed' }]);
      await client.until('\x88\x02\x03');
    });

    it('with a close frame, and reads nothing more, has its source stopped long before sendTimeout', async () => {
      const witness = new Recorder();
      const pushed = deferred();
      const app = await start(
        (stream) => {
          stream.open();
          for (let i = 0; i < 80; i++) {
            void stream.send('x'.repeat(100_000));
          }
          pushed.resolve();
          return until(witness);
        },
        { queue: { bytes: 100_000_000 } },
      );
      const client = await app.get('/feed', HANDSHAKE);
      await pushed.promise;
      client.socket.pause();

      client.send(masked(8, Buffer.from([0x03, 0xe8])));

      expect(await witness.count(2)).toEqual(['subscribed', 'unsubscribed']);
      expect(over.seen).toEqual([{ code: 'client-closed' }]);
    });

    it.each(['guard', 'handler'])('during an asynchronous %s is noticed', async (where) => {
      const entered = deferred();
      const go = deferred<boolean>();
      let called = 0;
      class Slow implements CanActivate {
        canActivate() {
          entered.resolve();
          return where === 'guard' ? go.promise : true;
        }
      }
      const ended = new Recorder();
      @Controller()
      class Feed {
        @Stream('feed')
        @UseGuards(Slow)
        async feed(@ConnectedStream() stream: StreamConnection) {
          called++;
          stream.signal.addEventListener('abort', () => ended.add(stream.signal.reason.code));
          ended.add(stream.state);
          await go.promise;
          return NEVER;
        }
      }
      const app = await launch(platform, { controllers: [Feed], options: { websocket: true } });
      const client = await app.get('/feed', HANDSHAKE);
      await entered.promise;

      const [socket] = await app.sockets.count(1);
      const gone = once(socket as Socket, 'close');
      client.disconnect();
      await gone;
      if (where === 'handler') {
        expect(await ended.count(2)).toEqual(['new', 'client-closed']);
      }
      go.resolve(true);
      await turns(10);

      expect([called, app.registry.size]).toEqual([where === 'guard' ? 0 : 1, 0]);
      expect(app.logs.of('error')).toEqual([]);
    });
  });

  it('closes the request and response of its upgrade when it is over, and not before', async () => {
    const seen = new Recorder();
    const app = await launch(platform, {
      controllers: [controllerOf(() => NEVER, { openDelay: 0 })],
      options: { websocket: true },
      configure: (nest) => {
        nest.use((request: IncomingMessage, response: ServerResponse, next: () => void) => {
          request.on('close', () => seen.add('request'));
          response.on('close', () => seen.add(`response ${response.statusCode}`));
          next();
        });
      },
    });
    const client = await WebSocketClient.open(app.url('/source'));
    await turns(10);
    expect(seen.seen).toEqual([]);

    client.socket.terminate();

    expect((await seen.count(2)).sort()).toEqual(['request', 'response 101']);
  });

  describe('whose client violates the protocol', () => {
    it.each([
      ['a frame that is not masked', '\x81\x01a', 1002],
      ['an unknown opcode', masked(3), 1002],
      ['text that is no UTF-8', masked(1, Buffer.from([0xff])), 1007],
      ['a message that is too large', masked(1, 'x'.repeat(101)), 1009],
      ['a message in too many fragments', masked(1, '', false) + masked(0, '', false).repeat(3), 1008],
      [
        'a fragment with too much between it and the next',
        masked(1, 'x', false) + masked(10, 'x'.repeat(125)).repeat(510),
        1008,
      ],
      ['a message that is too large in parts', masked(1, 'x'.repeat(60), false) + masked(0, 'x'.repeat(60)), 1009],
    ])('by %s is closed for it', async (_what, bytes, code) => {
      const app = await start(endless, { websocket: { maxPayload: 100, maxFragments: 3 } }, SOON);
      const client = await upgraded(app);

      client.send(bytes);

      await client.until(new RegExp(`\x88[^]${String.fromCharCode(code >> 8, code & 0xff)}`));
      expect(await over.count(1)).toEqual([{ code: 'client-closed', error: expect.any(Error) }]);
      expect(app.logs.of('warn')).toEqual([
        expect.stringMatching(/^warn Feed\.feed closed a WebSocket because of an error of its client: /),
      ]);
      expect(await app.text('/alive')).toBe('alive');
    });

    const half = masked(1, 'x'.repeat(20)).slice(0, 10);
    it.each([
      ['a message it never finishes', masked(1, 'x', false) + masked(10)],
      ['a message it finishes too slowly', masked(1, 'x', false) + masked(0, 'x', false).repeat(100)],
      ['a frame it never finishes', half],
      ['the first byte of a frame', half.slice(0, 1)],
    ])('by %s is closed 30 seconds later', async (_what, bytes) => {
      const app = await start(endless, { heartbeat: false }, SOON);
      const client = await upgraded(app);
      const [peer] = await app.sockets.count(1);
      const clock = useFakeClock(app.app);
      const before = peer?.bytesRead ?? 0;
      client.send(bytes);
      await eventually(() => peer?.bytesRead === before + bytes.length);

      await clock.advance(29_000);
      expect(over.seen).toEqual([]);
      await clock.advance(3_000);

      await client.until('\x88\x1b\x03\xf0the message took too long');
      expect(await over.count(1)).toEqual([{ code: 'client-closed', error: expect.any(Error) }]);
      clock.restore();
    });

    it('by sending much data before the response is dropped', async () => {
      const entered = deferred();
      const app = await start(() => {
        entered.resolve();
        return new Promise(() => undefined);
      });
      const client = await app.get('/feed', HANDSHAKE);
      await entered.promise;

      client.send(masked(1, 'x'.repeat(60_000)).repeat(2));

      await client.closed();
      expect(await over.count(1)).toEqual([{ code: 'client-closed' }]);
    });

    it('only by sending a message before the response is not closed, and the message is received', async () => {
      const app = await start(async function* (stream) {
        for await (const message of stream.messages) yield message;
      });
      const client = await app.connect();
      const lines = Object.entries(HANDSHAKE).map(([name, value]) => `${name}: ${value}\r\n`);

      client.send(`GET /feed HTTP/1.1\r\nHost: test\r\n${lines.join('')}\r\n${masked(1, 'early')}`);

      await client.until('\x81\x05early');
    });
  });

  describe('with pings', () => {
    it('sends them by the clock of the application, also by a fake clock of a test', async () => {
      const app = await start(endless, {}, SOON);
      const clock = useFakeClock(app.app);
      const client = await WebSocketClient.open(app.url('/feed'));
      const pinged = once(client.socket, 'ping');

      await clock.advance(20_000);
      await pinged;

      clock.restore();
    });

    it('sends them at the interval of its heartbeat, and stays open as long as they are answered', async () => {
      const app = await start(endless, { heartbeat: 100 }, SOON);
      const client = await WebSocketClient.open(app.url('/feed'));
      const pings = new Recorder<Buffer>();
      client.socket.on('ping', pings.add);

      expect((await pings.count(3)).map(String)).toEqual(['', '', '']);

      expect(over.seen).toEqual([]);
      client.socket.terminate();
    });

    it.each<[string, () => unknown]>([
      ['is silent', endless],
      ['is never silent', () => interval(10).pipe(map(() => 'x'))],
    ])('detects a half-open client on a stream that %s', async (_what, produce) => {
      const app = await start(produce, { heartbeat: 200 }, SOON);

      const client = await upgraded(app);
      await client.until('\x89\x00');
      const received = await client.closed();

      expect(received.split('\x89\x00').length).toBe(2);
      expect(await over.count(1)).toEqual([{ code: 'client-closed' }]);
      expect(app.logs.of('debug')).toEqual([expect.stringContaining('did not answer a ping')]);
    });

    it('accepts any frame of the client as an answer', async () => {
      const app = await start(endless, { heartbeat: 200 }, SOON);
      const client = await upgraded(app);
      for (let i = 1; i <= 3; i++) {
        await client.until(new RegExp(`(?:\x89\x00){${i}}`));
        client.send(masked(1, 'still here'));
      }

      expect(over.seen).toEqual([]);
    });

    it('accepts an answer also if the process reads it late', async () => {
      const app = await start(endless, { heartbeat: 100 }, SOON);
      const client = await upgraded(app);
      await client.until('\x89\0');

      client.send(masked(10));
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);

      await client.until(/(?:\x89\0){2}/);
      expect(over.seen).toEqual([]);
    });

    it('answers those of the client', async () => {
      const app = await start(endless, {}, SOON);
      const client = await upgraded(app);

      client.send(masked(9, 'abc'));

      await client.until('\x8a\x03abc');
    });

    it('does not answer a flood of them one by one if the client does not read the pongs', async () => {
      const app = await start(endless, {}, SOON);
      const client = await upgraded(app);
      client.socket.pause();
      const [socket] = await app.sockets.count(1);
      const flood = masked(9, 'x'.repeat(125)).repeat(500);

      // Until the pongs fill all buffers between the two.
      let sent = 0;
      while (sent < 60_000_000) {
        sent += flood.length;
        if (!client.socket.write(flood, 'latin1')) {
          await Promise.race([once(client.socket, 'drain'), new Promise((resolve) => setTimeout(resolve, 2_000))]);
        }
      }

      expect(socket?.writableLength).toBeLessThan(64_000);
      expect(await app.text('/alive')).toBe('alive');
    }, 60_000);
  });

  describe('messages', () => {
    it('that arrive slowly, after a pause, or that wait to be read do not count as too slow', async () => {
      const app = await start(
        async function* (stream) {
          const messages = stream.messages[Symbol.asyncIterator]();
          yield (await messages.next()).value;
          yield (await messages.next()).value;
          await new Promise(() => undefined);
        },
        { heartbeat: false, websocket: { maxPayload: 1_000_000, messages: { items: 1 } } },
      );
      const client = await app.get('/feed', HANDSHAKE);
      await client.until('\r\n\r\n');
      const [peer] = await app.sockets.count(1);
      const clock = useFakeClock(app.app);
      const send = async (bytes: string): Promise<void> => {
        const before = peer?.bytesRead ?? 0;
        client.send(bytes);
        await eventually(() => peer?.bytesRead === before + bytes.length);
      };
      await clock.advance(100_000);

      // 4 KiB each second, and then 90 seconds in which the message before is not read.
      await send(masked(1, '', false));
      for (let i = 0; i < 60; i++) {
        await send(masked(0, 'x'.repeat(4_096), false));
        await clock.advance(1_000);
      }
      await send(masked(0) + masked(1, 'second') + masked(1, 'third') + masked(1, 'fourth') + masked(1, '', false));
      await client.until('second');
      await clock.advance(90_000);

      expect(over.seen).toEqual([]);
      clock.restore();
    });

    it('that are not read are dropped, with one warning', async () => {
      @Controller()
      class Deaf {
        @Stream('deaf', SOON)
        deaf() {
          return NEVER;
        }
      }
      const app = await launch(platform, { controllers: [Deaf], options: { websocket: true } });
      const client = await WebSocketClient.open(app.url('/deaf'));

      for (let i = 0; i < 1_000; i++) {
        client.socket.send('x'.repeat(1_000));
      }
      client.socket.ping();
      await once(client.socket, 'pong');

      expect(app.logs.of('debug')).toEqual([expect.stringContaining('stream.messages is not read')]);
      client.socket.terminate();
    });

    it('do not pause their client if the property stream.messages is only read', async () => {
      const app = await start(
        (stream) => {
          expect(stream.messages).toBeDefined();
          void stream.send('open');
        },
        { websocket: { messages: { items: 1 } } },
      );
      const client = await WebSocketClient.open(app.url('/feed'));

      for (let i = 0; i < 100; i++) {
        client.socket.send('x'.repeat(1_000));
      }
      client.socket.ping();
      await once(client.socket, 'pong');

      client.socket.close();
      expect(await over.count(1)).toMatchObject([{ code: 'client-closed' }]);
    });

    it('that wait to be read pause their client, and are all read in the end', async () => {
      const go = deferred();
      const held = deferred<AsyncIterator<string | Uint8Array>>();
      const seen: number[] = [];
      const app = await start(
        async function* (stream) {
          const messages = stream.messages[Symbol.asyncIterator]();
          yield 'open';
          held.resolve(messages);
          await go.promise;
          for (let i = 0; i < 2_000; i++) {
            seen.push(Number.parseInt(String((await messages.next()).value), 10));
          }
          yield 'done';
        },
        { websocket: { messages: { items: 10, bytes: 100_000 } }, heartbeat: 50 },
      );
      const client = await WebSocketClient.open(app.url('/feed'));
      await held.promise;

      for (let i = 0; i < 2_000; i++) {
        client.socket.send(String(i).padEnd(10_000));
      }
      const waiting = await untilStable(() => client.socket.bufferedAmount);
      expect(waiting).toBeGreaterThan(1_000_000);
      const [socket] = await app.sockets.count(1);
      expect(socket?.isPaused()).toBe(true);
      // Pings remain unanswered in the meantime, because the server does not read.
      expect(over.seen).toEqual([]);
      go.resolve();

      expect((await client.messages.count(2))[1]).toBe('done');
      expect(seen).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
    }, 60_000);

    it('end with the stream, after those that arrived before', async () => {
      const seen = new Recorder();
      const app = await start((stream) => {
        void (async () => {
          for await (const message of stream.messages) {
            seen.add(String(message));
          }
          seen.add('end');
        })();
      });
      const client = await WebSocketClient.open(app.url('/feed'));

      client.socket.send('a');
      client.socket.send('b');
      client.socket.close();

      expect(await seen.count(3)).toEqual(['a', 'b', 'end']);
    });

    it('end with the stream, also if its client continues to send and does not answer the close', async () => {
      const seen = new Recorder();
      const opened = deferred<StreamConnection>();
      const app = await start((stream) => {
        void (async () => {
          for await (const message of stream.messages) {
            seen.add(String(message));
          }
          seen.add('end');
        })();
        opened.resolve(stream);
      });
      const client = await upgraded(app);
      client.send(masked(1, 'a'));
      await seen.count(1);

      await (await opened.promise).close();
      client.send(masked(1, 'late'));

      expect(await seen.count(2)).toEqual(['a', 'end']);
      client.send(masked(8, Buffer.from([0x03, 0xe8])));
      await client.closed();
      expect(seen.seen).toEqual(['a', 'end']);
      expect(app.logs.of('debug')).toEqual([]);
    });

    it('whose client was paused do not prevent that its close frame ends the stream', async () => {
      const done = deferred();
      const app = await start(
        async function* (stream) {
          const messages = stream.messages[Symbol.asyncIterator]();
          yield (await messages.next()).value;
          await done.promise;
        },
        { websocket: { messages: { items: 1 } } },
      );
      const client = await upgraded(app);
      const [socket] = await app.sockets.count(1);
      client.send(masked(1, 'a') + masked(1, 'b') + masked(1, 'c'));
      await client.until('\x81\x01a');
      await turns();
      expect(socket?.isPaused()).toBe(true);

      done.resolve();
      await client.until('completed');
      client.send(masked(8, Buffer.from([0x03, 0xe8])));
      const since = performance.now();
      await client.closed();

      // The server has read the close frame, and has not only timed out.
      expect(performance.now() - since).toBeLessThan(4_000);
    }, 60_000);

    it('have no element over HTTP', async () => {
      const app = await start(async function* (stream) {
        for await (const message of stream.messages) yield message;
        yield 'none';
      });

      expect(await app.text('/feed')).toBe('none');
    });

    it('can be iterated once, however often the property is read', async () => {
      const app = await start(async function* (stream) {
        const { messages } = stream;
        stream.messages;
        messages[Symbol.asyncIterator]();
        yield 'once';
        stream.messages[Symbol.asyncIterator]();
      });

      const client = await WebSocketClient.open(app.url('/feed'));

      expect((await client.all())[0]).toBe('once');
      expect(app.logs.of('error')).toEqual([expect.stringContaining('can be iterated only once')]);
    });
  });

  it('runs the hooks of a stream in order, and sends their chunks', async () => {
    const calls: string[] = [];
    const app = await start(() => ['a'], {
      hooks: {
        onOpen: (stream) => {
          calls.push('onOpen');
          void stream.send('hello');
        },
        beforeChunk: (chunk) => {
          calls.push(`beforeChunk ${String(chunk)}`);
          return `${String(chunk)}!`;
        },
        beforeClose: (stream) => {
          calls.push('beforeClose');
          void stream.send('bye');
        },
        onClose: (_stream, { code }) => void calls.push(`onClose ${code}`),
      },
    });

    const client = await WebSocketClient.open(app.url('/feed'));

    expect(await client.all()).toEqual(['hello!', 'a!', 'bye!']);
    await over.count(1);
    expect(calls).toEqual([
      'onOpen',
      'beforeChunk hello',
      'beforeChunk a',
      'beforeClose',
      'beforeChunk bye',
      'onClose completed',
    ]);
  });

  it('is served while 1000 upgrades are half-open or have unfinished handshakes', async () => {
    const entered = new Recorder();
    const app = await start(
      () => {
        entered.add('');
        return new Promise(() => undefined);
      },
      { openDelay: 'first-chunk' },
    );
    const unfinished = await Promise.all(Array.from({ length: 50 }, () => app.connect()));
    for (const client of unfinished) {
      client.send('GET /feed HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upg');
    }

    const halfOpen = await Promise.all(Array.from({ length: 1_000 }, () => app.get('/feed', HANDSHAKE)));
    await entered.count(1_000);

    expect(app.registry.size).toBe(1_000);
    expect(await app.text('/alive')).toBe('alive');
    for (const client of halfOpen) {
      client.disconnect();
    }
    await over.count(1_000);
    expect(app.registry.size).toBe(0);
    const server = app.app.getHttpServer() as Server;
    for (const client of unfinished) {
      client.disconnect();
    }
    expect(server.listening).toBe(true);
  }, 60_000);
});
