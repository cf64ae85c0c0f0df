import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  type Broker,
  getHubToken,
  type Hub,
  type HubOptions,
  MemoryBroker,
  StreamError,
  StreamingModule,
} from '../../lib/index.js';
import { SharedStore } from '../contract/shared-store.js';
import { PLATFORMS } from '../support/app.js';
import { deferred } from '../support/events.js';
import { eventsOf, joined, SSE } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { RemoteBroker } from '../support/remote-broker.js';

const start = useHubApps();

/** A worker: a process without HTTP. */
async function startWorker(broker: Broker, options: Partial<HubOptions> = { role: 'publisher' }) {
  @Module({ imports: [StreamingModule.forRoot({ broker }), StreamingModule.registerHub({ name: 'feed', ...options })] })
  class WorkerModule {}
  const app = await NestFactory.createApplicationContext(WorkerModule, { logger: false });
  return { app, hub: app.get<Hub>(getHubToken('feed')) };
}

describe.each(PLATFORMS)('%s: a worker with a hub whose role is "publisher"', (platform) => {
  it('publishes to the clients of another process, receives nothing, and closes without waiting', async () => {
    const store = new SharedStore();
    const server = await start(platform, [Feed], { hub: { broker: new RemoteBroker(store) } });
    const client = await server.get('/returned', SSE);
    await joined(server.hub, 1);
    const broker = new RemoteBroker(store);
    const { app, hub } = await startWorker(broker);

    const id = await hub.publish({ n: 1 });
    await client.until('{"n":1}\n\n');
    const last = hub.publish({ n: 2 });
    await app.close();
    await client.until('{"n":2}\n\n');

    expect(eventsOf(client.body)).toEqual([
      { id, data: '{"n":1}' },
      { id: await last, data: '{"n":2}' },
    ]);
    expect([broker.tails, broker.reads, hub.size(), hub.topics, hub.log]).toEqual([
      0,
      0,
      0,
      [],
      { received: 0, kept: 0 },
    ]);
  });
});

describe('A hub whose role is "publisher"', () => {
  it('throws for subscribe(), and says what to do', async () => {
    const { app, hub } = await startWorker(new MemoryBroker());

    for (const options of [{}, { after: 'x' }, { last: 5 }]) {
      expect(() => hub.subscribe(options)).toThrow(
        expect.objectContaining({
          code: 'invalid-option',
          message: expect.stringContaining('Leave "role" out to subscribe'),
        }),
      );
    }
    await app.close();
  });

  it.each<[Partial<HubOptions>, string]>([
    [{ role: 'subscriber' } as never, '"role" must be one of "publisher", not "subscriber"'],
    [{ role: true } as never, '"role" must be one of "publisher"'],
    [{ role: 'publisher', overflow: 'latest' }, '"overflow" and "queue" are options of subscribers'],
    [{ role: 'publisher', queue: { items: 5 } }, '"overflow" and "queue" are options of subscribers'],
  ])('is refused at start-up with %j', (options, problem) => {
    expect(() => StreamingModule.registerHub({ name: 'feed', ...options })).toThrow(problem);
  });
});

describe('publish()', () => {
  it.each(['broker-unavailable', 'publish-unknown', 'broker-busy'] as const)(
    'rejects with the error of the broker, unchanged: %s; and the hub counts it',
    async (code) => {
      const error = new StreamError(code, 'The store is away', { statusCode: 503 });
      const gate = deferred();
      class Failing extends MemoryBroker {
        override async append(): Promise<never> {
          await gate.promise;
          throw error;
        }
      }
      const { app, hub } = await startWorker(new Failing(), {});

      const published = Promise.allSettled([hub.publish(1), hub.publish(2)]);
      await Promise.resolve();
      expect([hub.appends.pending, hub.appends.failed]).toEqual([2, 0]);
      gate.resolve();

      expect(await published).toEqual(Array(2).fill({ status: 'rejected', reason: error }));
      expect([hub.appends.pending, hub.appends.failed, hub.published]).toEqual([0, 2, 0]);
      await app.close();
    },
  );
});
