import type { ServerResponse } from 'node:http';
import { Controller, Res } from '@nestjs/common';
import {
  ConnectedStream,
  Hub,
  type HubEvent,
  InjectHub,
  LastEventId,
  Sse,
  Stream,
  type StreamConnection,
} from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { dataOf, joined, publishAll, range, recordsOf, SSE } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import type { RawClient } from '../support/raw-client.js';
import { turns } from '../support/running.js';

const start = useHubApps();

/** Waits until a client has received a number of further bytes, and then pauses it. */
async function readSome({ socket }: RawClient, bytes: number): Promise<void> {
  const goal = socket.bytesRead + bytes;
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (socket.bytesRead >= goal || socket.destroyed) {
        socket.off('data', look);
        socket.off('close', look);
        socket.pause();
        resolve();
      }
    };
    socket.on('data', look);
    socket.on('close', look);
    socket.resume();
  });
}

// On Express, headers cannot be set after that: it fails, and is logged.
describe('fastify: a handler that sends the head itself', () => {
  it('and returns a subscription causes the head to be sent before the first event, also before the history', async () => {
    @Controller()
    class Raw {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('raw')
      raw(@LastEventId() after: string, @Res({ passthrough: true }) reply: { raw: ServerResponse }) {
        reply.raw.writeHead(200, { 'content-type': 'text/event-stream', 'x-own': '1' });
        return this.hub.subscribe({ after });
      }
    }
    const { get, hub } = await start('fastify', [Raw]);
    const ids = await publishAll(hub, ['had', 'missed']);

    const client = await get('/raw', { 'Last-Event-ID': ids[0] ?? '' });
    await client.until('data: missed\n\n');
    const last = await hub.publish('live');
    await client.until('data: live\n\n');

    expect(client.received).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
    expect(client.head).toContain('x-own: 1\r\n');
    expect(client.body).toBe(`id: ${ids[1]}\ndata: missed\n\nid: ${last}\ndata: live\n\n`);
  });
});

describe.each(PLATFORMS)('%s: one large event', (platform) => {
  it('reaches a client that reads it slowly but steadily, however long that takes', async () => {
    const { get, hub, registry, logs } = await start(platform, [Feed], { options: { sendTimeout: 60_000 } });
    const client = await get('/returned', SSE);
    await client.until('id: ');
    await joined(hub, 1);
    // The test advances the clock.
    registry.clock.stop();
    let now = registry.clock.now();
    const pass = (ms: number): void => {
      now += ms;
      Reflect.set(registry.clock, 'time', now);
      for (const stream of registry.open) {
        stream.tick(now, now, 0, 0);
      }
    };
    pass(0);
    client.socket.pause();

    const large = 'x'.repeat(32 * 1024 * 1024);
    await hub.publish(large);
    await turns(20);
    while (client.socket.bytesRead < 20 * 1024 * 1024 && !client.socket.destroyed) {
      await readSome(client, 3 * 1024 * 1024);
      await turns(20);
      pass(40_000);
    }
    client.socket.resume();
    const closing = hub.close();
    await client.until(/\r\n0\r\n\r\n$/);
    await closing;

    const [, data] = recordsOf(client.body);
    expect(data?.data?.length).toBe(large.length);
    expect(logs.of('warn')).toEqual([]);
  }, 60_000);
});

describe.each(PLATFORMS)('%s: a stream of a hub', (platform) => {
  it('that its own hook closes in the middle of many events ends cleanly, and is not reported as slow', async () => {
    const received: unknown[] = [];
    const codes: string[] = [];
    @Controller()
    class Closing {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('closing')
      closing(@ConnectedStream() stream: StreamConnection) {
        stream.hooks({
          beforeChunk: (chunk) => {
            const { data } = chunk as HubEvent;
            received.push(data);
            if (data === 3) {
              void stream.close();
            }
            return chunk;
          },
          onClose: (_, { code }) => codes.push(code),
        });
        return this.hub.subscribe();
      }
    }
    const { get, hub, logs } = await start(platform, [Closing]);
    const client = await get('/closing');
    await joined(hub, 1);

    await publishAll(hub, range(1, 2_000));
    await Promise.race([client.until('\r\n0\r\n\r\n'), client.closed()]);

    expect(client.complete).toBe(true);
    expect(dataOf(client.body).slice(0, 2)).toEqual(['1', '2']);
    expect(received).toEqual([1, 2, 3]);
    expect([logs.of('warn'), logs.of('error'), hub.size()]).toEqual([[], [], 0]);
    expect(codes).toHaveLength(1);
  });

  it.each([
    ['each', 'each', ['one', 'two', 'three']],
    ['by bytes', { bytes: 60, ms: 60_000 }, ['one', 'two', 'three', 'x'.repeat(60)]],
  ] as const)('is flushed by the policy of its route: %s', async (_how, flush, values) => {
    @Controller()
    class Flushed {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('flushed', { format: 'ndjson', flush: flush as 'each' })
      flushed() {
        return this.hub.subscribe();
      }
    }
    const { get, hub } = await start(platform, [Flushed]);
    const client = await get('/flushed');
    await joined(hub, 1);
    await client.until('\r\n\r\n');

    for (const value of values) {
      void hub.publish(value);
      if (flush !== 'each') {
        await turns(5);
      }
    }
    const lines = values.map((value) => `"${value}"\n`);
    await client.until(lines.at(-1) ?? '');

    expect(client.frames).toEqual(flush === 'each' ? lines : [lines.join('')]);
  });

  it.each([
    ['the newest', { last: 3 }, ['3', '4', '5']],
    ['more than there are', { last: Infinity }, ['3', '4', '5']],
  ])(
    'that begins with %s sends no reset if these events are evicted before the client reads',
    async (_how, options, expected) => {
      @Controller()
      class Late {
        constructor(@InjectHub('feed') readonly hub: Hub) {}

        @Sse('late')
        async late() {
          const subscription = this.hub.subscribe(options);
          await publishAll(this.hub, [4, 5]);
          await turns(5);
          return subscription;
        }
      }
      const { get, hub } = await start(platform, [Late], { hub: { history: { limit: 3 } } });
      const ids = await publishAll(hub, [1, 2, 3]);

      const client = await get('/late');
      await client.until('data: 5\n\n');

      const [mark, ...events] = recordsOf(client.body);
      expect(mark).toEqual({ event: 'position', id: ids[1], data: '{}' });
      expect(events.map(({ event, data }) => event ?? data)).toEqual(expected);
    },
  );
});
