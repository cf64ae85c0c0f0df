import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { BrokerEntry } from './broker.js';
import { MemoryBroker } from './memory.broker.js';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
const { jest } = import.meta;

const LOGS = 10_000;
const ENTRY: BrokerEntry = { data: 'x', encoding: 'text' };

/** Creates logs that expire, and a tail of each, which is stopped. Returns a weak reference to a record of each log, and to each listener. */
async function useLogs(broker: MemoryBroker, count: number): Promise<WeakRef<object>[]> {
  const held: WeakRef<object>[] = [];
  for (let n = 0; n < count; n++) {
    const log = `~runs/${n}`;
    const listener = (): void => void n;
    const tail = await broker.tail(log, listener);
    await broker.create(log, [ENTRY], 60_000);
    await broker.expire(log, 2_000 + n);
    await tail.stop();
    held.push(new WeakRef(listener), ...(await broker.read(log, 0, 1)).map((record) => new WeakRef(record)));
  }
  return held;
}

describe('The logs of runs in a MemoryBroker', () => {
  beforeEach(() => jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] }));
  afterEach(() => jest.useRealTimers());

  it('are removed from memory when they expire although nobody uses them, with one timer for all', async () => {
    const broker = new MemoryBroker();
    const held = await useLogs(broker, LOGS);
    expect(held).toHaveLength(2 * LOGS);
    expect(jest.getTimerCount()).toBe(1);

    jest.advanceTimersByTime(2_000 + LOGS + 2_000);
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();

    expect(held.filter((each) => each.deref() !== undefined)).toHaveLength(0);
    expect(jest.getTimerCount()).toBe(0);
    await broker.close();
  });

  it('deliver nothing to a tail that a listener begins but what follows its position', async () => {
    const broker = new MemoryBroker();
    const begun: Promise<unknown>[] = [];
    const received: number[] = [];
    await broker.create('~runs/a', [ENTRY], 60_000);
    await broker.tail('~runs/a', () => {
      begun.push(broker.tail('~runs/a', (records) => received.push(...records.map(({ offset }) => offset))));
    });

    await broker.appendAll('~runs/a', [ENTRY, ENTRY]);
    expect(await Promise.all(begun)).toMatchObject([{ offset: 3 }]);
    expect(received).toEqual([]);
    await broker.appendAll('~runs/a', [ENTRY]);
    expect(received).toEqual([4]);
    await broker.close();
  });

  it('are gone, and their timer too, when the broker is closed', async () => {
    const broker = new MemoryBroker();
    await broker.create('~runs/a', [ENTRY], 60_000);

    await broker.close();

    expect(jest.getTimerCount()).toBe(0);
    expect(await broker.read('~runs/a', 0, 1)).toEqual([]);
  });
});
