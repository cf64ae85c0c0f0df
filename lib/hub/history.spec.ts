import type { Broker, BrokerPosition, BrokerRecord } from '../broker/broker.js';
import { EVENT_COST } from '../util/queue-limits.js';
import type { HeldRecords } from './held-records.js';
import { History } from './history.js';
import type { LogEvent } from './log-event.js';

const MIB = 1024 * 1024;
const { jest } = import.meta;
const turn = () => new Promise((resolve) => setImmediate(resolve));

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** A log on a server: who listens is told when a test says so, and reads are answered when a test says so. */
class Server implements Broker {
  readonly log: BrokerRecord[] = [];
  /** How often it was read. */
  reads = 0;
  private told = 0;
  /** The number of records that were removed because of the retention. */
  private evicted = 0;
  private listener: (records: readonly BrokerRecord[]) => void = () => undefined;
  private answering: Promise<void> = Promise.resolve();
  private answer: () => void = () => undefined;

  open(): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  append(): Promise<BrokerPosition> {
    return Promise.reject(new Error('not here'));
  }

  async tail(_log: string, listener: (records: readonly BrokerRecord[]) => void) {
    this.listener = listener;
    this.told = this.log.length;
    return { epoch: 'e', offset: this.log.length, stop: () => undefined };
  }

  async read(_log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    this.reads++;
    await this.answering;
    const from = Math.max(after, this.evicted);
    return this.log.slice(from, from + count);
  }

  /** Publishes a number of events of one size. */
  grow(count: number, size = 0): void {
    for (const offset of range(this.log.length + 1, this.log.length + count)) {
      this.log.push({
        data: String(offset).padStart(size, '0'),
        encoding: 'text',
        epoch: 'e',
        offset,
        time: Date.now(),
      });
    }
  }

  /** Tells what came since, one after the other; without the first of it as many as are lost on the way. */
  tell({ lost = 0, after = (): void => undefined } = {}): void {
    for (const record of this.log.slice(this.told + lost)) {
      this.listener([record]);
      after();
    }
    this.told = this.log.length;
  }

  /** Delivers records that were in a page which is on its way, while the oldest are removed from the log. */
  tellEvicted(from: number): void {
    const late = this.log.slice(from - 1);
    this.evicted = from;
    this.listener(late);
    this.told = this.log.length;
  }

  /** Delivers a record once more. */
  redeliver(offset: number): void {
    this.listener(this.log.slice(offset - 1, offset));
  }

  hang(): void {
    this.answering = new Promise((resolve) => {
      this.answer = resolve;
    });
  }

  goOn(): void {
    this.answer();
  }
}

function historyOf(server: Server, limit = 10_000) {
  const heard: LogEvent[] = [];
  const warnings: string[] = [];
  const history = new History(
    'feed',
    server,
    { limit, ttl: 60_000 },
    (event) => heard.push(event),
    (message) => warnings.push(message),
  );
  return { history, heard, warnings };
}

/** How many bytes of data wait for the broker to answer, with those that hold each record. */
function held(history: History): number {
  const records = ((Reflect.get(history, 'held') as HeldRecords | undefined)?.all ?? []) as readonly BrokerRecord[];
  return records.reduce((sum, { data }) => sum + data.length + EVENT_COST, 0);
}

/** As many turns as it takes for a figure to be that. */
async function until(figure: () => number, goal: number): Promise<void> {
  while (figure() !== goal) {
    await turn();
  }
}

describe('The backlog of records during a read of the broker', () => {
  it('is dropped if it becomes too large, and is then read from the broker without a gap', async () => {
    const server = new Server();
    const { history, heard, warnings } = historyOf(server);
    await history.open();
    server.grow(10);
    server.tell();

    server.hang();
    server.grow(20_000);
    let most = 0;
    for (const lost of [3, 0, 0]) {
      server.tell({
        lost,
        after: () => {
          most = Math.max(most, held(history));
        },
      });
      server.grow(5_000);
    }
    await turn();
    expect(most).toBeLessThanOrEqual(MIB);
    expect(most).toBeGreaterThan(MIB / 2);
    expect(heard).toHaveLength(10);
    server.goOn();
    server.tell();
    await until(() => heard.length, 35_010);

    expect(heard.map(({ event: { data } }) => Number(data))).toEqual(range(1, 35_010));
    expect(heard.map(({ seq }) => seq)).toEqual(range(1, 35_010));
    expect([held(history), warnings]).toEqual([0, []]);
  });

  it('is bounded by the memory that its records take', async () => {
    const server = new Server();
    const { history, heard, warnings } = historyOf(server);
    await history.open();
    server.hang();
    let most = 0;
    for (const lost of [3, 0]) {
      server.grow(300, 10_000);
      server.tell({
        lost,
        after: () => {
          most = Math.max(most, held(history));
        },
      });
    }
    // One that is larger than may wait is the only one that does.
    server.grow(1, 2 * MIB);
    server.tell();
    expect(most).toBeLessThanOrEqual(MIB);
    expect(held(history)).toBe(2 * MIB + EVENT_COST);

    server.goOn();
    await until(() => heard.length, 601);

    expect(heard.map(({ event: { data } }) => Number(data))).toEqual(range(1, 601));
    expect([held(history), warnings]).toEqual([0, []]);
  });

  it('is bounded also while the hub opens', async () => {
    const server = new Server();
    server.grow(100);
    const { history, heard, warnings } = historyOf(server);
    server.hang();
    const open = history.open();
    await turn();
    server.grow(9_000);
    server.tell();

    expect(held(history)).toBeLessThanOrEqual(MIB);
    server.goOn();
    await open;
    await until(() => heard.length, 9_000);

    // What the broker had when it was opened is history, which is read when a client needs it.
    expect(heard.map(({ event: { data } }) => Number(data))).toEqual(range(101, 9_100));
    expect(history.window.after(0, 100_000)).toHaveLength(9_000);
    await history.backfill.load(() => false, { closed: false });
    expect(history.window.after(0, 100_000).map(({ event: { data } }) => Number(data))).toEqual(range(1, 9_100));
    expect(warnings).toEqual([]);
  });
});

describe('A record that the broker delivers twice', () => {
  it.each([60_000, 59_999, 59_998])('is recognized, also while it expires: %i ms after it was created', async (age) => {
    let now = Date.now();
    const clock = jest.spyOn(Date, 'now').mockImplementation(() => now);
    try {
      const server = new Server();
      const { history, heard, warnings } = historyOf(server);
      await history.open();
      server.grow(1);
      now += 30_000;
      server.grow(1);
      server.tell();

      now += age - 30_000;
      // Time goes on between two looks at the clock.
      clock.mockImplementation(() => now++);
      server.redeliver(1);

      expect(heard.map(({ isNotice, event }) => [isNotice, event.data])).toEqual([
        [false, '1'],
        [false, '2'],
      ]);
      expect(warnings).toEqual([]);
      history.window.clear();
    } finally {
      clock.mockRestore();
    }
  });
});

describe('A record that was removed from the log before the hub has read it', () => {
  it('and that the broker delivers after the reset for it begins no epoch', async () => {
    const server = new Server();
    const { history, heard } = historyOf(server);
    await history.open();
    server.grow(1);
    server.tell();

    server.grow(9);
    server.tellEvicted(6);
    await until(() => heard.length, 6);
    await turn();

    expect(heard.map(({ isNotice, event }) => (isNotice ? 'reset' : Number(event.data)))).toEqual([
      1,
      'reset',
      ...range(7, 10),
    ]);
    history.window.clear();
  });
});
