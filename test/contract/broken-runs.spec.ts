import {
  type BrokerCondition,
  type BrokerEntry,
  type BrokerListener,
  type BrokerPosition,
  type BrokerRecord,
  type BrokerTail,
  MemoryBroker,
} from '../../lib/index.js';
import { brokerRunsContract } from '../../lib/testing/index.js';

type Entries = readonly BrokerEntry[];
type Records = readonly BrokerRecord[];
type Position = BrokerPosition | false;

const CREATE_ONCE = 'create() succeeds once, of many calls at the same time on several clients';
const FIELDS = 'create() and appendAll() store every field of an entry unchanged';
const REPLACE = 'create() with `after` replaces a log, in a new epoch, only if it ends there';
const REPLACE_ONCE = 'create() with `after` succeeds once, of many calls at the same time on several clients';
const TOGETHER = 'appendAll() appends the entries of a call one after the other, also with several callers';
const CONDITION = 'appendAll() with `after` appends all entries if the log ends there, and none otherwise';
const ORDER = 'create() and appendAll() keep the order of calls that do not await each other';
const MISSING = 'a log that was not created does not exist, whatever is called';
const EXPIRE = 'expire() makes a log vanish after its time';
const RENEW = 'a log expires after the time of create(), unless expire() or another create() has renewed it';
const APPEND_EXPIRY = 'appendAll() with `expire` sets when a log expires, only if it appends';
const DROP = 'drop() removes a log, which can be created again';
const PAGES = 'a log of a run keeps 10 000 records, and read() returns them in pages';
const LARGE = 'a log of a run keeps entries of 5 MB';
const APART = 'logs of runs are kept apart by their names, with any characters';
const NOTHING = 'nothing is left of 1 000 logs that were dropped or have expired';
const EARLY = 'a tail that begins before its log exists delivers it from the first record on';
const ONCE = 'a tail of a run delivers every record after its position once, in order, to each listener';
const LIVES = 'a tail of a run continues when its log is replaced, dropped or expired, and created again';
const STOP = 'a tail of a run delivers nothing once it is stopped, and the others continue';
const TWICE = 'a tail of a run accepts the same listener twice';
const RESTART = 'a log of a run does not exist after a restart in which its records were lost';

const turn = () => new Promise((resolve) => setImmediate(resolve));

class CreatesTwice extends MemoryBroker {
  override async create(log: string, entries: Entries, ms: number, condition?: BrokerCondition): Promise<Position> {
    const exists = (await this.read(log, 0, 1)).length > 0;
    await turn();
    if (!condition && !exists) {
      await this.drop(log);
    }
    return super.create(log, entries, ms, condition);
  }
}

class ReplacesAnything extends MemoryBroker {
  override async create(log: string, entries: Entries, ms: number, condition?: BrokerCondition): Promise<Position> {
    if (condition) {
      await this.drop(log);
    }
    return super.create(log, entries, ms);
  }
}

class ReplacesTwice extends MemoryBroker {
  override async create(log: string, entries: Entries, ms: number, condition?: BrokerCondition): Promise<Position> {
    const end = (await this.read(log, 0, 1_000_000)).at(-1);
    await turn();
    if (condition && end?.epoch === condition.after?.epoch) {
      await this.drop(log);
      return super.create(log, entries, ms);
    }
    return super.create(log, entries, ms, condition);
  }
}

class ReplacesInTheSameEpoch extends MemoryBroker {
  override async create(log: string, entries: Entries, ms: number, condition?: BrokerCondition): Promise<Position> {
    return renamed(await super.create(log, entries, ms, condition && { after: await this.end(log) }));
  }

  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    const end = await this.end(log);
    return condition?.after?.offset === end.offset || !condition
      ? renamed(await super.appendAll(log, entries))
      : Promise.resolve(false);
  }

  override async read(log: string, after: number, count: number): Promise<Records> {
    return (await super.read(log, after, count)).map((record) => ({ ...record, epoch: 'same' }));
  }

  override tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    return super.tail(log, (records) => listener(records.map((record) => ({ ...record, epoch: 'same' }))));
  }

  private async end(log: string): Promise<BrokerPosition> {
    return (await super.read(log, 0, 1_000_000)).at(-1) ?? { epoch: '', offset: 0 };
  }
}

function renamed(position: Position): Position {
  return position && { ...position, epoch: 'same' };
}

class AppendsOneByOne extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    let position = await super.appendAll(log, entries.slice(0, 1), condition);
    for (const entry of position ? entries.slice(1) : []) {
      await turn();
      position = await super.appendAll(log, [entry]);
    }
    return position;
  }
}

class IgnoresTheCondition extends MemoryBroker {
  override appendAll(log: string, entries: Entries): Promise<Position> {
    return super.appendAll(log, entries);
  }
}

class ChecksTheOffsetOnly extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    const end = (await this.read(log, 0, 1_000_000)).at(-1);
    return condition?.after && end?.offset !== condition.after.offset ? false : super.appendAll(log, entries);
  }
}

class AppendsAPart extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    const position = await super.appendAll(log, entries, condition);
    if (!position) {
      await super.appendAll(log, entries.slice(0, 1));
    }
    return position;
  }
}

class AppendsLater extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    if (entries.some(({ data }) => data === '{"n":7}')) {
      await turn();
    }
    return super.appendAll(log, entries, condition);
  }
}

class CreatesWhatIsMissing extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    return (await super.appendAll(log, entries, condition)) || super.create(log, entries, 60_000);
  }
}

class NeverExpires extends MemoryBroker {
  override expire(log: string): Promise<boolean> {
    return super.expire(log, 1_000_000);
  }
}

class DoesNotRenew extends MemoryBroker {
  override async expire(log: string, ms: number): Promise<boolean> {
    return ms > 1_000 ? (await this.read(log, 0, 1)).length > 0 : super.expire(log, ms);
  }
}

class RenewsWithEveryAppend extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    await this.expire(log, 60_000);
    return super.appendAll(log, entries, condition);
  }
}

class IgnoresTheExpiryOfAppends extends MemoryBroker {
  override appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    return super.appendAll(log, entries, condition?.after && { after: condition.after });
  }
}

class ExpiresWithoutAppend extends MemoryBroker {
  override async appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    if (condition?.expire !== undefined) {
      await this.expire(log, condition.expire);
    }
    return super.appendAll(log, entries, condition);
  }
}

class DropsNothing extends MemoryBroker {
  override async drop(): Promise<void> {
    await turn();
  }
}

class KeepsTheNewest extends MemoryBroker {
  override async read(log: string, after: number, count: number): Promise<Records> {
    const last = (await super.read(log, 0, 1_000_000)).length;
    return super.read(log, Math.max(after, last - 4_096), count);
  }
}

class CutsLargeEntries extends MemoryBroker {
  override appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    const cut = entries.map(({ data, ...entry }) => ({ ...entry, data: data.slice(0, 1_000_000) }));
    return super.appendAll(log, cut, condition);
  }
}

class CutsLongNames extends MemoryBroker {
  override create(log: string, entries: Entries, ms: number, condition?: BrokerCondition): Promise<Position> {
    return super.create(log.slice(0, 64), entries, ms, condition);
  }

  override read(log: string, after: number, count: number): Promise<Records> {
    return super.read(log.slice(0, 64), after, count);
  }
}

class DropsKeys extends MemoryBroker {
  override appendAll(log: string, entries: Entries, condition?: BrokerCondition): Promise<Position> {
    return super.appendAll(
      log,
      entries.map(({ key, ...entry }) => entry),
      condition,
    );
  }
}

/** The tails of this broker receive other records than the log has. */
class Tampering extends MemoryBroker {
  protected delivered(records: Records, listener: BrokerListener): void {
    listener(records);
  }

  override tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    return super.tail(log, (records) => this.delivered(records, listener));
  }
}

class DeliversTwice extends Tampering {
  protected override delivered(records: Records, listener: BrokerListener): void {
    listener(records);
    listener(records.slice(-1));
  }
}

class DeliversOneLife extends MemoryBroker {
  override tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    let epoch: string | undefined;
    return super.tail(log, (records) => {
      epoch ??= records[0]?.epoch;
      listener(records.filter((record) => record.epoch === epoch));
    });
  }
}

class BeginsTailsWithTheLog extends MemoryBroker {
  override async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    return (await this.read(log, 0, 1)).length > 0
      ? super.tail(log, listener)
      : { epoch: '', offset: 0, stop: () => undefined };
  }
}

class TellsAfterStop extends MemoryBroker {
  override async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    return { ...(await super.tail(log, listener)), stop: () => undefined };
  }
}

class TellsEachListenerOnce extends MemoryBroker {
  private readonly known = new Set<BrokerListener>();

  override async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const tail = await super.tail(log, this.known.has(listener) ? () => undefined : listener);
    this.known.add(listener);
    return tail;
  }
}

class OutlivesItsProcess extends MemoryBroker {
  override async close(): Promise<void> {
    await turn();
  }
}

/** Runs the cases with some names. Returns the names of those that a broker fails. */
async function failed(create: () => MemoryBroker, names: readonly string[], size?: () => number): Promise<string[]> {
  const contract = brokerRunsContract({ create, restart: create, timeout: 1_000, ...(size && { size }) });
  const cases = contract.filter(({ name }) => names.includes(name));
  const outcomes = await Promise.allSettled(cases.map(({ run }) => run()));
  return cases.filter((_, index) => outcomes[index]?.status === 'rejected').map(({ name }) => name);
}

describe('The contract for runs fails for a broker that', () => {
  it.each<[string, new () => MemoryBroker, string[]]>([
    ['creates a log twice', CreatesTwice, [CREATE_ONCE]],
    ['replaces a log wherever it ends', ReplacesAnything, [REPLACE]],
    ['replaces a log twice', ReplacesTwice, [REPLACE_ONCE]],
    ['replaces a log in the same epoch', ReplacesInTheSameEpoch, [REPLACE, EXPIRE, LIVES]],
    ['appends the entries of a call one by one', AppendsOneByOne, [TOGETHER, ORDER]],
    ['appends without the condition', IgnoresTheCondition, [REPLACE, CONDITION]],
    ['appends to another epoch than that of the condition', ChecksTheOffsetOnly, [CONDITION]],
    ['appends a part of the entries', AppendsAPart, [CONDITION]],
    ['appends two calls in the wrong order', AppendsLater, [ORDER]],
    ['creates a log by an append', CreatesWhatIsMissing, [MISSING, EXPIRE]],
    ['keeps a log that should expire', NeverExpires, [EXPIRE, RENEW, LIVES]],
    ['removes a log that was renewed', DoesNotRenew, [RENEW]],
    ['renews a log with every append', RenewsWithEveryAppend, [RENEW]],
    ['does not set when a log expires with an append', IgnoresTheExpiryOfAppends, [APPEND_EXPIRY]],
    ['sets when a log expires although it does not append', ExpiresWithoutAppend, [APPEND_EXPIRY]],
    ['keeps a log that was dropped', DropsNothing, [DROP, NOTHING]],
    ['forgets old records', KeepsTheNewest, [PAGES]],
    ['cuts large entries', CutsLargeEntries, [LARGE]],
    ['cuts long names', CutsLongNames, [APART]],
    ['forgets a field', DropsKeys, [FIELDS]],
    ['delivers a record twice', DeliversTwice, [EARLY, ONCE]],
    ['ends a tail with the first life of its log', DeliversOneLife, [LIVES]],
    ['ignores a tail that begins before its log', BeginsTailsWithTheLog, [EARLY, LIVES]],
    ['delivers after stop()', TellsAfterStop, [STOP]],
    ['delivers only once to a listener of two tails', TellsEachListenerOnce, [TWICE]],
  ])(
    '%s',
    async (_, Broken, names) => {
      expect(await failed(() => new Broken(), names)).toEqual(expect.arrayContaining(names));
    },
    60_000,
  );

  it('leaves something of every log in the store', async () => {
    let size = 0;
    class Leaking extends MemoryBroker {
      override create(...args: Parameters<MemoryBroker['create']>): Promise<Position> {
        size++;
        return super.create(...args);
      }
    }

    expect(
      await failed(
        () => new Leaking(),
        [NOTHING],
        () => size,
      ),
    ).toEqual([NOTHING]);
  }, 60_000);

  it('has a log again after a restart in which it was lost', async () => {
    const broker = new OutlivesItsProcess();

    expect(await failed(() => broker, [RESTART])).toEqual([RESTART]);
  }, 60_000);

  it('cannot have runs', async () => {
    const broker = Object.assign(new MemoryBroker(), { appendAll: undefined });

    expect(await failed(() => broker as unknown as MemoryBroker, [MISSING])).toEqual([MISSING]);
  });
});
