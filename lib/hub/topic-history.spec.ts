import type { BrokerPosition, BrokerRecord } from '../broker/broker.js';
import type { BrokerTopicListener, BrokerTopicTail } from '../broker/broker-topics.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { Hub } from './hub.js';
import { TopicHistory } from './topic-history.js';

const RETENTION = { limit: 10, ttl: 60_000, all: false };
const OLD = 'old';
const NEW = 'new';

/** A broker whose tail a test controls. */
class Controlled extends MemoryBroker {
  listener: BrokerTopicListener | undefined;
  /** What each call of `add()` does. */
  readonly adds: (() => Promise<BrokerPosition>)[] = [];

  override async tailTopics(_: string, listener: BrokerTopicListener): Promise<BrokerTopicTail> {
    this.listener = listener;
    const add = (): Promise<BrokerPosition> => this.adds.shift()?.() ?? Promise.reject(new Error('not expected'));
    return { epoch: OLD, offset: 5, add, delete: () => undefined, stop: () => undefined };
  }
}

function record(offset: number, previous: number): BrokerRecord {
  return { epoch: OLD, offset, previous, topic: 'a', data: '1', encoding: 'json', time: Date.now() };
}

async function opened() {
  const broker = new Controlled();
  const missed: (string | undefined)[] = [];
  const warnings: string[] = [];
  const listener = {
    onEvent: () => undefined,
    onReached: () => undefined,
    onMissed: (topic: string | undefined) => void missed.push(topic),
  };
  const history = new TopicHistory('feed', broker, RETENTION, listener, (message) => warnings.push(message));
  await history.open();
  return { broker, history, missed, warnings };
}

describe('A history for each topic', () => {
  it('stays in a new epoch when an answer of the earlier one is late', async () => {
    const { broker, history, missed } = await opened();
    broker.listener?.onMissed({ epoch: NEW, offset: 1 });

    history.learn({ epoch: OLD, offset: 9 });
    broker.listener?.onReached({ epoch: OLD, offset: 9 });
    broker.listener?.onMissed({ epoch: OLD, offset: 9 });
    broker.listener?.onRecords([record(10, 0)]);

    expect([history.epoch, missed]).toEqual([NEW, [undefined]]);
  });

  it('is complete only after the position of the add() that has succeeded', async () => {
    const { broker, history } = await opened();
    broker.adds.push(
      async () => {
        broker.listener?.onRecords([record(6, 0)]);
        throw new Error('The connection was lost');
      },
      async () => ({ epoch: OLD, offset: 8 }),
    );
    history.interest.enter(['a']);
    await history.interest.ready(['a']);

    expect(history.interest.get('a')?.window?.completeAfter).toBe(8);
  });

  it('knows nothing of a topic that is being added when records were missed', async () => {
    const { broker, history } = await opened();
    broker.adds.push(async () => {
      broker.listener?.onRecords([record(6, 0)]);
      broker.listener?.onMissed({ epoch: OLD, offset: 7 });
      return { epoch: OLD, offset: 9 };
    });
    history.interest.enter(['a']);
    await history.interest.ready(['a']);

    expect(history.interest.get('a')?.window?.completeAfter).toBe(9);
  });

  it('is not noticed by a hub that only publishes', async () => {
    const warnings: string[] = [];
    const options = { name: 'feed', history: { per: 'topic' }, role: 'publisher' } as const;
    const hub = await Hub.open(options, new MemoryBroker(), (message) => warnings.push(message));

    await hub.publish(1, { topic: 'a' });
    await hub.close();

    expect(warnings).toEqual([]);
  });
});
