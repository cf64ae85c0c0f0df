import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import { MemoryBroker } from '../broker/memory.broker.js';
import { Publisher } from './publisher.js';
import { WholeLog } from './whole-log.js';

const ENTRY: BrokerEntry = { data: 'x', encoding: 'text' };

/** Tells its tails nothing before it is let to. */
class LateBroker extends MemoryBroker {
  private readonly late: (() => void)[] = [];

  override tail(...[log, listener]: Parameters<MemoryBroker['tail']>): ReturnType<MemoryBroker['tail']> {
    return super.tail(log, (records) => this.late.push(() => listener(records)));
  }

  tellNext(): void {
    this.late.shift()?.();
  }
}

describe('A publisher', () => {
  async function start(broker: LateBroker) {
    const log: WholeLog = new WholeLog(
      'hub',
      broker,
      { limit: 10, ttl: 60_000 },
      () => undefined,
      () => publisher.onDelivered(),
      () => publisher.newest,
    );
    const publisher = new Publisher(log);
    await log.open();
    return publisher;
  }

  it('waits until all events that it has published are delivered, however often it is called', async () => {
    const broker = new LateBroker();
    const publisher = await start(broker);
    await publisher.publish(ENTRY);
    await publisher.publish(ENTRY);
    const settled: string[] = [];
    const both = ['one', 'two'].map((name) => publisher.settled().then(() => settled.push(name)));

    broker.tellNext();
    await new Promise((resolve) => setImmediate(resolve));
    expect(settled).toEqual([]);

    broker.tellNext();
    await Promise.all(both);
    expect(settled).toEqual(['one', 'two']);
  });

  it('waits also if the log has a new epoch', async () => {
    let epoch = 'a';
    class Anew extends LateBroker {
      override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
        return { ...(await super.append(log, entry)), epoch };
      }

      override tail(...[log, listener]: Parameters<MemoryBroker['tail']>): ReturnType<MemoryBroker['tail']> {
        const renamed = super.tail(log, (records) => listener(records.map((each) => ({ ...each, epoch }))));
        return renamed.then((tail) => ({ ...tail, epoch }));
      }
    }
    const broker = new Anew();
    const publisher = await start(broker);
    await publisher.publish(ENTRY);
    broker.tellNext();
    epoch = 'b';
    await publisher.publish(ENTRY);
    broker.tellNext();
    await publisher.publish(ENTRY);
    let settled = false;
    const wait = publisher.settled().then(() => {
      settled = true;
    });

    await new Promise((resolve) => setImmediate(resolve));
    expect(settled).toBe(false);

    broker.tellNext();
    await wait;
  });
});
