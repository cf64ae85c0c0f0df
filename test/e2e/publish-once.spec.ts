import { type BrokerEntry, type BrokerPosition, MemoryBroker } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { dataOf, joined, SSE } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';

const { jest } = import.meta;
const start = useHubApps();

/** A broker that appends an entry, and whose answer is lost when `fails` is set. */
class Unsure extends MemoryBroker {
  fails = false;

  override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    const position = await super.append(log, entry);
    if (this.fails) {
      this.fails = false;
      throw new Error('the answer was lost');
    }
    return position;
  }
}

/** A broker without `onceWindow`. */
class Plain extends MemoryBroker {
  declare readonly onceWindow: never;

  constructor() {
    super();
    Object.defineProperty(this, 'onceWindow', { value: undefined });
  }
}

describe.each(PLATFORMS)('%s: publish() with "once"', (platform) => {
  it('publishes one event for a caller that publishes it again after an error', async () => {
    const broker = new Unsure();
    const { get, hub } = await start(platform, [Feed], { hub: { broker } });
    const client = await get('/returned', SSE);
    await joined(hub, 1);

    broker.fails = true;
    await expect(hub.publish('paid', { once: 'order 7' })).rejects.toThrow('the answer was lost');
    const id = await hub.publish('paid', { once: 'order 7' });
    await hub.publish('end');
    await client.until('data: end\n\n');

    expect(dataOf(client.body)).toEqual(['paid', 'end']);
    expect(client.body).toContain(`id: ${id}\ndata: paid\n\n`);
  });

  it('publishes events with other values, and with the same value in another hub', async () => {
    const broker = new MemoryBroker();
    const { get, hub } = await start(platform, [Feed], { hub: { broker } });
    await broker.open('other', { limit: 10, ttl: 1_000 });
    const client = await get('/returned', SSE);
    await joined(hub, 1);

    const ids = [await hub.publish(1, { once: 'a' }), await hub.publish(2, { once: 'b' }), await hub.publish(3)];
    await broker.append('other', { data: '1', encoding: 'json', once: 'a' });
    await client.until('data: 3\n\n');

    expect(new Set(ids).size).toBe(3);
    expect(dataOf(client.body)).toEqual(['1', '2', '3']);
    expect(await broker.read('other', 0, 10)).toEqual([
      { data: '1', encoding: 'json', epoch: expect.any(String), offset: 1, time: expect.any(Number) },
    ]);
  });

  it('publishes the event again after 2 minutes', async () => {
    const { hub } = await start(platform, [Feed]);
    const first = await hub.publish(1, { once: 'a' });
    const now = Date.now();
    const clock = jest.spyOn(Date, 'now');
    try {
      clock.mockReturnValue(now + 119_000);
      expect(await hub.publish(1, { once: 'a' })).toBe(first);
      clock.mockReturnValue(now + 121_000);
      expect(await hub.publish(1, { once: 'a' })).not.toBe(first);
    } finally {
      clock.mockRestore();
    }
  });

  it('is refused if the broker of the hub cannot do it', async () => {
    const { hub } = await start(platform, [Feed], { hub: { broker: new Plain() } });

    await expect(hub.publish(1, { once: 'a' })).rejects.toMatchObject({
      code: 'invalid-option',
      message: 'publish() to the hub "feed": its broker has no "onceWindow", so it cannot publish an event "once"',
    });
    await hub.publish(1);
  });
});
