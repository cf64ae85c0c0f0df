import type { Broker, BrokerPosition } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { atMost } from '../util/at-most.js';
import type { RunAudience } from './run-audience.js';
import { elsewhereError } from './run-errors.js';
import type { RunLog } from './run-log.js';
import type { RunNode } from './run-node.js';
import { RunReader } from './run-reader.js';
import { controlEntry, type RunBegin, type RunEnd } from './run-record.js';

/** How long to wait before it is said that the last viewer of a process has left, in milliseconds: it may be about to come back. */
const LEAVE_MS = 500;
/** How long to wait before a change of the number of viewers is said, in milliseconds. */
const CHANGE_MS = 1_000;
/** How long to read the end of a run for its last viewers here, in milliseconds. */
const END_VIEWS_MS = 1_000;
/** How often it is checked whether a run is still there for whose end a call waits, in milliseconds. */
const CHECK_MS = 500;
/** How often an end is written again, if the log has changed. */
const TRIES = 10;

/** What another process was told about the viewers here. */
interface Report {
  /** The run, since another one may begin in the same log. */
  epoch: string;
  /** Where the log ended when it was checked last. */
  checked?: BrokerPosition;
  count: number;
  timer: NodeJS.Timeout | undefined;
}

/** Watches over the runs of other processes that have viewers in this one: says how many there are, and notices when a run is lost. */
export class RunWatch {
  private readonly watched = new Map<RunLog, Report>();
  /** The last known life of each process whose runs are watched. */
  private lives = new Map<string, number>();
  /** The life of this process in which it has said how many viewers it has. */
  private ownLife = 0;
  private closed = false;

  /**
   * @param keep how long a run that is over is kept, in milliseconds
   * @param isHere returns whether the producer of a run is in this process
   */
  constructor(
    private readonly broker: Broker & BrokerRuns,
    private readonly node: RunNode,
    private readonly keep: number,
    private readonly isHere: (log: RunLog) => boolean,
    private readonly warn: (message: string, error?: unknown) => void,
  ) {}

  /** Returns how many viewers the run in a log has in this process. Those of an earlier run may not know yet that it is not there any more. */
  static viewersOf({ listeners, end }: RunLog): number {
    return [...listeners].filter((each) => each instanceof RunReader && each.epoch === end.epoch).length;
  }

  /** Ends the views of runs in other processes, which go on when this process closes. */
  endViews(): void {
    for (const log of [...this.watched.keys()]) {
      failViews(log);
    }
  }

  /** Ends the views of any run. Those of a run that has just ended here receive its end, which may not be delivered yet. */
  static async endViewsOf(log: RunLog): Promise<void> {
    if (RunWatch.viewersOf(log) > 0) {
      await atMost(END_VIEWS_MS, log.sync()).catch(() => undefined);
      failViews(log);
    }
  }

  /** Removes the viewers of processes that are gone. */
  async forgetDead(audience: RunAudience): Promise<void> {
    for (const node of audience.nodes) {
      if (node !== this.node.id && !(await this.node.leaseOf(node).catch(() => true))) {
        audience.set(node, 0);
      }
    }
  }

  /** Called when a viewer has come or left. */
  visited(log: RunLog): void {
    if (this.closed) {
      return;
    }
    const report = this.watched.get(log) ?? { epoch: log.end.epoch, count: 0, timer: undefined };
    this.watched.set(log, report);
    restartIfReplaced(report, log);
    const count = RunWatch.viewersOf(log);
    clearTimeout(report.timer);
    report.timer = undefined;
    if (count > 0 && report.count === 0) {
      void this.report(log, report);
    } else if (count !== report.count) {
      this.reportLater(log, report, count === 0 ? LEAVE_MS : CHANGE_MS);
    }
    this.forget(log, report);
  }

  /** Called now and then: checks that the processes are there whose runs are watched. */
  async check(): Promise<void> {
    if (this.ownLife !== this.node.life) {
      this.ownLife = this.node.life;
      this.reportAll();
    }
    const lives = new Map<string, number>();
    for (const [node, logs] of byNode(this.watched.keys())) {
      if (node !== undefined) {
        await this.checkNode(node, logs, lives).catch((error: unknown) =>
          this.warn('It could not be checked whether the producers of runs are still there', error),
        );
      }
    }
    this.lives = lives;
  }

  /** Ends a run whose process has no lease any more. Returns whether the run is over. */
  async endIfLost(log: RunLog): Promise<boolean> {
    for (let tries = 0; tries < TRIES; tries++) {
      const { end } = log;
      const { begin, over } = log.state;
      if (!begin || over) {
        return true;
      }
      const isAlive = begin.node === this.node.id ? this.isHere(log) : await this.node.leaseOf(begin.node);
      if (isAlive) {
        return false;
      }
      const { items = 0, bytes = 0 } = log.figures ?? {};
      const lost: RunEnd = { status: 'lost', at: Date.now(), items, bytes };
      // From before the process was looked for: meanwhile, another run may have begun in the log.
      const condition = { after: end, expire: this.keep };
      await this.broker.appendAll(log.name, [controlEntry({ kind: 'end', data: lost })], condition);
      await log.sync();
    }
    return log.state.over !== undefined;
  }

  /** Resolves when a run of another process is over, at the latest after a time. Its process may have crashed, or the log may have disappeared. */
  async over(log: RunLog, begin: RunBegin, ms: number): Promise<void> {
    const over = log.overOrGone(begin);
    for (let waited = 0; waited < ms; waited += CHECK_MS) {
      if (await atMost(CHECK_MS, over)) {
        return;
      }
      await log.sync();
      await this.endIfLost(log);
    }
  }

  close(): void {
    this.closed = true;
    for (const { timer } of this.watched.values()) {
      clearTimeout(timer);
    }
    this.watched.clear();
  }

  private async checkNode(node: string, logs: readonly RunLog[], lives: Map<string, number>): Promise<void> {
    const lease = await this.node.leaseOf(node);
    const known = this.lives.get(node);
    if (lease) {
      lives.set(node, lease.life);
    }
    for (const log of logs) {
      if (!lease) {
        await this.endIfLost(log);
      } else if (known !== lease.life || this.isIdle(log)) {
        // The broker may have lost its data, or the log has expired: nobody says so.
        await log.sync();
      }
    }
  }

  /** Returns whether nothing was appended since the last call. */
  private isIdle(log: RunLog): boolean {
    const report = this.watched.get(log);
    const isIdle = report?.checked === log.end;
    if (report) {
      report.checked = log.end;
    }
    return isIdle;
  }

  private async report(log: RunLog, report: Report): Promise<void> {
    restartIfReplaced(report, log);
    const { begin, over } = log.state;
    const count = RunWatch.viewersOf(log);
    if (!begin || over || count === report.count) {
      this.forget(log, report);
      return;
    }
    const { count: before, epoch } = report;
    report.count = count;
    try {
      const data = { node: this.node.id, count, nonce: begin.nonce };
      await this.broker.appendAll(log.name, [controlEntry({ kind: 'viewers', data })]);
    } catch (error) {
      if (this.closed) {
        return;
      }
      this.warn('The producer of a run could not be told how many viewers it has', error);
      if (report.epoch === epoch && report.count === count) {
        report.count = before;
        this.reportLater(log, report, CHANGE_MS);
      }
    }
    this.forget(log, report);
  }

  private reportLater(log: RunLog, report: Report, ms: number): void {
    clearTimeout(report.timer);
    report.timer = setTimeout(() => {
      report.timer = undefined;
      void this.report(log, report);
    }, ms);
  }

  /** Says again how many viewers there are: this process was taken for dead. */
  private reportAll(): void {
    for (const [log, report] of this.watched) {
      if (RunWatch.viewersOf(log) > 0) {
        report.count = 0;
      }
      // That the last one has left is still to be said: nobody may have noticed that the lease was gone.
      this.visited(log);
    }
  }

  private forget(log: RunLog, { count, timer }: Report): void {
    if (timer === undefined && RunWatch.viewersOf(log) === 0 && (count === 0 || log.state.over || !log.exists)) {
      this.watched.delete(log);
    }
  }
}

function byNode(logs: Iterable<RunLog>): Map<string | undefined, RunLog[]> {
  const groups = new Map<string | undefined, RunLog[]>();
  for (const log of logs) {
    const node = log.state.begin?.node;
    groups.set(node, [...(groups.get(node) ?? []), log]);
  }
  return groups;
}

/** Nobody has been told yet about the viewers of another run that has begun in the log. */
function restartIfReplaced(report: Report, { end: { epoch } }: RunLog): void {
  if (report.epoch !== epoch) {
    Object.assign(report, { epoch, count: 0 });
  }
}

/** Ends the views of a run here with an error that lets clients join it again elsewhere. */
function failViews({ listeners }: RunLog): void {
  for (const listener of [...listeners]) {
    if (listener instanceof RunReader) {
      listener.fail(elsewhereError());
    }
  }
}
