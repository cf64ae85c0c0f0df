import { AsyncLocalStorage } from 'node:async_hooks';
import { Controller, type INestApplication } from '@nestjs/common';
import { Hub, InjectHub, LastEventId, Stream } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { joined, range } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { turns } from '../support/running.js';

const start = useHubApps();

describe.each(PLATFORMS)('%s: a filter', (platform) => {
  it('runs in the AsyncLocalStorage context of its subscriber, whoever publishes', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    @Controller()
    class Filtered {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Stream('filtered', { format: 'ndjson' })
      filtered(@LastEventId() after?: string) {
        return this.hub.subscribe({
          after,
          filter: ({ data }) => {
            seen.push([data, context.getStore()]);
            return true;
          },
        });
      }
    }
    const { get, hub } = await start(platform, [Filtered], {
      configure: (app: INestApplication) => {
        app.use((_request: unknown, _response: unknown, next: () => void) => context.run('subscriber', next));
      },
    });
    const id = await hub.publish(0);
    await context.run('publisher', () => hub.publish('missed'));
    const client = await get('/filtered', { 'Last-Event-ID': id });
    await client.until('"missed"\n');
    await joined(hub, 1);

    await context.run('publisher', () => hub.publish('live'));
    await client.until('"live"\n');

    expect(seen).toEqual([
      ['missed', 'subscriber'],
      ['live', 'subscriber'],
    ]);
  });

  it('that is slow does not block the event loop until all subscribers have received an event', async () => {
    const { hub } = await start(platform, [Feed]);
    const order: string[] = [];
    const iterators = range(1, 64).map(() =>
      hub
        .subscribe({
          filter: () => {
            order.push('filter');
            const end = performance.now() + 1;
            while (performance.now() < end) {
              // It is busy.
            }
            return true;
          },
        })
        [Symbol.asyncIterator](),
    );
    const firstEvents = Promise.all(iterators.map((iterator) => iterator.next()));
    await turns(3);

    await hub.publish(1);
    const others = (async () => {
      while (order.filter((what) => what === 'filter').length < 64) {
        await turns(1);
        order.push('turn');
      }
    })();
    await Promise.all([firstEvents, others]);

    const first = order.indexOf('filter');
    const last = order.lastIndexOf('filter');
    expect(order.slice(first, last)).toContain('turn');
    expect((await firstEvents).map(({ value }) => value?.data)).toEqual(Array(64).fill(1));
    await Promise.all(iterators.map((iterator) => iterator.return?.()));
  });
});
