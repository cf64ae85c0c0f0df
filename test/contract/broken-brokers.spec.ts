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

const APPEND_ORDER = 'append() keeps the order of calls that do not await each other';
const ENTRIES = 'append() stores every field of an entry unchanged: all encodings, Unicode, empty and absent fields';
const APART = 'a log contains only the entries that were appended to it';
const ONCE = 'tail() delivers every record after its position exactly once, in order';
const STOP = 'tail() delivers nothing to a listener once stop() was called, and everything to the others';
const RANGES = 'read() returns the records after an offset, oldest first, and at most as many as requested';
const END = 'read() returns an empty array after the end of the log';
const COUNT = 'a log evicts its oldest records beyond its limit, and read() continues with the oldest that is left';
const AGE = 'a log evicts records that are older than its ttl, and its offsets continue';
const EPOCH = 'a log that lost its records in a restart begins a new epoch';
const HUB_EPOCH = 'a hub resets a subscriber that resumes after a restart in which the records were lost';

/** Reports another epoch or offset for a record than the log has. */
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

/** Delivers other records to its tails than the log has. */
class Tampering extends MemoryBroker {
  protected delivered(records: Records, listener: Listening): void {
    listener(records);
  }

  override tail(log: string, listener: Listening): Promise<BrokerTail> {
    return super.tail(log, (records) => this.delivered(records, listener));
  }
}

class LosesARecord extends MemoryBroker {
  private count = 0;
  private last: BrokerPosition = { epoch: 'none', offset: 0 };

  override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    if (++this.count % 8 === 4) {
      // The position of an entry that is in the log.
      return { epoch: this.last.epoch, offset: this.last.offset + 1 };
    }
    this.last = await super.append(log, entry);
    return this.last;
  }
}

class LosesOneForTailsAndReaders extends Tampering {
  protected override delivered(records: Records, listener: Listening): void {
    listener(records.filter(({ offset }) => offset !== 5));
  }

  override async read(log: string, after: number, count: number): Promise<Records> {
    return (await super.read(log, after, count)).filter(({ offset }) => offset !== 5);
  }
}

class SwapsTwo extends Tampering {
  private third: BrokerRecord | undefined;

  protected override delivered(records: Records, listener: Listening): void {
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

class TellsTwice extends Tampering {
  protected override delivered(records: Records, listener: Listening): void {
    listener(records);
    if (records.some(({ offset }) => offset === 5)) {
      listener(records);
    }
  }
}

class TellsAfterStop extends Tampering {
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

describe('The broker contract fails for a broker that', () => {
  it.each<[string, new () => Broker, string[]]>([
    ['confirms an entry that it did not append', LosesARecord, [APPEND_ORDER]],
    ['omits a record in tail() and read()', LosesOneForTailsAndReaders, [ONCE, RANGES]],
    ['delivers two records in the wrong order', SwapsTwo, [APPEND_ORDER, ONCE]],
    ['appends two entries of one caller in the wrong order', SwapsTwoAppends, [APPEND_ORDER]],
    ['delivers a record twice', TellsTwice, [APPEND_ORDER, ONCE]],
    ['delivers records after stop()', TellsAfterStop, [STOP]],
    ['keeps records that it should evict', KeepsEvicted, [COUNT, AGE]],
    ['evicts records that it should keep', EvictsTooMuch, [RANGES, COUNT]],
    ['reuses the epoch after it has lost its records', ReusesAnEpoch, [EPOCH, HUB_EPOCH]],
    ['skips offsets', SkipsOffsets, [ONCE, RANGES]],
    ['writes two logs into one', MixesLogs, [APART]],
    ['stores an empty field as an absent one', ForgetsEmptyFields, [ENTRIES]],
    ['includes the record at the offset in read()', ReadsFromTheOffset, [RANGES, END]],
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

describe('brokerContract()', () => {
  it.each(['timeout', 'settle'])('refuses a %s that is not a duration in milliseconds', (name) => {
    for (const value of [2 ** 31, Number.POSITIVE_INFINITY, Number.NaN, -1, '5']) {
      expect(() => brokerContract({ create: () => new MemoryBroker(), [name]: value })).toThrow(
        `"${name}" must be a number of milliseconds from 0 to 2147483647`,
      );
    }
  });
});
