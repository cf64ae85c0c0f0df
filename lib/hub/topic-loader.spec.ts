import type { TopicPage, TopicRequest } from '../broker/broker-topics.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { Hub } from './hub.js';

/** The highest `completeAfter` that a broker may answer: that of a topic without newer records is the offset of its newest record. */
class Cautious extends MemoryBroker {
  /** The number of answers. */
  answers = 0;

  override async readTopics(log: string, requests: readonly TopicRequest[], count: number): Promise<TopicPage> {
    const page = await super.readTopics(log, requests, count);
    const all = await super.readTopics(
      log,
      requests.map(({ topic }) => ({ topic, after: 0 })),
      1_000,
    );
    this.answers++;
    return {
      ...page,
      topics: page.topics.map(({ records, completeAfter, more }, at) => ({
        more,
        records,
        completeAfter: records.length > 0 ? completeAfter : (all.topics[at]?.records.at(-1)?.offset ?? completeAfter),
      })),
    };
  }
}

/** A log in which the topic "a" has the second record of three, and a process that starts after that. */
async function started() {
  const broker = new Cautious();
  const options = { name: 'feed', history: { per: 'topic' as const } };
  const open = () => Hub.open(options, broker, () => undefined);
  const publisher = await open();
  const before = await publisher.publish('before', { topic: 'b' });
  const id = await publisher.publish('event', { topic: 'a' });
  await publisher.publish('after', { topic: 'b' });
  return { hub: await open(), broker, before, id };
}

/** The first event of a subscription: its data, or its type. */
async function firstOf(hub: Hub, after: string): Promise<unknown> {
  for await (const { type, data } of hub.subscribe({ topic: 'a', after })) {
    return type ?? data;
  }
  return undefined;
}

describe('reading the older events of a topic', () => {
  it('a topic that has no more records after a page has no gap before that page', async () => {
    const { hub, before } = await started();
    expect(await firstOf(hub, before)).toBe('event');
  });

  it('a client that has the newest event of a topic does not hide that event from a client that has an older id', async () => {
    const { hub, broker, before, id } = await started();
    const resumed = firstOf(hub, id);
    while (broker.answers === 0) {
      await new Promise(setImmediate);
    }
    await hub.publish('newer', { topic: 'a' });
    expect(await resumed).toBe('newer');

    expect(await firstOf(hub, before)).toBe('event');
  });
});
