import { type Broker, type BrokerPosition, type BrokerRecord } from '../../lib/index.js';
import { PLATFORMS } from '../support/app.js';
import { eventsOf, joined, publishAll, recordsOf, SSE } from '../support/hub.js';
import { Feed, useHubApps } from '../support/hub-feed.js';
import { turns } from '../support/running.js';

const start = useHubApps();

/** A broker whose server loses its log and begins a new one, while this process stays connected. */
class Losing implements Broker {
  private readonly logs = new Map<string, BrokerRecord[]>();
  private epoch = 'first';
  private readonly listeners = new Map<string, (records: readonly BrokerRecord[]) => void>();

  async open(log: string): Promise<void> {
    this.logs.set(log, []);
  }

  async append(log: string, entry: Parameters<Broker['append']>[1]): Promise<BrokerPosition> {
    const records = this.recordsOf(log);
    const record = { ...entry, epoch: this.epoch, offset: records.length + 1, time: Date.now() };
    records.push(record);
    this.listeners.get(log)?.([record]);
    return record;
  }

  async tail(log: string, listener: (records: readonly BrokerRecord[]) => void) {
    this.listeners.set(log, listener);
    return { epoch: this.epoch, offset: this.recordsOf(log).length, stop: () => undefined };
  }

  async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return this.recordsOf(log).slice(after, after + count);
  }

  async close(): Promise<void> {
    this.logs.clear();
  }

  lose(epoch: string): void {
    this.epoch = epoch;
    for (const log of this.logs.keys()) {
      this.logs.set(log, []);
    }
  }

  private recordsOf(log: string): BrokerRecord[] {
    return this.logs.get(log) ?? [];
  }
}

describe.each(PLATFORMS)('%s: a client of a log that is replaced while the application runs', (platform) => {
  async function begunAnew() {
    const broker = new Losing();
    const app = await start(platform, [Feed], { hub: { broker } });
    const old = await app.hub.publish('old');
    const live = await app.get('/returned', SSE);
    await joined(app.hub, 1);
    broker.lose('second');
    const ids = await publishAll(app.hub, ['one', 'two']);
    await live.until('data: two\n\n');
    return { ...app, old, live, ids };
  }

  it.each(['/returned', '/iterated'])('is sent one reset, from whose id it can resume: %s', async (path) => {
    const { get, hub, old, live, ids } = await begunAnew();

    for (const [id, reason] of [
      [old, 'epoch'],
      ['malformed', 'malformed'],
    ] as const) {
      const client = await get(path, { ...SSE, 'Last-Event-ID': id });
      await client.until('data: two\n\n');

      const [reset, ...events] = eventsOf(client.body);
      expect(reset?.event).toBe('reset');
      expect(JSON.parse(reset?.data ?? '')).toEqual({ reason, oldest: ids[0] });
      expect(events).toEqual([
        { id: ids[0], data: 'one' },
        { id: ids[1], data: 'two' },
      ]);
      const back = await get(path, { ...SSE, 'Last-Event-ID': reset?.id ?? '' });
      await back.until('data: two\n\n');
      expect(eventsOf(back.body)).toEqual(events);
    }

    const [position, ...records] = recordsOf(live.body);
    expect(position?.id).toBe(old);
    expect(records.map(({ event, data }) => event ?? data)).toEqual(['reset', 'one', 'two']);
    expect(JSON.parse(records[0]?.data ?? '')).toEqual({ reason: 'epoch', oldest: ids[0] });
    expect(hub.size()).toBe(5);
  });
});

describe.each(PLATFORMS)('%s: a subscriber that receives a lagged event', (platform) => {
  it.each([
    ['drop-oldest', [undefined, undefined, undefined, undefined, undefined], [2, 3, 4, 5]],
    ['latest', ['a', 'b', 'a', 'c', 'a'], [2, 3, 4, 5]],
    // The first of them is not dropped, and still follows.
    ['latest', ['a', 'b', 'b'], [1, 2, 3]],
  ] as const)('and resumes from the id that it has misses no event: %s of keys %j', async (overflow, keys, missed) => {
    const queue = { items: overflow === 'latest' ? 9 : 2 };
    const { hub } = await start(platform, [Feed], { hub: { overflow, queue } });
    const events = hub.subscribe()[Symbol.asyncIterator]();
    const first = events.next();
    await hub.publish('first');
    await first;

    for (const [index, key] of keys.entries()) {
      await hub.publish(index + 1, { key });
      await turns(2);
    }
    const { value: lagged } = await events.next();
    await events.return?.();
    expect(lagged?.type).toBe('lagged');
    const back = hub.subscribe({ after: lagged?.id })[Symbol.asyncIterator]();
    const received: unknown[] = [];
    while (received.at(-1) !== missed.at(-1)) {
      received.push((await back.next()).value?.data);
    }

    expect(received.filter((each) => each !== 'first').slice(-missed.length)).toEqual(missed);
    await back.return?.();
  });
});
