import type { Broker } from '../broker/broker.js';
import { type BrokerRuns, hasRuns } from '../broker/broker-runs.js';
import type { StreamEvent } from '../event/event.js';
import type { FlushMark } from '../source/flush.js';
import { atMost } from '../util/at-most.js';
import { markReported, StreamError } from '../util/errors.js';
import { infoOf } from './local-run.js';
import { LocalRuns } from './local-runs.js';
import {
  completeRunsOptions,
  type JoinOptions,
  type Run,
  type RunAccess,
  type RunInfo,
  type RunSettings,
  type RunStatus,
  type RunStopReason,
  type RunsOptions,
  type SettingsOfRun,
  type StartOptions,
} from './run.options.js';
import { checkCall, checkList, checkProducer } from './run-checks.js';
import { errorOfEnd, existsError, unknownError } from './run-errors.js';
import type { LastState, RunLog } from './run-log.js';
import { RunLogs } from './run-logs.js';
import { namingOf, ROUTE_RUNS, type RunNaming, routeNaming } from './run-naming.js';
import { RunNode } from './run-node.js';
import { RunOwners } from './run-owners.js';
import { type ReaderPlace, type ReadStart, RunReader } from './run-reader.js';
import { controlEntry, GONE, type RunBegin } from './run-record.js';
import type { RunServices } from './run-services.js';
import { RunSheet } from './run-sheet.js';
import { BEGIN, learn, placeIn, startOf } from './run-start.js';
import { RunView } from './run-view.js';
import { RunWatch } from './run-watch.js';

/** How often `start()` is tried again, if other calls for the same id come in between. */
const TRIES = 20;
/** How long `stop()` waits for the end of a run, in milliseconds. */
const STOP_MS = 5_000;
/** How long it is remembered that a run was stopped before it was started, in milliseconds. */
const REMEMBER_STOP_MS = 10_000;
/** How long a log says that its run was removed, in milliseconds: the viewers in other processes wait until they read it. */
const GONE_MS = 5_000;
/** How long the processes may take to end their runs when the application closes, in milliseconds. */
const CLOSE_MS = 2_000;

/**
 * Runs with a common purpose, such as the answers of a model. A run is a producer with a log and an id, which can outlive the request that has
 * started it: its viewers reload, come back, watch together, and stop it, on any process that shares the broker. Register runs with
 * `StreamingModule.registerRuns()`, and inject them with `@InjectRuns()`.
 *
 * All methods throw a {@link StreamError} with the code `invalid-id` (status 400) for an id that is not a string of 1 to 1024 bytes, and `invalid-option`. They pass on errors
 * of the broker, such as `broker-unavailable` (status 503).
 *
 * @example
 * ```ts
 * @Post()
 * @Stream({ format: 'sse' })
 * send(@Body() { id, question }: Question, @CurrentUser() user: User) {
 *   return this.runs.start(id, (run) => this.model.answer(question, run.signal), { owner: user.id });
 * }
 * ```
 */
export class Runs<T = unknown> {
  /** The name with which the runs were registered. */
  readonly name: string;
  private readonly naming: RunNaming;
  private readonly logs: RunLogs;
  private readonly node: RunNode;
  private readonly sheet: RunSheet;
  private readonly owners: RunOwners;
  private readonly watch: RunWatch;
  private readonly place: ReaderPlace;
  private readonly local: LocalRuns;
  /** How long a run that is over is kept, in milliseconds. */
  private readonly keep: number;

  private constructor(
    options: RunsOptions,
    private readonly broker: Broker & BrokerRuns,
    private readonly services: RunServices,
  ) {
    const settings = completeRunsOptions(options);
    this.name = options.name;
    this.keep = settings.keep;
    const naming = options.name === ROUTE_RUNS ? routeNaming : namingOf(options.name);
    this.naming = naming;
    this.logs = new RunLogs(broker, naming.tagOf);
    const warn = services.warn.bind(services);
    this.node = new RunNode(naming.prefix, broker, settings.lease, () => this.onRenew(), warn);
    this.sheet = new RunSheet(naming.prefix, this.node.id, broker, settings.lease, () => this.here, warn);
    const isAlive = async (node: string): Promise<boolean> =>
      node === this.node.id || (await this.node.leaseOf(node)) !== undefined;
    this.owners = new RunOwners(naming.prefix, broker, settings.limits.perOwner, settings.maxDuration, isAlive);
    const { node, owners, logs, sheet } = this;
    this.local = new LocalRuns({
      endIfLost: (log) => this.watch.endIfLost(log),
      settings,
      broker,
      services,
      logs,
      node,
      sheet,
      owners,
      naming,
    });
    this.watch = new RunWatch(broker, node, settings.keep, (log) => this.local.has(log), warn);
    this.place = this.placeWith(settings);
  }

  /**
   * @internal
   * @param where what needs the runs, for the message
   * @throws {StreamError} `invalid-option` if the broker cannot have runs. An error of the broker is passed on
   */
  static async open(options: RunsOptions, broker: Broker, services: RunServices, where: string): Promise<Runs> {
    if (!hasRuns(broker)) {
      throw new StreamError(
        'invalid-option',
        `${where}: ${broker.constructor.name} does not implement BrokerRuns (create, appendAll, expire, drop). Use MemoryBroker, RedisBroker, NatsBroker or PostgresBroker, or implement it`,
      );
    }
    const runs = new Runs(options, broker, services);
    await runs.node.enter();
    return runs;
  }

  /**
   * Starts a run, unless one with this id is in progress. Of several calls at the same time, in any process, one starts it.
   *
   * @param id identifies the run. It is no credential: check first that the user may use it, or set `owner`
   * @param produce is called with the run, and returns what a `@Stream()` method may return, or a promise of it. The log paces it, and not a viewer
   * @returns a view of the run, from its start
   * @throws {@link StreamError} with the code `run-exists` (status 409) with `onConflict: 'reject'`; `run-limit` (status 503 or 429) over a limit; `run-unknown` (status 404) if
   * a run with this id belongs to another owner; `run-stopped` (status 503) if the application is closing
   */
  async start(
    id: string,
    produce: (run: Run) => RunSource<T> | Promise<RunSource<T>>,
    options: StartOptions = {},
  ): Promise<RunView<T>> {
    checkCall('start', this.name, id, options);
    checkProducer(produce, this.name);
    return this.logs.use(this.logOf(id), async (log) => {
      for (let tries = 0; tries < TRIES; tries++) {
        const start = await this.startOrMeet(log, id, produce, options);
        if (start) {
          return this.viewOf(id, log, start);
        }
      }
      throw new StreamError('broker-busy', `The run ${JSON.stringify(id)} changes too often: try again`, {
        statusCode: 503,
      });
    });
  }

  /** @internal Starts a run with an id that no other run has, and with settings of its own. */
  async startNew(id: string, produce: (run: Run) => unknown, settings: SettingsOfRun): Promise<RunView<T>> {
    return this.logs.use(this.logOf(id), async (log) => {
      const start = await this.local.create(log, id, produce, { settings });
      if (!start) {
        // The id is the secret with which clients resume: it is in no message.
        throw new StreamError('broker-busy', 'The run could not be started: try again', { statusCode: 503 });
      }
      return this.viewOf(id, log, start);
    });
  }

  /**
   * Returns a view of a run. A viewer who comes back passes the id of the last chunk as `after`, and receives those that follow.
   *
   * If the id is that of another run, or of an earlier run with the same id, the first event is a `reset` (see {@link HubReset}), and the run follows from its start.
   *
   * @returns a view. If there is no such run, or it is over and `after` is its last chunk, the view is empty: the response has the status 204 and no body,
   * so that an `EventSource` does not reconnect
   * @throws {@link StreamError} with the code `run-unknown` (status 404) with `orElse: 404`
   */
  async join(id: string, options: JoinOptions = {}): Promise<RunView<T>> {
    checkCall('join', this.name, id, options);
    return this.logs.use(this.logOf(id), async (log) => {
      await learn(log, options);
      await this.endIfLost(log, options);
      const begin = begunBy(log, options);
      if (!begin || (log.state.over && options.ended === 'none')) {
        if (options.orElse === 404) {
          throw unknownError();
        }
        return this.emptyView(id, log);
      }
      const start = await startOf(log, options);
      return start ? RunView.of<T>(id, new RunReader(log.name, this.place, start)) : this.emptyView(id, log);
    });
  }

  /**
   * Stops a run, on any process: the signal of its producer is aborted with the code `stopped`. Does nothing if the run is over. If there is none, a run that is started
   * with this id in the next 10 seconds is stopped at once: the request that starts it may still be on its way.
   *
   * @returns a promise that resolves when the end is in the log, at the latest after 5 seconds
   */
  async stop(id: string, options: RunAccess = {}): Promise<void> {
    checkCall('stop', this.name, id, options);
    await this.logs.use(this.logOf(id), async (log) => {
      for (let tries = 0; tries < TRIES; tries++) {
        if (log.state.begin) {
          await this.endIfLost(log, options);
          if (begunBy(log, options)) {
            await this.stopRun(log, 'stopped');
          }
          return;
        }
        if (await log.rememberStop(options.owner, REMEMBER_STOP_MS)) {
          return;
        }
        await log.sync();
      }
    });
  }

  /** Returns the state of a run, or `undefined` if there is none. */
  async get(id: string, options: RunAccess = {}): Promise<RunInfo | undefined> {
    checkCall('get', this.name, id, options);
    return this.logs.use(this.logOf(id), async (log) => {
      await this.endIfLost(log, options);
      const begin = begunBy(log, options);
      return begin && (this.local.get(log)?.info ?? (await this.infoOfRemote(begin, log)));
    });
  }

  /**
   * Returns the runs of all processes, newest first: those in progress, and of each process the last 100 that are over. Those of another process are up to a
   * third of `lease` old.
   */
  async list(options: { readonly owner?: string; readonly status?: RunStatus } = {}): Promise<RunInfo[]> {
    checkList(this.name, options);
    const { owner, status } = options;
    const nodes = await this.node.others();
    const others = await Promise.all(nodes.map((node) => this.sheet.of(node)));
    return [...this.here, ...others.flat()]
      .filter(
        (info) => (owner === undefined || info.owner === owner) && (status === undefined || info.status === status),
      )
      .sort((a, b) => b.startedAt - a.startedAt);
  }

  /** Stops a run if it is in progress, and removes its log. Does nothing if there is none. */
  async delete(id: string, options: RunAccess = {}): Promise<void> {
    checkCall('delete', this.name, id, options);
    await this.logs.use(this.logOf(id), async (log) => {
      await this.endIfLost(log, options);
      const begin = begunBy(log, options);
      if (begin) {
        await this.stopRun(log, 'stopped');
        await this.remove(log, begin);
      }
    });
  }

  /** @internal The runs in progress in this process, and the last ones that have ended here. */
  get here(): readonly RunInfo[] {
    return this.local.infos;
  }

  /** @internal Identifies this process, as in {@link RunInfo.node}. */
  get processId(): string {
    return this.node.id;
  }

  /** @internal Returns the name of the runs that a run belongs to, and what may be shown of its id. */
  describe(id: string): { readonly name: string; readonly id: string } {
    return { name: this.naming.nameOf(id), id: this.naming.shownId(id) };
  }

  /** @internal The number of runs in progress in this process, and of those among them without viewers, by the name of the runs. */
  get figures(): readonly RunFigure[] {
    const names = new Set([...this.local].map(({ parts }) => this.naming.nameOf(parts.begin.id)));
    return [...names].map((name) => {
      const runs = [...this.local].filter(({ parts }) => this.naming.nameOf(parts.begin.id) === name);
      return { name, running: runs.length, detached: runs.filter(({ audience }) => audience.deserted).length };
    });
  }

  /**
   * @internal Starts no more runs, and ends the views of runs in other processes, which go on. Resolves when no run is in progress in this process, at the latest
   * after a time.
   */
  async drain(ms: number): Promise<void> {
    this.local.drain();
    this.watch.endViews();
    await this.local.settled(ms);
  }

  /** @internal Ends what is in progress in this process, and releases everything. */
  async close(): Promise<void> {
    await this.local.close(CLOSE_MS);
    this.watch.close();
    try {
      await Promise.all([this.node.leave(), this.sheet.close()]);
    } finally {
      await this.logs.closeAll((log) => RunWatch.endViewsOf(log));
    }
  }

  /** Starts the run, or decides about the one that is there. Returns the start of the one to view, if there is one now. */
  private async startOrMeet(
    log: RunLog,
    id: string,
    produce: (run: Run) => unknown,
    options: StartOptions,
  ): Promise<ReadStart | undefined> {
    await this.endIfLost(log, options);
    const begin = begunBy(log, options);
    if (begin && !log.state.over) {
      return this.meet(log, id, options.onConflict);
    }
    if (log.state.begin && !begin) {
      throw unknownError();
    }
    return begin && options.ended === 'replay'
      ? placeIn(log, BEGIN)
      : this.local.create(log, id, produce, { owner: options.owner });
  }

  /** Returns the start of the run in progress, if it is to be viewed. */
  private async meet(log: RunLog, id: string, onConflict: StartOptions['onConflict']): Promise<ReadStart | undefined> {
    if (onConflict === 'reject') {
      throw existsError(id);
    }
    if (onConflict === 'replace') {
      await this.stopRun(log, 'replaced');
      return undefined;
    }
    return placeIn(log, BEGIN);
  }

  /**
   * Ends the run of an owner if its process is gone. Whoever calls this has to look at the log after it, and decide before it awaits anything else: each time,
   * a run of somebody else may begin in the log.
   */
  private async endIfLost(log: RunLog, access: RunAccess): Promise<void> {
    if (begunBy(log, access) && !log.state.over) {
      await this.watch.endIfLost(log);
    }
  }

  private async stopRun(log: RunLog, reason: RunStopReason): Promise<void> {
    const local = this.local.get(log);
    const { begin, over, stops } = log.state;
    if (local) {
      local.stop(reason);
      await atMost(STOP_MS, local.over);
    } else if (begin && !over) {
      if (!stops) {
        await this.broker.appendAll(log.name, [controlEntry({ kind: 'stop', data: { reason, nonce: begin.nonce } })]);
      }
      await this.watch.over(log, begin, STOP_MS);
    }
  }

  /** Removes the log of a run, and not that of another run that has begun in its place. */
  private async remove(log: RunLog, { nonce }: RunBegin): Promise<void> {
    for (let tries = 0; tries < TRIES && log.state.begin?.nonce === nonce; tries++) {
      // If its producer does not answer, it must find that the log is not its own any more, when it does.
      const ms = log.state.over ? GONE_MS : this.keep;
      await this.broker.create(log.name, [GONE], ms, { after: log.end });
      await log.sync();
    }
  }

  private async infoOfRemote(begin: RunBegin, log: RunLog): Promise<RunInfo> {
    const { over } = log.state;
    // Before the list is read: in the meantime, another run may begin in the log.
    const figures = over ?? log.figures ?? { items: 0, bytes: 0 };
    const known = RunWatch.viewersOf(log);
    const listed = over ? [] : await this.sheet.of(begin.node);
    const isThis = ({ id, owner, startedAt }: RunInfo): boolean =>
      id === begin.id && owner === begin.owner && startedAt === begin.at;
    return infoOf(begin, over, figures, listed.find(isThis)?.viewers ?? known);
  }

  private placeWith({ name, compact, lease, onDisconnect }: RunSettings): ReaderPlace {
    return {
      compact,
      patience: lease,
      // With `cancel`, a run would end with the first poll. For the runs of routes, their plans decide.
      polls: name === ROUTE_RUNS || onDisconnect !== 'cancel',
      enter: (reader) => this.enter(reader),
      leave: (reader, log) => this.leave(reader, log),
      errorOf: (log) => this.errorOf(log),
    };
  }

  private viewOf(id: string, log: RunLog, start: ReadStart): RunView<T> {
    return RunView.of<T>(id, new RunReader(log.name, this.place, { ...start, isFirst: true }));
  }

  private emptyView(id: string, log: RunLog): RunView<T> {
    return RunView.of<T>(
      id,
      new RunReader(log.name, this.place, { epoch: '', after: 0, id: '' }, { status: 204, headers: [] }),
    );
  }

  private async enter(reader: RunReader): Promise<RunLog> {
    const log = await this.logs.acquire(reader.name);
    log.listeners.add(reader);
    this.countViewers(log);
    return log;
  }

  private leave(reader: RunReader, log: RunLog | undefined): void {
    if (log) {
      log.listeners.delete(reader);
      this.countViewers(log);
      this.logs.release(reader.name);
    } else {
      this.local.at(reader)?.audience.passedBy();
    }
  }

  private countViewers(log: RunLog): void {
    const local = this.local.get(log);
    if (local) {
      local.audience.set(this.node.id, RunWatch.viewersOf(log));
      this.sheet.changed();
    } else {
      this.watch.visited(log);
    }
  }

  private errorOf({ state: { over }, cause: thrown }: LastState): unknown {
    if (!over || over.status === 'completed') {
      return undefined;
    }
    const cause = over.status === 'failed' ? thrown?.error : undefined;
    // A producer may throw `undefined`, which would end its views as if the run were complete.
    return markReported(cause ?? errorOfEnd(over, (body) => this.services.errorOf(body)));
  }

  private onRenew(): void {
    this.sheet.renew();
    void this.watch.check();
    for (const { audience } of this.local) {
      void this.watch.forgetDead(audience);
    }
  }

  private logOf(id: string): string {
    return this.naming.logOf(id);
  }
}

/** Returns the begin of the run in a log, unless it belongs to another owner. */
function begunBy({ state: { begin } }: RunLog, { owner }: RunAccess): RunBegin | undefined {
  return owner === undefined || begin?.owner === owner ? begin : undefined;
}

/** How many runs with a name are in progress. */
interface RunFigure {
  readonly name: string;
  readonly running: number;
  readonly detached: number;
}

/** What a run consists of: chunks, also in events, and marks of `flush()`. */
type RunChunk<T> = T | StreamEvent<T> | FlushMark;

/** What the producer of a run may return: what a `@Stream()` method may return. Chunks of an Observable and of a web stream are not checked. */
type RunSource<T> =
  | AsyncIterable<RunChunk<T>>
  | Iterable<RunChunk<T> | PromiseLike<RunChunk<T>>>
  | Extract<T, string | ArrayBuffer | ArrayBufferView>
  | { getReader(): unknown }
  | { subscribe(...observer: never): unknown; readonly pipe: unknown };
