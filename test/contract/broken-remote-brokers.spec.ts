import type {
  BrokerEntry,
  BrokerListener,
  BrokerPosition,
  BrokerRecord,
  BrokerRetention,
  BrokerTail,
} from '../../lib/index.js';
import { brokerContract } from '../../lib/testing/index.js';
import { SharedStore, SharedStoreBroker, type Tail } from './shared-store.js';
import type { Connection } from './shared-store-server.js';

const SILENT = 'a tail whose connection was cut reports what it has missed, even if nothing is appended afterwards';
const RECONNECT = 'a broker whose connection was cut connects again by itself, and continues its tails';
const CUT_APPEND =
  'an append() during which the connection is cut appends the entry once if it resolves, and at most once if it rejects';
const REWIND_TAIL = 'a log that was rewound begins a new epoch, which its tails learn before anything is appended';
const REWIND_APPEND = 'a broker whose log was rewound appends nothing more in the epoch of the lost records';
const REWIND_OPEN = 'a log that was rewound begins a new epoch for a process that opens it afterwards';
const REWIND_ONCE = 'append() appends an entry with `once` again if its record was lost when the log was rewound';
const LOST = 'a log that loses its records while it is open begins a new epoch';
const ONCE = 'append() appends an entry with `once` once, also if another process retries it';
const ONCE_RACE = 'append() appends an entry with `once` once if several processes append it at the same time';
const ONCE_APART = 'append() tells the `once` of entries of different logs apart';
const ONCE_EVICTED = 'append() remembers `once` of an entry whose record was evicted';
const ONCE_LOST = 'append() appends an entry with `once` again if its log was lost';
const FROZEN = 'append() rejects in time while the store does not answer, and says whether the entry may be in the log';
const BUSY = 'append() rejects at once as broker-busy when too many entries wait for the store';
const FROZEN_READ = 'read() and tail() settle in time while the store does not answer';
const FROZEN_CLOSE = 'close() resolves in time while the store does not answer';
const RETENTION = 'a log that is opened again, also by another process, has the retention of the newest open()';
const NOTHING = 'a log with a limit of 0 keeps no record, and its tails deliver every record';
const COUNT = 'a log evicts its oldest records beyond its limit, and read() continues with the oldest that is left';
const RAW = 'an entry that another program has appended by the documented command is a record like any other';
const HUB_CUT =
  'a hub whose broker was cut from its store delivers every event, even if nothing is published afterwards';
const HUB_DEAD = 'a hub resets a client of another process that has ended, if the last events of that client were lost';

/** Goes silent after a lost connection, until the next record. */
class ReportsNothingMissed extends SharedStoreBroker {
  protected override async continueTail({ log, receive }: Tail, connection: Connection): Promise<void> {
    await this.send(connection, () => this.store.attach(log, receive, connection));
  }
}

class LosesItsTails extends SharedStoreBroker {
  protected override async continueTail(): Promise<void> {
    await Promise.resolve();
  }
}

class BeginsTailsAgain extends SharedStoreBroker {
  protected override continueTail(tail: Tail, connection: Connection): Promise<void> {
    return super.continueTail({ ...tail, at: { ...tail.at, offset: 0 } }, connection);
  }
}

class ReportsALaterPosition extends SharedStoreBroker {
  protected override async continueTail(tail: Tail, connection: Connection): Promise<void> {
    const { log, receive, at } = tail;
    await this.send(connection, () => this.store.attach(log, receive, connection));
    receive([], { ...at, offset: at.offset + 1_000 });
  }
}

class AnnouncesNoEpoch extends SharedStoreBroker {
  protected override continueTail(tail: Tail, connection: Connection): Promise<void> {
    const { log, at } = tail;
    const receive: Tail['receive'] = (records, position) =>
      position && position.epoch !== at.epoch ? undefined : tail.receive(records, position);
    this.store.detach(log, tail.receive);
    return super.continueTail({ ...tail, receive }, connection);
  }
}

class CannotStopWithoutConnection extends SharedStoreBroker {
  override async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const tail = await super.tail(log, listener);
    return { ...tail, stop: () => (this.status().connected ? tail.stop() : undefined) };
  }
}

/** Sends every command again that was not answered, as some clients of stores do. */
class SendsAgain extends SharedStoreBroker {
  protected override async send<R>(connection: Connection, command: () => R): Promise<R> {
    return super.send(connection, command).catch(async () => {
      while (!this.status().connected) {
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      return super.send(this.connection, command);
    });
  }
}

class SaysUnavailable extends SharedStoreBroker {
  override append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, entry).catch((error: Error) => {
      throw Object.assign(error, { code: 'broker-unavailable' });
    });
  }
}

class SaysNoCode extends SharedStoreBroker {
  override append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, entry).catch(({ message }: Error) => {
      throw new Error(message);
    });
  }
}

class WaitsForever extends SharedStoreBroker {
  protected override limit(): () => void {
    return () => undefined;
  }
}

class QueuesWithoutLimit extends SharedStoreBroker {
  protected override isFull(): boolean {
    return false;
  }
}

class ClosesLate extends SharedStoreBroker {
  override async close(): Promise<void> {
    await this.store.answering;
    await super.close();
  }
}

class IgnoresOnce extends SharedStoreBroker {
  override append(log: string, { once, ...entry }: BrokerEntry): Promise<BrokerPosition> {
    return super.append(log, entry);
  }
}

/** Remembers `once` in the process, and not in the store. */
class RemembersOnceAlone extends SharedStoreBroker {
  private readonly known = new Map<string, Promise<BrokerPosition>>();

  override append(log: string, { once, ...entry }: BrokerEntry): Promise<BrokerPosition> {
    const key = `${log} ${once}`;
    const appended = (once !== undefined && this.known.get(key)) || super.append(log, entry);
    this.known.set(key, appended);
    return appended;
  }
}

class ReturnsOnce extends SharedStoreBroker {
  override async read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    return (await super.read(log, after, count)).map((record) => ({ ...record, once: 'a' }));
  }
}

class EvictsByOwnLimit extends SharedStoreBroker {
  private readonly own = new Map<string, BrokerRetention>();

  override open(log: string, retention: BrokerRetention): Promise<void> {
    this.own.set(log, retention);
    return super.open(log, retention);
  }

  override async append(log: string, entry: BrokerEntry): Promise<BrokerPosition> {
    const position = await super.append(log, entry);
    const { records } = this.store.log(log);
    records.splice(0, records.length - (this.own.get(log)?.limit ?? 0));
    return position;
  }
}

/** Has no check whether it is still the server on which the epoch began. */
class Unchecked extends SharedStore {
  override open(name: string, retention?: BrokerRetention): void {
    const { run } = this;
    if (this.has(name)) {
      Object.assign(this.log(name), { run });
    }
    super.open(name, retention);
  }
}

class KeepsOldRecords extends SharedStore {
  override lose(name: string): void {
    const { records } = this.log(name);
    super.lose(name);
    this.log(name).records = records;
  }
}

class OneKeyForAllLogs extends SharedStore {
  private readonly once = new Map<string, BrokerPosition>();

  override append(name: string, { once, ...entry }: BrokerEntry): BrokerPosition {
    const position = this.once.get(once ?? '') ?? super.append(name, entry);
    if (once !== undefined) {
      this.once.set(once, position);
    }
    return position;
  }
}

class RemembersOnceOfLostRecords extends SharedStore {
  override lose(name: string): void {
    const known = [...this.log(name).once];
    super.lose(name);
    for (const [once, position] of known) {
      this.log(name).once.set(once, position);
    }
  }
}

class ForgetsOnceOfEvictedRecords extends SharedStore {
  override append(name: string, entry: BrokerEntry): BrokerPosition {
    const { once, records } = this.log(name);
    for (const [key, { offset }] of once) {
      if (!records.some((record) => record.offset === offset)) {
        once.delete(key);
      }
    }
    return super.append(name, entry);
  }
}

class CountsRetries extends SharedStore {
  override append(name: string, entry: BrokerEntry): BrokerPosition {
    const log = this.log(name);
    if (entry.once !== undefined && log.once.has(entry.once)) {
      log.last++;
    }
    return super.append(name, entry);
  }
}

class FirstOpenDecides extends SharedStore {
  override open(name: string, retention?: BrokerRetention): void {
    super.open(name, this.has(name) ? undefined : retention);
  }
}

class ShowsTheBufferOfTails extends SharedStore {
  override open(name: string, retention?: BrokerRetention): void {
    super.open(name, retention && { ...retention, limit: Math.max(256, retention.limit) });
  }
}

interface Broken {
  readonly broker?: new (store: SharedStore, timeout: number) => SharedStoreBroker;
  readonly store?: new () => SharedStore;
  /** Changes an entry that another program appends. */
  readonly raw?: (entry: BrokerEntry) => BrokerEntry;
}

/** How long a broker waits for its store, in milliseconds. The contract waits longer. */
const BROKER_TIMEOUT_MS = 300;

function contractOf({
  broker: Broker = SharedStoreBroker,
  store: Store = SharedStore,
  raw = (entry) => entry,
}: Broken) {
  const store = new Store();
  return brokerContract({
    create: () => new Broker(store, BROKER_TIMEOUT_MS),
    shared: true,
    lose: (log) => store.lose(log),
    cut: (broker) => (broker as SharedStoreBroker).cut(),
    rewind: (log, count) => store.rewind(log, count),
    freeze: () => store.freeze(),
    thaw: () => store.thaw(),
    appendRaw: (log, entry) => void store.append(log, raw(entry)),
    timeout: 5 * BROKER_TIMEOUT_MS,
  });
}

describe('The broker contract fails for a remote broker that', () => {
  it.each<[string, Broken, [string, RegExp][]]>([
    [
      'reports nothing of what it has missed without a connection',
      { broker: ReportsNothingMissed },
      [
        [SILENT, /learns that the log has reached offset 13/],
        [HUB_CUT, /A subscriber that has 3 events receives 13/],
      ],
    ],
    [
      'loses its tails with its connection',
      { broker: LosesItsTails },
      [[RECONNECT, /learns that the log has reached/]],
    ],
    [
      'delivers all records again on a new connection',
      { broker: BeginsTailsAgain },
      [[SILENT, /received offset 1 after 3/]],
    ],
    [
      'reports a position after the end of its log',
      { broker: ReportsALaterPosition },
      [[SILENT, /no position may be after/]],
    ],
    [
      'cannot stop a tail without a connection',
      { broker: CannotStopWithoutConnection },
      [[RECONNECT, /must stay stopped/]],
    ],
    ['sends its commands again after a lost connection', { broker: SendsAgain }, [[CUT_APPEND, /is in the log twice/]]],
    [
      'keeps the epoch of a log that was rewound',
      { store: Unchecked },
      [
        [REWIND_TAIL, /learns that another epoch has begun/],
        [REWIND_APPEND, /must look for a new epoch/],
        [REWIND_OPEN, /must begin a new epoch/],
        [HUB_DEAD, /needs a reset/],
      ],
    ],
    [
      'announces a new epoch only with its first record',
      { broker: AnnouncesNoEpoch },
      [[REWIND_TAIL, /another epoch has begun/]],
    ],
    [
      'returns records of two epochs',
      { store: KeepsOldRecords },
      [
        [LOST, /./],
        [REWIND_APPEND, /without the records of the earlier one/],
      ],
    ],
    [
      'appends a retry twice',
      { broker: IgnoresOnce },
      [
        [ONCE, /./],
        [ONCE_RACE, /must append one record/],
        [ONCE_EVICTED, /./],
      ],
    ],
    [
      'remembers `once` in one process only',
      { broker: RemembersOnceAlone },
      [
        [ONCE, /./],
        [ONCE_RACE, /must append one record/],
      ],
    ],
    ['returns `once` as a part of the record', { broker: ReturnsOnce }, [[ONCE, /must not become a part/]]],
    ['uses an offset for a retry', { store: CountsRetries }, [[ONCE, /must use no offset/]]],
    ['remembers `once` for all logs together', { store: OneKeyForAllLogs }, [[ONCE_APART, /may have the same `once`/]]],
    ['forgets `once` of a record that was evicted', { store: ForgetsOnceOfEvictedRecords }, [[ONCE_EVICTED, /./]]],
    [
      'remembers `once` of a record that was lost',
      { store: RemembersOnceOfLostRecords },
      [
        [ONCE_LOST, /must be appended again/],
        [REWIND_ONCE, /./],
      ],
    ],
    [
      'waits for ever for its store',
      { broker: WaitsForever },
      [
        [FROZEN, /Each append\(\) rejects/],
        [FROZEN_READ, /settles while the store/],
      ],
    ],
    [
      'keeps any number of entries waiting',
      { broker: QueuesWithoutLimit },
      [[BUSY, /none was rejected as "broker-busy"/]],
    ],
    [
      'says that an entry was not appended that it has sent',
      { broker: SaysUnavailable },
      [
        [FROZEN, /is in the log/],
        [CUT_APPEND, /is in the log/],
      ],
    ],
    ['rejects with an error without a code', { broker: SaysNoCode }, [[FROZEN, /rejected with the code undefined/]]],
    ['waits for its store when it is closed', { broker: ClosesLate }, [[FROZEN_CLOSE, /close\(\) resolves/]]],
    [
      'keeps the retention of the first open()',
      { store: FirstOpenDecides },
      [[RETENTION, /The newest open\(\) has lowered the limit/]],
    ],
    [
      'evicts by the limit of each process',
      { broker: EvictsByOwnLimit },
      [[RETENTION, /must not evict by their limit/]],
    ],
    [
      'returns records that it keeps only for its tails',
      { store: ShowsTheBufferOfTails },
      [
        [NOTHING, /must return no record/],
        [COUNT, /Only the newest 5 records are kept/],
      ],
    ],
    ['does not read the topic of entries of other programs', { raw: ({ topic, ...entry }) => entry }, [[RAW, /./]]],
  ])(
    '%s',
    async (_, broken, expected) => {
      for (const [name, message] of expected) {
        const found = contractOf(broken).find((each) => each.name === name);

        await expect(found?.run()).rejects.toThrow(message);
      }
    },
    60_000,
  );
});
