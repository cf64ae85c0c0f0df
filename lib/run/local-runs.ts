import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Broker, BrokerPosition } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { atMost } from '../util/at-most.js';
import { StreamError } from '../util/errors.js';
import { LocalRun } from './local-run.js';
import type { Run, RunInfo, RunSettings, RunStopReason, SettingsOfRun } from './run.options.js';
import type { RunLog } from './run-log.js';
import type { RunLogs } from './run-logs.js';
import type { RunNaming } from './run-naming.js';
import type { RunNode } from './run-node.js';
import type { OwnerEntry, RunOwners } from './run-owners.js';
import { patiently } from './run-patience.js';
import type { ReadStart } from './run-reader.js';
import { controlEntry, type RunBegin } from './run-record.js';
import type { RunServices } from './run-services.js';
import type { RunSheet } from './run-sheet.js';
import { BEGIN, placeIn } from './run-start.js';

/** How long a log of a run without a maximum duration lives, unless it ends, in milliseconds. */
const LONGEST_MS = 2 ** 31 - 1;
/** How long to wait before it is looked again whether a record was written, in milliseconds. */
const RETRY_MS = 500;
/** How many runs of this process that are over are listed. */
const RECENT = 100;

interface LocalRunsParts {
  readonly settings: RunSettings;
  readonly broker: Broker & BrokerRuns;
  readonly services: RunServices;
  readonly logs: RunLogs;
  readonly node: RunNode;
  readonly sheet: RunSheet;
  readonly owners: RunOwners;
  /** Ends a run whose producer is gone. */
  readonly endIfLost: (log: RunLog) => Promise<unknown>;
  readonly naming: RunNaming;
}

/** What is specific to one run. */
interface RunTerms {
  readonly owner?: string | undefined;
  /** Settings in place of those of all runs. */
  readonly settings?: SettingsOfRun | undefined;
}

/** A log before a run begins in it: it does not exist, or contains a run that is over, or a request to stop. */
type Replaced = Pick<RunLog, 'end' | 'exists' | 'state'>;

/** A run before its log is created, which another process may do first. */
interface Candidate extends Pick<RunTerms, 'settings'> {
  readonly log: RunLog;
  readonly begin: RunBegin;
  readonly produce: (run: Run) => unknown;
  readonly replaced: Replaced;
}

/** A call that is about to start a run. */
interface Start {
  readonly owner: string | undefined;
  /** The start of the run, if it has started it. */
  readonly done: Promise<ReadStart | undefined>;
}

/** The runs whose producers are in this process. */
export class LocalRuns {
  /** The runs in progress, by the names of their logs. */
  private readonly running = new Map<string, LocalRun>();
  /** The log of each run whose first record is being written, by the nonce of that record. */
  private readonly electing = new Map<string, string>();
  /** The calls that are about to start a run, by the names of their logs. */
  private readonly starting = new Map<string, Start>();
  private readonly recent: RunInfo[] = [];
  private draining = false;
  private closed = false;

  constructor(private readonly parts: LocalRunsParts) {}

  /** The runs in progress, and those that have ended not long ago. */
  get infos(): readonly RunInfo[] {
    const since = Date.now() - this.parts.settings.keep;
    const recent = this.recent.filter(({ endedAt = 0 }) => endedAt > since);
    return [...[...this.running.values()].map(({ info }) => info), ...recent];
  }

  get(log: RunLog): LocalRun | undefined {
    return this.running.get(log.name);
  }

  /** Returns whether the producer of a run is in this process, or is about to be. */
  has({ name, state }: RunLog): boolean {
    return this.running.has(name) || (state.begin !== undefined && this.electing.has(state.begin.nonce));
  }

  /** Returns the run that a reader reads, also before it has begun. */
  at({ name, epoch }: { readonly name: string; readonly epoch: string }): LocalRun | undefined {
    const run = this.running.get(name);
    return run?.parts.position.epoch === epoch ? run : undefined;
  }

  [Symbol.iterator](): Iterator<LocalRun> {
    return this.running.values();
  }

  /**
   * Creates the log of a run, and calls its producer.
   * @returns the start of the run, or `undefined` if another call was faster
   * @throws {StreamError} `run-limit`, or `run-stopped` if the application is closing
   */
  async create(
    log: RunLog,
    id: string,
    produce: (run: Run) => unknown,
    terms: RunTerms,
  ): Promise<ReadStart | undefined> {
    const { owner } = terms;
    const first = this.starting.get(log.name);
    if (first && first.owner === owner) {
      // It would compete in vain, and all of them would write to the list of the owner again and again.
      await first.done;
      return undefined;
    }
    const start: Start = { owner, done: this.compete(log, id, produce, terms) };
    this.starting.set(log.name, start);
    try {
      return await start.done;
    } finally {
      if (this.starting.get(log.name) === start) {
        this.starting.delete(log.name);
      }
    }
  }

  private async compete(
    log: RunLog,
    id: string,
    produce: (run: Run) => unknown,
    terms: RunTerms,
  ): Promise<ReadStart | undefined> {
    const { owner, settings } = terms;
    this.requireRoom(log);
    const { owners, node, naming, services } = this.parts;
    const trace = services.observer?.()?.runStarts(naming.nameOf(id));
    // As it is now: until the first record is written, another call may have started the run.
    const replaced = { end: log.end, exists: log.exists, state: log.state };
    const begin = { id, nonce: randomBytes(9).toString('base64url'), node: node.id, owner, trace, at: Date.now() };
    this.electing.set(begin.nonce, log.name);
    let start: ReadStart | undefined;
    let entered = false;
    try {
      await node.ready();
      await owners.enter(owner, placeOf(log, begin));
      entered = true;
      start = await this.elect({ log, begin, produce, settings, replaced });
    } finally {
      this.electing.delete(begin.nonce);
      if (!start && trace !== undefined) {
        services.observer?.()?.runDropped(trace);
      }
      if (entered && !start) {
        await this.leave(log, begin);
      }
    }
    if (!start) {
      await log.sync();
    }
    return start;
  }

  /** Starts no more runs. */
  drain(): void {
    this.draining = true;
  }

  /** Resolves when no run is in progress, at the latest after a time. */
  async settled(ms: number): Promise<void> {
    if (this.running.size > 0 && ms > 0) {
      await atMost(ms, Promise.all([...this].map(({ over }) => over)));
    }
  }

  /** Ends what is in progress, at the latest after a time. */
  async close(ms: number): Promise<void> {
    this.draining = true;
    for (const run of this) {
      run.stop('shutdown');
    }
    await this.settled(ms);
    this.closed = true;
  }

  /** Writes the first record, and starts the run if no other process was faster. */
  private async elect(candidate: Candidate): Promise<ReadStart | undefined> {
    const { log, begin, replaced } = candidate;
    // The log may say that the run was stopped before it was started.
    const early = replaced.state.begin ? undefined : replaced.state.stops;
    const wasStopped = early?.some(({ owner }) => owner === undefined || owner === begin.owner);
    const position = await this.write(log, begin, replaced);
    const reason = wasStopped ? 'stopped' : this.draining ? 'shutdown' : undefined;
    return position && this.begin(candidate, position, reason);
  }

  private async write(log: RunLog, begin: RunBegin, { exists, end }: Replaced): Promise<BrokerPosition | undefined> {
    const { settings, broker } = this.parts;
    const entries = [controlEntry({ kind: 'begin', data: begin })];
    const ms = Math.min(LONGEST_MS, settings.maxDuration + settings.keep);
    try {
      return (await broker.create(log.name, entries, ms, exists ? { after: end } : undefined)) || undefined;
    } catch (error) {
      // It may have been written, although the answer was lost.
      await log.sync().catch((cause: unknown) => {
        this.disown(log, begin).catch((error: unknown) => this.parts.services.warn('A run may never end', error));
        throw cause;
      });
      if (log.state.begin?.nonce === begin.nonce) {
        return log.end;
      }
      throw error;
    }
  }

  /** Ends a run of which it is not known whether its first record was written: its producer was not called. */
  private async disown(log: RunLog, { nonce }: RunBegin): Promise<void> {
    const { logs, settings } = this.parts;
    const until = performance.now() + settings.keep;
    await logs.acquire(log.name);
    try {
      while (!this.closed && performance.now() < until) {
        await pause(RETRY_MS, undefined, { ref: false });
        // It rejects while the broker is away.
        if (await this.endIfBegun(log, nonce).catch(() => false)) {
          return;
        }
      }
    } finally {
      logs.release(log.name);
    }
  }

  private async endIfBegun(log: RunLog, nonce: string): Promise<true> {
    await log.sync();
    if (log.state.begin?.nonce === nonce && !log.state.over) {
      await this.parts.endIfLost(log);
    }
    return true;
  }

  /**
   * @param stopped why it is stopped before it produces anything
   * @returns its start
   */
  private begin(candidate: Candidate, position: BrokerPosition, stopped: RunStopReason | undefined): ReadStart {
    const { log, begin, produce } = candidate;
    const { broker, services, logs, sheet, naming } = this.parts;
    const settings = { ...this.parts.settings, ...candidate.settings };
    log.created(position, begin, candidate.replaced.end);
    // Before the producer is called: its run may be over, and removed, before the caller goes on.
    const start = placeIn(log, BEGIN);
    const run = new LocalRun({
      begin,
      log,
      position,
      broker,
      settings,
      name: naming.textOf(begin.id),
      services,
      onOver: (ended) => this.onOver(ended),
      isClosed: () => this.closed,
    });
    this.running.set(log.name, run);
    // The log is open already. It is released in onOver().
    logs.acquire(log.name).catch((error: unknown) => services.warn('The log of a run could not be opened', error));
    sheet.changed();
    services.observer?.()?.runBegan(naming.nameOf(begin.id));
    if (stopped) {
      run.stop(stopped);
    }
    run.start(produce);
    return start;
  }

  private onOver(run: LocalRun): void {
    const { services, logs, sheet, naming } = this.parts;
    const { log, begin } = run.parts;
    const { info } = run;
    if (this.running.get(log.name) === run) {
      this.running.delete(log.name);
    }
    logs.release(log.name);
    this.recent.unshift(info);
    this.recent.length = Math.min(this.recent.length, RECENT);
    sheet.changed();
    services.observer?.()?.runOver(naming.nameOf(begin.id), info, begin.trace);
    void this.leave(log, begin);
  }

  private async leave(log: RunLog, begin: RunBegin): Promise<void> {
    const { owners, services } = this.parts;
    const leave = (): Promise<void> => owners.leave(begin.owner, placeOf(log, begin));
    // While the broker is away, nobody waits for it: the place is freed when the broker is back.
    await leave().catch(() => {
      patiently(LONGEST_MS, () => this.closed, leave).catch((error: unknown) =>
        services.warn('A run that is over still counts for its owner', error),
      );
    });
  }

  private requireRoom({ name }: RunLog): void {
    if (this.draining) {
      throw new StreamError('run-stopped', 'The server is shutting down: start the run again', { statusCode: 503 });
    }
    const names = new Set([...this.running.keys(), ...this.electing.values()]);
    names.delete(name);
    if (names.size >= this.parts.settings.limits.running) {
      throw new StreamError('run-limit', 'Too many runs are in progress: try again later', { statusCode: 503 });
    }
  }
}

/** Returns the entry of a run in the list of its owner. */
function placeOf({ name }: RunLog, { node, nonce }: RunBegin): OwnerEntry {
  return { run: name, node, nonce };
}
