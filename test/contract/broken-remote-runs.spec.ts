import {
  type Broker,
  type BrokerCondition,
  type BrokerEntry,
  type BrokerListener,
  type BrokerPosition,
  type BrokerRecord,
  type BrokerRuns,
  type BrokerTail,
  StreamError,
} from '../../lib/index.js';
import { type BrokerContractSetup, brokerRunsContract } from '../../lib/testing/index.js';

const DELIVERS = 'a tail of a run delivers what was appended while its connection was lost, or says where the log ends';
const AT_MOST_ONCE = 'an appendAll() during which the connection is cut appends its entries at most once';
const WORKS = 'each method for runs works again after the connection was cut';
const IN_TIME = 'each method for runs settles in time while the store does not answer';
const BUSY = 'appendAll() rejects at once as broker-busy when too many entries wait for the store';
const CLOSES = 'close() resolves in time although appendAll() waits for the store';
const LOST = 'a log of a run that the store has lost does not exist';
const LOST_NEWEST = 'a log of a run that has lost its newest records says so to its producer and to its listeners';
const RESTARTED = 'a log of a run does not exist after a restart in which its records were lost';

const MOST_PENDING = 5_000;
const TIMEOUT_MS = 100;
const RECONNECT_MS = 5;
const NOWHERE: BrokerPosition = { epoch: '', offset: 0 };

interface Log {
  readonly epoch: string;
  readonly records: BrokerRecord[];
  timer: NodeJS.Timeout | undefined;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const error = (code: 'broker-unavailable' | 'broker-busy' | 'publish-unknown'): StreamError =>
  new StreamError(code, 'The store did not answer', { statusCode: 503 });

/** A store on another machine. */
class Store {
  readonly logs = new Map<string, Log>();
  readonly listeners = new Map<string, Set<BrokerListener>>();
  readonly brokers = new Set<RemoteRuns>();
  /** Resolves when the store answers again. */
  frozen: { readonly ended: Promise<void>; readonly thaw: () => void } | undefined;
  private epochs = 0;

  end(name: string): BrokerPosition {
    const log = this.logs.get(name);
    return log ? { epoch: log.epoch, offset: log.records.length } : NOWHERE;
  }

  create(name: string, entries: readonly BrokerEntry[], ms: number, after = NOWHERE): BrokerPosition | false {
    if (!same(this.end(name), after)) {
      return false;
    }
    this.drop(name);
    this.logs.set(name, { epoch: `e${++this.epochs}`, records: [], timer: undefined });
    this.expire(name, ms);
    return this.append(name, entries);
  }

  append(name: string, entries: readonly BrokerEntry[], after?: BrokerPosition): BrokerPosition | false {
    const log = this.logs.get(name);
    if (!log || (after && !same(this.end(name), after))) {
      return false;
    }
    const { epoch } = log;
    const first = log.records.length + 1;
    const records = entries.map((entry, index) => ({ ...entry, epoch, offset: first + index, time: Date.now() }));
    log.records.push(...records);
    for (const listener of [...(this.listeners.get(name) ?? [])]) {
      listener(records);
    }
    return this.end(name);
  }

  expire(name: string, ms: number): boolean {
    const log = this.logs.get(name);
    if (log) {
      clearTimeout(log.timer);
      log.timer = setTimeout(() => this.drop(name), ms).unref();
    }
    return log !== undefined;
  }

  drop(name: string): void {
    clearTimeout(this.logs.get(name)?.timer);
    this.logs.delete(name);
  }

  after(name: string, { epoch, offset }: BrokerPosition): readonly BrokerRecord[] {
    const log = this.logs.get(name);
    return log?.records.slice(log.epoch === epoch || epoch === '' ? offset : 0) ?? [];
  }

  rewind(name: string, count: number): void {
    this.logs.get(name)?.records.splice(-count);
    for (const broker of this.brokers) {
      broker.cut();
    }
  }

  freeze(): void {
    let thaw = (): void => undefined;
    const ended = new Promise<void>((resolve) => {
      thaw = resolve;
    });
    this.frozen = { ended, thaw };
  }

  async thaw(): Promise<void> {
    this.frozen?.thaw();
    this.frozen = undefined;
    await turn();
  }
}

function same(one: BrokerPosition, other: BrokerPosition): boolean {
  return one.epoch === other.epoch && one.offset === other.offset;
}

interface Tail {
  readonly log: string;
  readonly listener: BrokerListener;
  readonly receive: BrokerListener;
  at: BrokerPosition;
  stopped: boolean;
}

/** A broker that keeps the contract for runs. */
class RemoteRuns implements Broker, BrokerRuns {
  protected readonly tails = new Set<Tail>();
  protected connected = true;
  private closed = false;
  private pending = 0;
  /** Changes when the connection is lost. */
  private connection = 0;

  constructor(protected readonly store: Store) {
    store.brokers.add(this);
  }

  open(): Promise<void> {
    return Promise.reject(new Error('This broker has runs only'));
  }

  append(): Promise<BrokerPosition> {
    return Promise.reject(new Error('This broker has runs only'));
  }

  create(log: string, entries: readonly BrokerEntry[], ms: number, condition?: BrokerCondition) {
    return this.write(entries.length, () => this.store.create(log, entries, ms, condition?.after));
  }

  appendAll(log: string, entries: readonly BrokerEntry[], condition?: BrokerCondition) {
    return this.write(entries.length, () => {
      const position = this.store.append(log, entries, condition?.after);
      if (position && condition?.expire !== undefined) {
        this.store.expire(log, condition.expire);
      }
      return position;
    });
  }

  expire(log: string, ms: number): Promise<boolean> {
    return this.ask(() => this.store.expire(log, ms), 'broker-unavailable');
  }

  drop(log: string): Promise<void> {
    return this.ask(() => this.store.drop(log), 'broker-unavailable');
  }

  read(log: string, after: number, count: number): Promise<readonly BrokerRecord[]> {
    const read = () => this.store.after(log, { epoch: '', offset: after }).slice(0, count);
    return this.ask(read, 'broker-unavailable');
  }

  async tail(log: string, listener: BrokerListener): Promise<BrokerTail> {
    const receive: BrokerListener = (records) => this.deliver(tail, records);
    const tail: Tail = { log, listener, receive, at: NOWHERE, stopped: false };
    await this.ask(() => {
      tail.at = this.store.end(log);
      this.attach(tail);
    }, 'broker-unavailable');
    this.tails.add(tail);
    return { ...tail.at, stop: () => this.stop(tail) };
  }

  async close(): Promise<void> {
    this.closed = true;
    this.cut();
    for (const tail of this.tails) {
      tail.stopped = true;
    }
  }

  cut(): void {
    this.connected = false;
    this.connection++;
    for (const tail of this.tails) {
      this.detach(tail);
    }
    setTimeout(() => this.reconnect(), RECONNECT_MS);
  }

  protected reconnect(): void {
    if (!this.closed && this.store.frozen === undefined) {
      this.connected = true;
      for (const tail of this.tails) {
        this.attach(tail);
        this.continueTail(tail);
      }
    }
  }

  /** Delivers what the tail has missed. */
  protected continueTail(tail: Tail): void {
    const end = this.store.end(tail.log);
    if (end.epoch === tail.at.epoch && end.offset < tail.at.offset) {
      tail.at = end;
      tail.listener([], end);
    } else {
      this.deliver(tail, this.store.after(tail.log, tail.at));
    }
  }

  protected stop(tail: Tail): void {
    tail.stopped = true;
    this.tails.delete(tail);
    this.detach(tail);
  }

  protected isFull(): boolean {
    return this.pending >= MOST_PENDING;
  }

  protected async write(count: number, command: () => BrokerPosition | false): Promise<BrokerPosition | false> {
    if (this.isFull()) {
      throw error('broker-busy');
    }
    this.pending += count;
    try {
      return await this.ask(command, 'publish-unknown');
    } finally {
      this.pending -= count;
    }
  }

  /** Sends a command. @param code the code of the error if the answer is lost */
  protected async ask<R>(command: () => R, code: 'broker-unavailable' | 'publish-unknown'): Promise<R> {
    const { connection } = this;
    if (!this.connected) {
      throw error('broker-unavailable');
    }
    const answer = (this.store.frozen?.ended ?? turn()).then(command);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(error(code)), this.timeout);
    });
    const result = await Promise.race([answer, late]).finally(() => clearTimeout(timer));
    await turn();
    if (this.connection !== connection) {
      throw error(code);
    }
    return result;
  }

  protected get timeout(): number {
    return TIMEOUT_MS;
  }

  protected deliver(tail: Tail, records: readonly BrokerRecord[]): void {
    const last = records.at(-1);
    if (last && !tail.stopped) {
      tail.at = { epoch: last.epoch, offset: last.offset };
      tail.listener(records);
    }
  }

  private attach({ log, receive }: Tail): void {
    this.store.listeners.set(log, (this.store.listeners.get(log) ?? new Set()).add(receive));
  }

  private detach({ log, receive }: Tail): void {
    this.store.listeners.get(log)?.delete(receive);
  }
}

class StaysAway extends RemoteRuns {
  protected override reconnect(): void {
    this.connected = false;
  }
}

class SaysNothingMissed extends RemoteRuns {
  protected override continueTail({ log }: Tail): void {
    this.store.end(log);
  }
}

class RepeatsItself extends RemoteRuns {
  protected override continueTail(tail: Tail): void {
    this.deliver(tail, this.store.after(tail.log, NOWHERE));
  }
}

class SaysALaterPosition extends RemoteRuns {
  protected override continueTail({ log, listener }: Tail): void {
    const { epoch, offset } = this.store.end(log);
    listener([], { epoch, offset: offset + 100 });
  }
}

class ContinuesStoppedTails extends RemoteRuns {
  protected override stop(tail: Tail): void {
    if (this.connected) {
      super.stop(tail);
    }
  }
}

class AppendsAgain extends RemoteRuns {
  protected override async write(
    count: number,
    command: () => BrokerPosition | false,
  ): Promise<BrokerPosition | false> {
    return super.write(count, command).catch(async () => {
      await turn();
      return command();
    });
  }
}

class KnowsTooMuch extends RemoteRuns {
  protected override write(_count: number, command: () => BrokerPosition | false) {
    return this.ask(command, 'broker-unavailable');
  }
}

class Hangs extends RemoteRuns {
  protected override get timeout(): number {
    return 60_000;
  }
}

class TakesEverything extends RemoteRuns {
  protected override isFull(): boolean {
    return false;
  }
}

class ClosesLater extends RemoteRuns {
  override async close(): Promise<void> {
    await this.store.frozen?.ended;
    await super.close();
  }
}

class RemembersWhatIsLost extends RemoteRuns {
  private readonly known = new Map<string, readonly BrokerEntry[]>();

  override create(log: string, entries: readonly BrokerEntry[], ms: number, condition?: BrokerCondition) {
    this.known.set(log, entries);
    return super.create(log, entries, ms, condition);
  }

  override appendAll(log: string, entries: readonly BrokerEntry[], condition?: BrokerCondition) {
    const known = this.known.get(log);
    if (!this.store.logs.has(log) && known) {
      this.store.create(log, [...known, ...entries], 60_000);
      return Promise.resolve(this.store.end(log));
    }
    return super.appendAll(log, entries, condition);
  }
}

class OverlooksLostRecords extends RemoteRuns {
  protected override continueTail(tail: Tail): void {
    this.deliver(tail, this.store.after(tail.log, tail.at));
  }
}

function setupOf(Kind: new (store: Store) => RemoteRuns): BrokerContractSetup {
  let store = new Store();
  return {
    create: () => new Kind(store),
    shared: true,
    restart: () => {
      store = new Store();
      return new Kind(store);
    },
    lose: (log) => store.drop(log),
    cut: (broker) => (broker as RemoteRuns).cut(),
    rewind: (log, count) => store.rewind(log, count),
    freeze: () => store.freeze(),
    thaw: () => store.thaw(),
    size: () => store.logs.size,
    timeout: 1_000,
  };
}

describe('A broker of a store on another machine that keeps the contract for runs', () => {
  const contract = brokerRunsContract(setupOf(RemoteRuns));

  it.each(contract.map(({ name, run }) => [name, run] as const))('%s', (_, run) => run(), 60_000);
});

describe('The contract for runs fails for a broker of a store on another machine that', () => {
  it.each<[string, new (store: Store) => RemoteRuns, string[]]>([
    ['does not connect again', StaysAway, [DELIVERS, AT_MOST_ONCE, WORKS]],
    ['does not deliver what it has missed', SaysNothingMissed, [DELIVERS, LOST_NEWEST]],
    ['delivers all records again', RepeatsItself, [DELIVERS]],
    ['says that a log ends later than it does', SaysALaterPosition, [DELIVERS]],
    ['continues tails that were stopped', ContinuesStoppedTails, [DELIVERS]],
    ['appends again what may be appended', AppendsAgain, [AT_MOST_ONCE]],
    ['says that nothing was appended without knowing it', KnowsTooMuch, [AT_MOST_ONCE]],
    ['waits without a limit', Hangs, [IN_TIME]],
    ['lets any number of entries wait', TakesEverything, [BUSY]],
    ['waits for the store when it is closed', ClosesLater, [CLOSES]],
    ['creates a lost log again', RemembersWhatIsLost, [LOST]],
    ['does not see that the newest records are lost', OverlooksLostRecords, [LOST_NEWEST]],
  ])(
    '%s',
    async (_, Kind, names) => {
      const cases = brokerRunsContract(setupOf(Kind)).filter(({ name }) => names.includes(name));
      const outcomes = await Promise.allSettled(cases.map(({ run }) => run()));

      expect(outcomes.map(({ status }) => status)).toEqual(names.map(() => 'rejected'));
    },
    60_000,
  );

  it('has a log after a restart in which it was lost', async () => {
    const store = new Store();
    const setup = { ...setupOf(RemoteRuns), restart: () => new RemoteRuns(store), create: () => new RemoteRuns(store) };
    const restarted = brokerRunsContract(setup).find(({ name }) => name === RESTARTED);

    await expect(restarted?.run()).rejects.toMatchObject({ code: 'ERR_ASSERTION' });
  });
});
