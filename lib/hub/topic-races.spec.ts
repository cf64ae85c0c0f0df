import { setImmediate as turn } from 'node:timers/promises';
import type { BrokerListener, BrokerPosition, BrokerTail } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail, TopicPage, TopicRequest } from '../broker/broker-topics.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { type Deferred, deferred } from '../util/thenable.js';
import { Hub } from './hub.js';
import type { HubOptions } from './hub.options.js';

/** A broker whose tails a test controls. */
class Controlled extends MemoryBroker {
  listener: BrokerTopicListener | undefined;
  /** Called before a topic is added, after `add()` was called. */
  onAdd: (topics: readonly string[]) => Promise<void> | void = () => undefined;
  /** Called before a tail of the whole log begins. */
  onTail: () => Promise<void> | void = () => undefined;
  /** The number of tails of the whole log that run. */
  tails = 0;
  /** The number of those that have begun. */
  started = 0;
  reads = 0;
  /** Overrides the epoch of all answers. */
  epoch: string | undefined;

  override async tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    this.listener = listener;
    const tail = await super.tailTopics(log, listener);
    const add = async (topics: readonly string[]): Promise<BrokerPosition> => {
      await this.onAdd(topics);
      return tail.add(topics);
    };
    return { ...tail, add };
  }

  override async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    await this.onTail();
    const tail = await super.tail(log, listener);
    this.tails++;
    this.started++;
    const stop = async (): Promise<void> => {
      this.tails--;
      await tail.stop();
    };
    return { ...tail, stop };
  }

  override async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    this.reads++;
    const page = await super.readTopics(log, requests, count);
    return this.epoch === undefined ? page : { ...page, position: { ...page.position, epoch: this.epoch } };
  }
}

async function opened(broker: MemoryBroker, more: Partial<HubOptions> = {}) {
  const warnings: string[] = [];
  const options: HubOptions = { name: 'feed', history: { per: 'topic', limit: 1_000 }, ...more };
  const hub = await Hub.open(options, broker, (message) => warnings.push(message));
  return { hub, warnings };
}

/** Reads a number of events of a subscription: their data, or their types. */
async function take(events: AsyncIterable<{ type?: string; data: unknown }>, count: number): Promise<unknown[]> {
  const taken: unknown[] = [];
  for await (const { type, data } of events) {
    if (taken.push(type ?? data) === count) {
      break;
    }
  }
  return taken;
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) {
    await turn();
  }
}

describe('A hub with a history for each topic', () => {
  it('ignores what a broker says before its tail has begun', async () => {
    class Early extends MemoryBroker {
      override async tailTopics(log: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
        const tail = await super.tailTopics(log, listener);
        listener.onReached(tail);
        listener.onMissed(tail);
        return tail;
      }
    }
    const broker = new Early();
    const { hub: other } = await opened(broker);
    const id = await other.publish(1, { topic: 'a' });

    const { hub, warnings } = await opened(broker);
    await other.publish(2, { topic: 'a' });

    expect(await take(hub.subscribe({ topic: 'a', after: id }), 1)).toEqual([2]);
    expect(warnings).toEqual([]);
  });

  it('stays in a new epoch although answers of the old one arrive late', async () => {
    const broker = new Controlled();
    const { hub, warnings } = await opened(broker);
    const events = hub.subscribe({ topic: 'a' })[Symbol.asyncIterator]();
    const first = events.next();
    await until(() => hub.size('a') === 1);
    await hub.publish(1, { topic: 'a' });
    expect((await first).value?.data).toBe(1);
    const second = events.next();

    broker.listener?.onMissed({ epoch: 'new', offset: 0 });
    broker.epoch = 'new';
    // The answers of append() and add() have the old epoch.
    await hub.publish(2, { topic: 'b' });
    const other = hub.subscribe({ topic: 'c' })[Symbol.asyncIterator]();
    void other.next();
    await until(() => hub.size('c') === 1);

    expect((await second).value?.type).toBe('reset');
    await turn();
    expect(warnings).toEqual([expect.stringContaining('new epoch')]);
    await Promise.all([events.return?.(), other.return?.()]);
  });

  it('reads what precedes the position of add(), although some of it has arrived', async () => {
    const broker = new Controlled();
    const { hub: publisher } = await opened(broker);
    const start = await publisher.publish(0, { topic: 'b' });
    const { hub } = await opened(broker);
    broker.onAdd = async () => {
      for (const n of [1, 2, 3]) {
        await publisher.publish(n, { topic: 'a' });
      }
      const { topics } = await broker.readTopics('feed', [{ topic: 'a', after: 0 }], 1);
      // As the end of an earlier subscription to the same topic, which was removed in between.
      broker.listener?.onRecords(topics[0]?.records ?? []);
    };

    expect(await take(hub.subscribe({ topic: 'a', after: start }), 3)).toEqual([1, 2, 3]);
  });

  it('ends the tail of the whole log if it begins while the hub closes', async () => {
    const broker = new Controlled();
    const { hub } = await opened(broker, { all: true });
    const opening: Deferred<void> = deferred();
    let asked = false;
    broker.onTail = () => {
      asked = true;
      return opening.promise;
    };
    const ended = take(hub.subscribe(), 1);
    await until(() => asked);

    await hub.close();
    expect(await ended).toEqual([]);
    opening.resolve();
    await until(() => broker.started === 1);
    await turn();

    expect(broker.tails).toBe(0);
  });

  it('delivers topics to one client that together exceed the memory for histories', async () => {
    const broker = new Controlled();
    const { hub: publisher } = await opened(broker);
    const start = await publisher.publish(0, { topic: 'start' });
    const data = 'x'.repeat(2 ** 20);
    for (let n = 0; n < 40; n++) {
      await publisher.publish(data, { topic: 'a' });
      await publisher.publish(data, { topic: 'b' });
    }
    const { hub } = await opened(broker);

    const events = await take(hub.subscribe({ topic: ['a', 'b'], after: start }), 80);

    expect(events).toHaveLength(80);
    expect(broker.reads).toBeLessThan(20);
  });
});

describe('A tail of topics of a MemoryBroker', () => {
  it('delivers nothing for topics that are added after stop()', async () => {
    const broker = new MemoryBroker();
    await broker.openTopics('log', { limit: 10, ttl: 60_000, all: false });
    const received: unknown[] = [];
    const note = (value: unknown) => void received.push(value);
    const tail = await broker.tailTopics('log', { onRecords: note, onReached: note, onMissed: note });

    await tail.stop();
    await tail.add(['a']);
    await broker.append('log', { data: '1', encoding: 'json', topic: 'a' });

    expect(received).toEqual([]);
    await broker.close();
  });
});
