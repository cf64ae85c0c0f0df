import type { Broker, BrokerListener, BrokerPosition, BrokerRecord, BrokerTail } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import type { HubResetReason } from '../event/hub-event.js';
import { LogEvent } from '../hub/log-event.js';
import { idOf, positionOf } from '../hub/position.js';
import { deferred } from '../util/thenable.js';
import {
  controlEntry,
  controlIn,
  figuresIn,
  isAbout,
  isChunk,
  type RunBegin,
  type RunControl,
  type RunEnd,
  type RunFigures,
  type RunStop,
} from './run-record.js';

/** How many records are read at once. */
export const PAGE = 256;
/** How many records are read first to find the newest chunk or the end of a run. */
const FIRST_LOOK = 16;
/** How long to wait before a log is read again that could not be read, in milliseconds. */
const RETRY_MS = 500;
/** The position of a log that does not exist. */
const NOWHERE: BrokerPosition = { epoch: '', offset: 0 };

/** What the records of one run say. Another run with the same id has another epoch. */
interface RunState {
  /** `undefined`: there is no run. The log may contain that it was stopped before it was started. */
  readonly begin?: RunBegin;
  /** Set once the run is over. */
  readonly over?: RunEnd;
  /** The key of the newest chunk that has one. It is read when its figures are needed, and not for each chunk. */
  readonly key?: string;
  /** Requests to stop it, oldest first. */
  readonly stops?: readonly RunStop[];
  /** The number of viewers in each process that has said it. */
  readonly visits?: Readonly<Record<string, number>>;
}

/** Receives new records of a log. */
export interface RunLogListener {
  /**
   * Called with consecutive records.
   * @param events the chunks among them
   * @param first the offset of the first record
   * @param last the offset of the last record
   */
  onRecords?(events: readonly LogEvent[], first: number, last: number): void;
  /** Called with each record that processes write for each other. */
  onControl?(control: RunControl): void;
  /**
   * Called when the log does not exist any more, or belongs to another run now.
   * @param last what was known of the run. `undefined`: its producer, in this process, has given it up
   */
  onGone(last?: LastState): void;
}

/** What is known of a run, and of how it ended. */
export type LastState = Pick<RunLog, 'state' | 'cause'>;

/** The log of one run, as far as this process knows it. */
export class RunLog {
  /** The state of the run. It changes when records arrive. */
  state: RunState = {};
  /** The position of the newest known record. */
  end: BrokerPosition = NOWHERE;
  readonly listeners = new Set<RunLogListener>();
  /** The error itself with which the run has failed, if that was in this process. */
  cause: { readonly error: unknown } | undefined;
  private tail: BrokerTail | undefined;
  private syncing: Promise<void> | undefined;
  private retry: NodeJS.Timeout | undefined;
  /** `missed`: the tail has delivered records while the state was being loaded. `ready`: the state is known, so that records can be applied. */
  private phase: 'loading' | 'missed' | 'ready' | 'closed' = 'loading';

  private constructor(
    readonly name: string,
    private readonly broker: Broker & BrokerRuns,
    private readonly tag: string,
  ) {}

  /** @param tag the first part of the ids of its chunks */
  static async open(name: string, broker: Broker & BrokerRuns, tag: string): Promise<RunLog> {
    const log = new RunLog(name, broker, tag);
    const tail = await broker.tail(name, log.onTail);
    log.tail = tail;
    try {
      await log.load(tail);
    } catch (error) {
      log.close();
      throw error;
    }
    return log;
  }

  /** Whether the log exists. */
  get exists(): boolean {
    return this.end.offset > 0;
  }

  /** How much the run has produced, as far as its chunks say. */
  get figures(): RunFigures | undefined {
    return figuresIn(this.state);
  }

  /** Returns the id of a chunk. */
  idAt(offset: number): string {
    return idOf(this.tag, { epoch: this.end.epoch, offset });
  }

  /**
   * Called when this process has created the log, so that its first record need not be read.
   * @param before where the log ended before it was created
   */
  created(position: BrokerPosition, begin: RunBegin, before: BrokerPosition): void {
    const { end } = this;
    if (position.epoch !== end.epoch) {
      this.restart(position);
      this.state = { begin };
      if (end !== before) {
        // The log may have been removed or replaced already, and the tail was faster than the answer.
        this.syncLater();
      }
    }
  }

  /** Returns the position that an id names, or the reason why it is not one of this log. */
  positionOf(id: string): BrokerPosition | HubResetReason {
    return positionOf(id, this.tag);
  }

  /** Resolves when a run is over, or its log does not exist any more, or belongs to another run. */
  async overOrGone({ nonce }: RunBegin): Promise<void> {
    const { promise, resolve } = deferred<void>();
    const settle = (): void => {
      if (this.state.over || this.state.begin?.nonce !== nonce) {
        resolve();
      }
    };
    const listener: RunLogListener = { onRecords: settle, onGone: () => resolve() };
    this.listeners.add(listener);
    settle();
    await promise.finally(() => this.listeners.delete(listener));
  }

  /** Returns records as events. Those that are not chunks are left out. */
  eventsOf(records: readonly BrokerRecord[]): LogEvent[] {
    return records.filter(isChunk).map((record) => this.eventOf(record));
  }

  private eventOf(record: BrokerRecord): LogEvent {
    return new LogEvent(record.offset, idOf(this.tag, record), record);
  }

  read(after: number): Promise<readonly BrokerRecord[]> {
    return this.broker.read(this.name, after, PAGE);
  }

  /** Applies all records that are in the log and not known yet. Calls `onGone()` of the listeners if the log is not there any more. */
  async sync(): Promise<void> {
    // A call that is in progress may have read before the newest record was appended.
    await this.syncing?.catch(() => undefined);
    this.syncing ??= this.readNew().finally(() => {
      this.syncing = undefined;
    });
    await this.syncing;
  }

  /**
   * Writes that a run of an owner is to be stopped when it is started.
   * @param owner `undefined`: of any owner
   * @param ms how long that is remembered, in milliseconds
   * @returns `false` if something else has changed the log in the meantime. Nothing is written then
   */
  async rememberStop(owner: string | undefined, ms: number): Promise<boolean> {
    const stop: RunStop = { reason: 'stopped', ...(owner !== undefined && { owner }) };
    // One for each owner: a client that repeats its request does not make the log longer.
    const stops = [...(this.state.stops ?? []).filter((each) => each.owner !== owner), stop];
    const entries = stops.map((data) => controlEntry({ kind: 'stop', data }));
    const condition = this.exists ? { after: this.end } : undefined;
    return (await this.broker.create(this.name, entries, ms, condition)) !== false;
  }

  /** Called when the producer in this process has given up the run, and cannot write that. */
  abandon(): void {
    for (const listener of [...this.listeners]) {
      listener.onGone();
    }
  }

  close(): void {
    this.phase = 'closed';
    clearTimeout(this.retry);
    void this.tail?.stop();
    this.listeners.clear();
  }

  private async load(position: BrokerPosition): Promise<void> {
    if (position.offset > 0) {
      const [first] = await this.broker.read(this.name, 0, 1);
      if (first && first.epoch === position.epoch && (await this.look(first, position)) && this.phase === 'loading') {
        this.phase = 'ready';
        return;
      }
    }
    // The log does not exist, or has changed just now.
    this.phase = 'ready';
    await this.sync();
  }

  /** Reads backwards, up to the newest chunk or the end of the run. Returns whether the log is still the same. */
  private async look(first: BrokerRecord, end: BrokerPosition): Promise<boolean> {
    let before = end.offset;
    let state: RunState = withControl({}, controlIn(first));
    for (let size = FIRST_LOOK; before > 1; size = PAGE) {
      const after = Math.max(1, before - size);
      const records = await this.broker.read(this.name, after, before - after);
      if (records[0]?.epoch !== end.epoch || records[0].offset !== after + 1) {
        return false;
      }
      state = records.reduce((known, record) => withRecord(known, record, controlIn(record)), state);
      before = state.over || records.some(isChunk) ? 0 : after;
    }
    this.state = state;
    this.end = { epoch: end.epoch, offset: end.offset };
    return true;
  }

  private async readNew(): Promise<void> {
    for (;;) {
      const { end } = this;
      // From the newest known record on: if it is not there any more, the store has lost it, or the log was replaced.
      const records = await this.read(Math.max(0, end.offset - 1));
      const [first] = records;
      if (first?.epoch === end.epoch && first.offset === Math.max(1, end.offset)) {
        if (!this.accept(records)) {
          return;
        }
      } else if (!(await this.reload(end))) {
        return;
      }
    }
  }

  /** Called when the log has not the end that was known. Returns whether there are records to read, from the first on. */
  private async reload(known: BrokerPosition): Promise<boolean> {
    const [oldest] = await this.broker.read(this.name, 0, 1);
    if (this.phase === 'closed') {
      return false;
    }
    if (this.end === known) {
      this.restart(oldest ? { epoch: oldest.epoch, offset: 0 } : NOWHERE);
    }
    // If the end is another one now, the tail has delivered records in the meantime.
    return oldest !== undefined;
  }

  private readonly onTail: BrokerListener = (records, position) => {
    if (this.phase !== 'ready') {
      this.phase = this.phase === 'closed' ? 'closed' : 'missed';
      return;
    }
    const [first] = records;
    if (first && (this.follows(first) || (first.offset === 1 && first.epoch !== this.end.epoch))) {
      if (first.epoch !== this.end.epoch) {
        this.restart({ epoch: first.epoch, offset: 0 });
      }
      this.accept(records);
    }
    const newest = position ?? records.at(-1);
    // A position that is lower says that the store has lost records.
    const isEnd = newest?.epoch === this.end.epoch && newest.offset <= this.end.offset;
    if (newest && (!isEnd || (position && position.offset < this.end.offset))) {
      this.syncLater();
    }
  };

  private follows({ epoch, offset }: BrokerPosition): boolean {
    return epoch === this.end.epoch && offset <= this.end.offset + 1;
  }

  /** Calls {@link sync}, and tries again until it can. */
  syncLater(): void {
    this.sync().catch(() => {
      if (this.phase !== 'closed') {
        clearTimeout(this.retry);
        this.retry = setTimeout(() => this.syncLater(), RETRY_MS);
      }
    });
  }

  /** Applies records that follow the known ones, or overlap with them. Returns whether there was a new one. */
  private accept(records: readonly BrokerRecord[]): boolean {
    const { offset: before } = this.end;
    const events: LogEvent[] = [];
    const controls: RunControl[] = [];
    for (const record of records) {
      const { epoch, offset } = this.end;
      if (record.epoch === epoch && record.offset === offset + 1) {
        this.end = { epoch, offset: record.offset };
        const control = controlIn(record);
        this.state = withRecord(this.state, record, control);
        if (control) {
          controls.push(control);
        } else if (isChunk(record)) {
          events.push(this.eventOf(record));
        }
      }
    }
    const { offset: last } = this.end;
    if (last > before) {
      for (const listener of [...this.listeners]) {
        for (const control of controls) {
          listener.onControl?.(control);
        }
        listener.onRecords?.(events, before + 1, last);
      }
    }
    return last > before;
  }

  private restart(end: BrokerPosition): void {
    const { exists, state, cause } = this;
    this.end = end;
    this.state = {};
    this.cause = undefined;
    if (exists) {
      for (const listener of [...this.listeners]) {
        listener.onGone({ state, cause });
      }
    }
  }
}

function withRecord(state: RunState, record: BrokerRecord, control: RunControl | undefined): RunState {
  if (isChunk(record)) {
    return record.key === undefined ? state : { ...state, key: record.key };
  }
  return withControl(state, control);
}

function withControl(state: RunState, control: RunControl | undefined): RunState {
  switch (control?.kind) {
    case 'begin':
      return { ...state, begin: control.data };
    case 'end':
      // The first one counts.
      return { ...state, over: state.over ?? control.data };
    case 'stop':
      return isAbout(control.data, state.begin) ? { ...state, stops: [...(state.stops ?? []), control.data] } : state;
    case 'viewers':
      return isAbout(control.data, state.begin)
        ? { ...state, visits: { ...state.visits, [control.data.node]: control.data.count } }
        : state;
    default:
      return state;
  }
}
