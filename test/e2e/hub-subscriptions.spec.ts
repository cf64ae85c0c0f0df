import { getEventListeners } from 'node:events';
import { Controller } from '@nestjs/common';
import { Hub, type HubSubscription, InjectHub, LastEventId, Sse } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { range } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { turns } from '../support/running.js';

const start = useHubApps();

describe.each(PLATFORMS)('%s: a subscription that a listener of hub.presence closes', (platform) => {
  it.each([undefined, 'gone'])('is over, and receives no more events (Last-Event-ID: %p)', async (id) => {
    const asked: unknown[] = [];
    let last: HubSubscription | undefined;
    @Controller()
    class Watched {
      constructor(@InjectHub('feed') readonly hub: Hub) {}

      @Sse('watched')
      watched(@LastEventId() after?: string) {
        last = this.hub.subscribe({ after, filter: ({ data }) => asked.push(data) > 0 });
        return last;
      }
    }
    const { get, hub, registry } = await start(platform, [Watched]);
    const sizes: number[] = [];
    hub.presence.subscribe(({ type, size }) => {
      sizes.push(size);
      if (type === 'subscribe') {
        last?.close();
      }
    });

    const client = await get('/watched', id === undefined ? {} : { 'Last-Event-ID': id });
    await client.until(/\r\n0\r\n\r\n|content-length/i);
    await hub.publish('no client receives it');
    await turns(5);

    expect(asked).toEqual([]);
    expect(sizes).toEqual([1, 0]);
    expect([hub.size(), registry.size]).toEqual([0, 0]);
    expect(client.body).not.toContain('event: reset');
  });
});

describe('A subscription with a signal', () => {
  it('listens to the signal only while it is being read', async () => {
    const { hub } = await start('express', [Feed]);
    const controller = new AbortController();
    const { signal } = controller;

    const subscriptions = range(1, 12).map(() => hub.subscribe({ signal }));

    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    const iterators = subscriptions.slice(0, 2).map((subscription) => subscription[Symbol.asyncIterator]());
    expect(getEventListeners(signal, 'abort')).toHaveLength(2);
    await iterators[0]?.return?.();
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    const first = iterators[1]?.next();
    controller.abort();
    expect(await first).toEqual({ done: true, value: undefined });
    // One that is taken up only now is over at once.
    expect(await subscriptions[2]?.[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined });
    expect(hub.size()).toBe(0);
  });
});
