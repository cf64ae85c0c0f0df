import { once } from 'node:events';
import { Controller } from '@nestjs/common';
import { Observable } from 'rxjs';
import {
  ConnectedStream,
  type Hub,
  InjectHub,
  Sse,
  Stream,
  type StreamConnection,
  StreamingModule,
} from '../../lib/index.js';
import { deferred, Recorder } from '../support/events.js';
import { useSessions } from '../support/http2-client.js';
import { hubOf, joined } from '../support/hub.js';
import { turns, untilStable, useApps } from '../support/running.js';

const KIB_64 = 65_536;
const NEVER = new Promise<never>(() => undefined);
const fastify = { http2: true as const };

describe('HTTP/2: a client', () => {
  const session = useSessions();
  const start = useApps();

  it('that reads nothing of one stream pauses the source of that stream, and of no other', async () => {
    let pulled = 0;
    const streams: StreamConnection[] = [];
    @Controller()
    class Feed {
      @Stream('large', { format: 'bytes' })
      *large(@ConnectedStream() stream: StreamConnection) {
        streams.push(stream);
        for (let i = 0; i < 64; i++) {
          pulled++;
          yield Buffer.alloc(KIB_64, 'x');
        }
      }

      @Stream('neighbour', { format: 'bytes' })
      *neighbour() {
        for (let i = 0; i < 64; i++) {
          yield Buffer.alloc(KIB_64, 'y');
        }
      }
    }
    const { port } = await start('fastify', { fastify, controllers: [Feed] });
    const http2 = await session(port);
    const stuck = http2.get('/large');
    stuck.stream.pause();
    await stuck.head();

    const neighbour = http2.get('/neighbour');
    await neighbour.closed();
    const stopped = await untilStable(() => pulled);
    const waiting = streams[0]?.bufferedAmount ?? 0;
    stuck.stream.resume();
    await stuck.closed();

    expect(neighbour.received).toHaveLength(64 * KIB_64);
    expect(stopped).toBeLessThan(8);
    expect(waiting).toBeGreaterThan(0);
    expect(waiting).toBeLessThan(4 * KIB_64);
    expect(pulled).toBe(64);
    expect(stuck.received).toHaveLength(64 * KIB_64);
    expect(stuck.complete).toBe(true);
  });

  it('that opens no window loses that stream after the send timeout, and its other streams continue', async () => {
    const seen = new Recorder();
    const gate = deferred();
    @Controller()
    class Feed {
      @Stream('large', { format: 'bytes', sendTimeout: 80 })
      *large() {
        for (;;) {
          yield Buffer.alloc(KIB_64, 'x');
        }
      }

      @Stream('whole', { format: 'bytes', sendTimeout: 80 })
      whole() {
        return [Buffer.alloc(4 * KIB_64, 'x')];
      }

      @Stream('neighbour')
      async *neighbour() {
        yield 'first';
        await gate.promise;
        yield 'last';
      }
    }
    const onClose = (stream: StreamConnection, { code }: { code: string }) => seen.add(`${stream.route} ${code}`);
    const { port, registry } = await start('fastify', {
      fastify,
      controllers: [Feed],
      options: { hooks: { onClose } },
    });
    const http2 = await session(port);
    const neighbour = http2.get('/neighbour');
    await neighbour.until('first');
    const stuck = [http2.get('/large'), http2.get('/whole')];
    for (const { stream } of stuck) {
      stream.pause();
    }

    await seen.count(2);
    for (const { stream } of stuck) {
      stream.resume();
    }
    await Promise.all(stuck.map((reply) => reply.closed()));
    gate.resolve();
    await neighbour.closed();

    expect(seen.seen.slice(0, 2).sort()).toEqual(['Feed.large send-timeout', 'Feed.whole send-timeout']);
    for (const reply of stuck) {
      expect(reply).toMatchObject({ complete: false, error: { code: 'ERR_HTTP2_STREAM_ERROR' } });
    }
    expect(neighbour).toMatchObject({ received: 'firstlast', complete: true });
    expect(registry.size).toBe(0);
  });

  it('that opens its window late receives the whole body, and the stream is over only after that', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      @Stream('feed')
      feed() {
        return ['all', 'of it'];
      }
    }
    const onClose = (_stream: StreamConnection, { code }: { code: string }) => seen.add(code);
    const { port } = await start('fastify', { fastify, controllers: [Feed], options: { hooks: { onClose } } });
    const http2 = await session(port, { settings: { initialWindowSize: 0 } });
    const reply = http2.get('/feed');
    await reply.head();
    await turns();
    expect(seen.seen).toEqual([]);

    http2.session.settings({ initialWindowSize: KIB_64 });
    await reply.closed();

    expect(reply).toMatchObject({ received: 'allof it', complete: true });
    expect(await seen.count(1)).toEqual(['completed']);
  });

  it('that opens its window late receives all of a body that is cut off, before it is cut off', async () => {
    @Controller()
    class Feed {
      @Sse('feed')
      async *feed() {
        yield 'x';
        await Promise.resolve();
        throw new Error('broken');
      }
    }
    const { port } = await start('fastify', { fastify, controllers: [Feed] });
    const http2 = await session(port, { settings: { initialWindowSize: 0 } });
    const reply = http2.get('/feed');
    await reply.head();
    await untilStable(() => Number(reply.stream.closed), 200);
    expect(reply.stream.closed).toBe(false);

    http2.session.settings({ initialWindowSize: KIB_64 });
    await reply.closed();

    expect(reply.received).toMatch(/^data: x\n\nevent: error\ndata: .*\n\n$/);
    expect(reply).toMatchObject({ complete: false, error: { code: 'ERR_HTTP2_STREAM_ERROR' } });
  });

  it('that is too slow for a pushed stream loses that stream, and its other streams continue', async () => {
    const seen = new Recorder();
    @Controller()
    class Feed {
      constructor(@InjectHub('feed') private readonly hub: Hub<string>) {}

      @Stream('pushed', { format: 'text', queue: { items: 100, bytes: KIB_64 } })
      pushed() {
        return new Observable<string>((subscriber) => {
          const push = () => {
            subscriber.next('x'.repeat(16_384));
            if (!subscriber.closed) {
              setImmediate(push);
            }
          };
          push();
        });
      }

      @Sse('feed')
      feed() {
        return this.hub.subscribe({ queue: { bytes: KIB_64 } });
      }
    }
    const onClose = (stream: StreamConnection, { code }: { code: string }) => seen.add(`${stream.route} ${code}`);
    const { port, app } = await start('fastify', {
      fastify,
      controllers: [Feed],
      imports: [StreamingModule.registerHub({ name: 'feed' })],
      options: { hooks: { onClose } },
    });
    const hub = hubOf<string>({ app });
    const http2 = await session(port);
    const [pushed, slow, quick] = [http2.get('/pushed'), http2.get('/feed'), http2.get('/feed')];
    pushed.stream.pause();
    slow.stream.pause();
    await joined(hub, 2);

    let published = 0;
    while (hub.size() === 2) {
      await hub.publish(`${++published} ${'x'.repeat(16_384)}`);
      await quick.until(`data: ${published} `);
    }
    await seen.count(2);
    await hub.publish('last');
    await quick.until('data: last\n\n');

    expect(seen.seen.sort()).toEqual(['Feed.feed slow-consumer', 'Feed.pushed slow-consumer']);
    const numbers = [...quick.received.matchAll(/^data: (\d+) /gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: published }, (_, i) => i + 1));
  });

  it('of a silent stream without heartbeats in its format receives a PING instead', async () => {
    @Controller()
    class Feed {
      @Stream('feed', { format: ['text', 'sse'] })
      async *feed() {
        yield 'x';
        await NEVER;
      }
    }
    const { port, registry } = await start('fastify', { fastify, controllers: [Feed], options: { heartbeat: 20 } });
    const http2 = await session(port);
    const replies = [http2.get('/feed'), http2.get('/feed')];

    await once(http2.session, 'ping');
    await once(http2.session, 'ping');

    expect(replies.map(({ received }) => received)).toEqual(['x', 'x']);
    expect(registry.size).toBe(2);
  });
});
