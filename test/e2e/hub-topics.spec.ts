import { Controller, Get, Param, Query } from '@nestjs/common';
import {
  Hub,
  type HubOptions,
  type HubReset,
  InjectHub,
  LastEventId,
  MemoryBroker,
  Sse,
  StreamingModule,
} from '../../lib/index.js';
import { PLATFORMS, type Platform } from '../support/app.js';
import { eventsOf, eventsUntil, hubOf, joined, publishAll, range, recordsOf, SSE } from '../support/hub.js';
import { turns, useApps } from '../support/running.js';

const launch = useApps();

@Controller()
class Feed {
  constructor(@InjectHub('feed') private readonly hub: Hub<number>) {}

  @Sse('topics/:topics')
  topics(@Param('topics') topics: string, @LastEventId() after?: string, @Query('last') last?: string) {
    return this.hub.subscribe({ topic: topics.split(','), after, last: last === undefined ? undefined : Number(last) });
  }

  @Sse('all')
  all(@LastEventId() after?: string) {
    return this.hub.subscribe({ after });
  }

  @Get('size')
  size() {
    return this.hub.size('a');
  }
}

async function start(platform: Platform, more: Partial<HubOptions> = {}) {
  const hub: HubOptions = { name: 'feed', history: { per: 'topic', limit: 5 }, ...more };
  const running = await launch(platform, {
    controllers: [Feed],
    imports: [StreamingModule.registerHub(hub)],
  });
  return { ...running, hub: hubOf<number>(running) };
}

describe.each(PLATFORMS)('%s: a hub with a history for each topic', (platform) => {
  it('resumes a topic although another one has had many more events than the history keeps', async () => {
    const { get, hub } = await start(platform);
    const [id = ''] = await publishAll(hub, [1, 2, 3], { topic: 'a' });
    await publishAll(hub, range(4, 500), { topic: 'b' });

    const client = await get('/topics/a', { ...SSE, 'Last-Event-ID': id });

    const events = await eventsUntil(client, 2);
    expect(events.map(({ data }) => data)).toEqual(['2', '3']);
  });

  it('delivers several topics in the order in which their events were published, from one id', async () => {
    const { get, hub } = await start(platform);
    const id = await hub.publish(0, { topic: 'a' });
    for (const n of range(1, 6)) {
      await hub.publish(n, { topic: ['a', 'b', 'c'][n % 3] as string });
    }
    const client = await get('/topics/c,a,b', { ...SSE, 'Last-Event-ID': id });
    await eventsUntil(client, 6);
    await publishAll(hub, [7], { topic: 'b' });
    await publishAll(hub, [8], { topic: 'a' });

    const events = await eventsUntil(client, 8);

    expect(events.map(({ data }) => Number(data))).toEqual(range(1, 8));
  });

  it('tells a client which of its topics have lost events, and sends the rest of them', async () => {
    const { get, hub } = await start(platform);
    const id = await hub.publish(0, { topic: 'busy' });
    await hub.publish(1, { topic: 'quiet' });
    const ids = await publishAll(hub, range(2, 20), { topic: 'busy' });

    const client = await get('/topics/busy,quiet', { ...SSE, 'Last-Event-ID': id });

    const [reset, ...events] = await eventsUntil(client, 7);
    const data: HubReset = { reason: 'evicted', oldest: ids.at(-5) ?? null, topics: ['busy'] };
    expect(reset).toEqual({ event: 'reset', id, data: JSON.stringify(data) });
    expect(events.map((event) => Number(event.data))).toEqual([1, ...range(16, 20)]);
  });

  it('starts with the newest events of each topic', async () => {
    const { get, hub } = await start(platform);
    await publishAll(hub, [1, 2, 3], { topic: 'a' });
    await publishAll(hub, [4, 5, 6, 7], { topic: 'b' });

    const client = await get('/topics/a,b?last=2', SSE);

    const events = await eventsUntil(client, 4);
    expect(events.map(({ data }) => data)).toEqual(['2', '3', '6', '7']);
  });

  it('keeps an answer of 600 tokens for each of five topics', async () => {
    const { get, hub } = await start(platform, { history: { per: 'topic', limit: 1_000 } });
    for (const topic of ['1', '2', '3', '4', '5']) {
      await publishAll(hub, range(1, 600), { topic });
    }

    const client = await get('/topics/1?last=600', SSE);

    const events = await eventsUntil(client, 600);
    expect(events.map(({ data }) => Number(data))).toEqual(range(1, 600));
  });

  it('delivers what is published after subscribe(), and nothing that was published before', async () => {
    const { hub } = await start(platform);
    await publishAll(hub, [1, 2], { topic: 'a' });
    const subscription = hub.subscribe({ topic: 'a' });
    await publishAll(hub, [3, 4], { topic: 'a' });

    const received: number[] = [];
    for await (const { data } of subscription) {
      if (received.push(data) === 2) {
        break;
      }
    }

    expect(received).toEqual([3, 4]);
  });

  it('does not receive the events of topics without subscribers', async () => {
    const { get, hub } = await start(platform);
    const client = await get('/topics/a', SSE);
    await joined(hub, 1);
    await hub.publish(1, { topic: 'a' });
    await eventsUntil(client, 1);

    await publishAll(hub, range(2, 100), { topic: 'b' });
    await hub.publish(101, { topic: 'a' });
    await eventsUntil(client, 2);

    expect(hub.log.kept).toBe(2);
    // The first one may have been read.
    expect(hub.log.received).toBeLessThanOrEqual(2);
  });

  it('moves the position of a client whose topics are quiet', async () => {
    const { get, hub } = await start(platform);
    const id = await hub.publish(1, { topic: 'a' });
    const client = await get('/topics/a', { ...SSE, 'Last-Event-ID': id });
    await joined(hub, 1);
    await publishAll(hub, range(2, 100), { topic: 'b' });
    await hub.close();
    await client.until('\r\n0\r\n\r\n');

    const [last] = recordsOf(client.body).slice(-1);
    expect(last?.id).not.toBe(id);
    expect(eventsOf(client.body)).toEqual([]);
  });

  it('refuses subscriptions and events without a topic', async () => {
    const { get, hub } = await start(platform);

    const client = await get('/all', SSE);
    await client.until('needs a topic');

    expect(client.head).toContain(' 400 ');
    expect(client.body).toContain('needs a topic');
    await expect(hub.publish(1)).rejects.toMatchObject({ code: 'topic-required', statusCode: 400 });
  });

  it('has subscribers of all topics with `all`', async () => {
    const { get, hub } = await start(platform, { all: true });
    const id = await hub.publish(1, { topic: 'a' });
    await hub.publish(2, { topic: 'b' });
    await hub.publish(3);
    const client = await get('/all', { ...SSE, 'Last-Event-ID': id });
    await eventsUntil(client, 2);
    await hub.publish(4, { topic: 'c' });

    const events = await eventsUntil(client, 3);

    expect(events.map(({ data }) => data)).toEqual(['2', '3', '4']);
    const one = await get('/topics/a?last=9', SSE);
    expect((await eventsUntil(one, 1)).map(({ data }) => data)).toEqual(['1']);
  });

  it('ends its streams cleanly when it closes', async () => {
    const { get, hub } = await start(platform);
    const client = await get('/topics/a', SSE);
    await joined(hub, 1);
    await publishAll(hub, [1, 2], { topic: 'a' });

    await hub.close();
    await client.until('\r\n0\r\n\r\n');

    expect(eventsOf(client.body).map(({ data }) => data)).toEqual(['1', '2']);
    await turns(2);
    expect(hub.log.kept).toBe(0);
  });
});

describe('A hub with a history for each topic', () => {
  const register = (options: unknown) => StreamingModule.registerHub(options as HubOptions);

  it.each([
    [{ name: 'a', all: true }, '"all" is an option of hubs with history'],
    [{ name: 'a', history: { per: 'day' } }, '"history.per"'],
    [{ name: 'a', history: { per: 'topic' }, all: 1 }, '"all" must be true or false'],
  ])('is refused with wrong options: %j', (options, message) => {
    expect(() => register(options)).toThrow(message);
  });

  it('is refused with a broker that cannot keep one', async () => {
    const memory = new MemoryBroker();
    class OwnBroker {
      open = memory.open.bind(memory);
      append = memory.append.bind(memory);
      tail = memory.tail.bind(memory);
      read = memory.read.bind(memory);
      close = memory.close.bind(memory);
    }
    const started = start(PLATFORMS[0] as Platform, { broker: new OwnBroker() });

    await expect(started).rejects.toThrow('its broker, OwnBroker, lacks the methods of BrokerTopics');
  });
});
