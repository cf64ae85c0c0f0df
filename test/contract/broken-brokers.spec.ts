import {
  type Broker,
  type BrokerEntry,
  type BrokerPosition,
  type BrokerRecord,
  type BrokerTail,
  MemoryBroker,
} from '../../lib/index.js';
import { brokerContract } from '../../lib/testing/index.js';

type Listening = (records: readonly BrokerRecord[]) => void;
type Records = readonly BrokerRecord[];

const APPEND_ORDER = 'append() keeps the order of a caller that does not wait in between';
const ENTRIES = 'append() keeps entries as they are: encodings, unicode, what is left out';
const APART = 'logs do not see each other';
const ONCE = 'tail() tells everything after its position, in order and once';
const STOP = 'tail() tells nothing more as soon as it is stopped, and others all';
const RANGES = 'read() gives the records after an offset, at most as many as asked for, oldest first';
const END = 'read() gives nothing after the end';
const COUNT = 'records are evicted by count: what was is not read, and the rest from the oldest';
const AGE = 'records are evicted by age, and offsets count on';
const EPOCH = 'a restart that costs the store its records begins another epoch';
const HUB_EPOCH = 'a hub tells who comes back after such a restart so';

/** Says of a record that it is of another epoch or offset than the log has it. */
class Renaming extends MemoryBroker {
  protected renamed<P extends BrokerPosition>(position: P): P {
    return position;
  }

  override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return this.renamed(await super.append(log, entry));
  }

  override async tail(log: string, listener: Listening): Promise<BrokerTail> {
    const tail = await super.tail(log, (records) => listener(records.map((record) => this.renamed(record))));
    return { ...this.renamed(tail), stop: tail.stop };
  }

  override async read(log: string, after: number, count: number): Promise<Records> {
    return (await super.read(log, after, count)).map((record) => this.renamed(record));
  }
}

/** Tells its tails something else. */
class Telling extends MemoryBroker {
  protected told(records: Records, listener: Listening): void {
    listener(records);
  }

  override tail(log: string, listener: Listening): Promise<BrokerTail> {
    return super.tail(log, (records) => this.told(records, listener));
  }
}

class LosesARecord extends MemoryBroker {
  private count = 0;
  private last: BrokerPosition = { epoch: 'none', offset: 0 };

  override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    if (++this.count % 8 === 4) {
      // Says that it has it.
      return { epoch: this.last.epoch, offset: this.last.offset + 1 };
    }
    this.last = await super.append(log, entry);
    return this.last;
  }
}

class LosesOneForTailsAndReaders extends Telling {
  protected override told(records: Records, listener: Listening): void {
    listener(records.filter(({ offset }) => offset !== 5));
  }

  override async read(log: string, after: number, count: number): Promise<Records> {
    return (await super.read(log, after, count)).filter(({ offset }) => offset !== 5);
  }
}

class SwapsTwo extends Telling {
  private third: BrokerRecord | undefined;

  protected override told(records: Records, listener: Listening): void {
    for (const record of records) {
      if (record.offset === 5 && !this.third) {
        this.third = record;
      } else {
        listener(this.third && record.offset === 6 ? [record, this.third] : [record]);
      }
    }
  }
}

class SwapsTwoAppends extends MemoryBroker {
  private held: (() => void) | undefined;

  override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    if (entry.data === '{"n":7}') {
      await new Promise<void>((resolve) => {
        this.held = resolve;
        setTimeout(resolve, 5);
      });
    }
    const position = await super.append(log, entry);
    this.held?.();
    return position;
  }
}

class TellsTwice extends Telling {
  protected override told(records: Records, listener: Listening): void {
    listener(records);
    if (records.some(({ offset }) => offset === 5)) {
      listener(records);
    }
  }
}

class TellsAfterStop extends Telling {
  override async tail(log: string, listener: Listening): Promise<BrokerTail> {
    return { ...(await super.tail(log, listener)), stop: () => undefined };
  }
}

class KeepsEvicted extends MemoryBroker {
  override open(log: string): Promise<void> {
    return super.open(log, { limit: 1_000_000, ttl: 3_600_000 });
  }
}

class EvictsTooMuch extends MemoryBroker {
  override async read(log: string, after: number, count: number): Promise<Records> {
    const [newest] = (await super.read(log, 0, 1_000_000)).slice(-3);
    return super.read(log, Math.max(after, (newest?.offset ?? 1) - 1), count);
  }
}

class ReusesAnEpoch extends Renaming {
  protected override renamed<P extends BrokerPosition>(position: P): P {
    return { ...position, epoch: 'always' };
  }
}

class SkipsOffsets extends Renaming {
  protected override renamed<P extends BrokerPosition>(position: P): P {
    return { ...position, offset: position.offset * 2 };
  }
}

class MixesLogs extends MemoryBroker {
  override open(_log: string): Promise<void> {
    return super.open('all', { limit: 10_000, ttl: 3_600_000 });
  }

  override append(_log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return super.append('all', entry);
  }

  override tail(_log: string, listener: Listening): Promise<BrokerTail> {
    return super.tail('all', listener);
  }

  override read(_log: string, after: number, count: number): Promise<Records> {
    return super.read('all', after, count);
  }
}

class ForgetsEmptyFields extends MemoryBroker {
  override append(log: string, { key, topic, type, ...entry }: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, { ...entry, key: key || undefined, topic, type: type || undefined });
  }
}

class ReadsFromTheOffset extends MemoryBroker {
  override read(log: string, after: number, count: number): Promise<Records> {
    return super.read(log, after - 1, count);
  }
}

describe('The contract is not kept by a broker that', () => {
  it.each<[string, new () => Broker, string[]]>([
    ['says of an entry that it is in the log, and it is not', LosesARecord, [APPEND_ORDER]],
    ['neither tells nor gives one record', LosesOneForTailsAndReaders, [ONCE, RANGES]],
    ['tells two records in the wrong order', SwapsTwo, [APPEND_ORDER, ONCE]],
    ['appends two entries of one caller in the wrong order', SwapsTwoAppends, [APPEND_ORDER]],
    ['tells a record twice', TellsTwice, [APPEND_ORDER, ONCE]],
    ['tells what comes after a stop()', TellsAfterStop, [STOP]],
    ['keeps what it should evict', KeepsEvicted, [COUNT, AGE]],
    ['evicts what it should keep', EvictsTooMuch, [RANGES, COUNT]],
    ['begins with the same epoch after it has lost everything', ReusesAnEpoch, [EPOCH, HUB_EPOCH]],
    ['leaves offsets out', SkipsOffsets, [ONCE, RANGES]],
    ['mixes logs', MixesLogs, [APART]],
    ['takes what is empty for what is left out', ForgetsEmptyFields, [ENTRIES]],
    ['reads from an offset on', ReadsFromTheOffset, [RANGES, END]],
  ])(
    '%s',
    async (_, Broken, names) => {
      const create = () => new Broken();
      const contract = brokerContract({ create, restart: create, timeout: 150 });
      const outcomes = await Promise.allSettled(
        contract.filter(({ name }) => names.includes(name)).map(({ run }) => run()),
      );

      expect(outcomes.map(({ status }) => status)).toEqual(names.map(() => 'rejected'));
    },
    120_000,
  );
});

describe('the contract of brokers', () => {
  it.each(['timeout', 'settle'])('refuses a %s that no timer can wait', (name) => {
    for (const value of [2 ** 31, Number.POSITIVE_INFINITY, Number.NaN, -1, '5']) {
      expect(() => brokerContract({ create: () => new MemoryBroker(), [name]: value })).toThrow(
        `"${name}" is a number of milliseconds from 0 to 2147483647`,
      );
    }
  });
});
