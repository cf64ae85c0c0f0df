import { setTimeout as pause } from 'node:timers/promises';
import type { Broker, BrokerPosition } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { Run, RunInfo, RunSettings, RunStopReason } from './run.options.js';
import { RunAudience } from './run-audience.js';
import { lostError } from './run-errors.js';
import { RunGatherer } from './run-gatherer.js';
import { PAGE, type RunLog, type RunLogListener } from './run-log.js';
import { type Outcome, RunProducer } from './run-producer.js';
import { controlEntry, controlIn, isAbout, type RunBegin, type RunControl, type RunEnd } from './run-record.js';
import type { RunServices } from './run-services.js';
import { FencedError, RunWriter } from './run-writer.js';

/** How long to wait before the end of a run is written again that could not be written, in milliseconds. */
const RETRY_MS = 1_000;

export interface LocalRunParts {
  readonly begin: RunBegin;
  readonly log: RunLog;
  /** Where the log ended when it was created. */
  readonly position: BrokerPosition;
  readonly broker: Broker & BrokerRuns;
  readonly settings: RunSettings;
  /** What the run is called in messages, after "The run". */
  readonly name: string;
  readonly services: RunServices;
  /** Called once, when the run is over, and its end is in the log if that is possible. */
  onOver(run: LocalRun): void;
  /** Returns whether the process closes, and waits for nothing any more. */
  isClosed(): boolean;
}

/** A run whose producer is in this process. */
export class LocalRun implements RunLogListener {
  readonly audience: RunAudience;
  /** Set when the run is over. */
  end: RunEnd | undefined;
  private readonly producer: RunProducer;
  private readonly gatherer: RunGatherer;
  private readonly writer: RunWriter;
  private readonly ended: Deferred<void> = deferred();
  private deadline: NodeJS.Timeout | undefined;

  constructor(readonly parts: LocalRunParts) {
    const { begin, log, position, broker, settings, services } = parts;
    this.audience = new RunAudience(settings.onDisconnect, () => this.stop('client-closed'));
    this.writer = new RunWriter(log.name, broker, position, settings.lease, () => parts.isClosed());
    this.gatherer = new RunGatherer(this.writer, (error) => void this.onUnwritten(error));
    this.producer = new RunProducer({
      id: begin.id,
      gatherer: this.gatherer,
      settings,
      viewers: () => this.audience.size,
      onEnd: (outcome) => void this.finish(outcome),
      onLate: (error) => services.warn(`The run ${this.name} had ended, and then failed`, error),
    });
  }

  get info(): RunInfo {
    const { begin } = this.parts;
    const { items, bytes } = this.end ?? this.writer;
    return infoOf(begin, this.end, { items, bytes }, this.audience.size);
  }

  /** Resolves when the run is over. */
  get over(): Promise<void> {
    return this.ended.promise;
  }

  start(produce: (run: Run) => unknown): void {
    const { log, settings } = this.parts;
    log.listeners.add(this);
    if (settings.maxDuration !== Infinity) {
      this.deadline = setTimeout(() => this.stop('deadline'), settings.maxDuration);
    }
    // Other processes may have written before this one listened.
    const { stops = [], visits = {} } = log.state;
    for (const [node, count] of Object.entries(visits)) {
      this.audience.set(node, count);
    }
    for (const { reason } of stops) {
      this.stop(reason);
    }
    void this.producer.run(produce);
  }

  stop(reason: RunStopReason): void {
    this.producer.stop(reason);
  }

  /** The end of the run is in the log: its own, or that of a process that has taken this one for dead. */
  onRecords(): void {
    const { over } = this.parts.log.state;
    if (over) {
      this.producer.abandon(lostError());
      this.settle(over);
    }
  }

  onControl({ kind, data }: RunControl): void {
    const { begin } = this.parts;
    if (kind === 'stop' && isAbout(data, begin)) {
      this.stop(data.reason);
    } else if (kind === 'viewers' && data.node !== begin.node && isAbout(data, begin)) {
      this.audience.set(data.node, data.count);
    }
  }

  onGone(): void {
    void this.onUnwritten(new FencedError(false));
  }

  private get name(): string {
    return this.parts.name;
  }

  private async finish(outcome: Outcome): Promise<void> {
    const { log, settings, services } = this.parts;
    const failed = outcome.status === 'failed';
    if (failed) {
      log.cause = outcome;
      services.warn(`The run ${this.name} failed`, outcome.error);
    }
    const rest = {
      status: outcome.status,
      at: Date.now(),
      ...(outcome.status === 'stopped' && { reason: outcome.reason }),
      ...(failed && { error: services.describeError(outcome.error) }),
    };
    let end: RunEnd = { ...rest, items: 0, bytes: 0 };
    const written = await this.gatherer.finish(settings.keep, ({ items, bytes }) => {
      end = { ...rest, items, bytes };
      return controlEntry({ kind: 'end', data: end });
    });
    if (written) {
      this.settle(end);
      if (!log.state.over) {
        // The viewers here need not wait for the broker to deliver the end, which may take longer than the log is kept.
        log.syncLater();
      }
    }
  }

  /** Called when the run cannot continue its log. */
  private async onUnwritten(error: unknown): Promise<void> {
    if (this.end) {
      return;
    }
    const { log } = this.parts;
    const { items, bytes } = this.writer;
    const lost: RunEnd = { status: 'lost', at: Date.now(), items, bytes };
    this.producer.abandon(lostError());
    if (error instanceof FencedError && error.over) {
      await log.sync().catch(() => undefined);
      this.settle(log.state.over ?? lost);
      return;
    }
    this.settle(lost, error instanceof FencedError ? undefined : error);
    log.abandon();
    await this.tell(lost);
  }

  /** Writes that the run was lost, so that its viewers in other processes do not wait for ever. */
  private async tell(lost: RunEnd): Promise<void> {
    const { settings, isClosed } = this.parts;
    const until = performance.now() + settings.keep;
    while (!isClosed() && performance.now() < until) {
      // It rejects while the broker is away.
      if (await this.append(lost).catch(() => false)) {
        return;
      }
      await pause(RETRY_MS, undefined, { ref: false });
    }
  }

  /** Returns whether the log says how the run has ended, or belongs to another run. */
  private async append(lost: RunEnd): Promise<boolean> {
    const { begin, log, position, broker, settings } = this.parts;
    const end = controlEntry({ kind: 'end', data: lost });
    const now = await broker.tail(log.name, () => undefined);
    await now.stop();
    if (now.offset > 0 && now.epoch !== position.epoch) {
      return true;
    }
    const { reached } = this.writer;
    const after = { epoch: now.epoch, offset: now.offset };
    if (now.offset >= reached) {
      const records = await broker.read(log.name, reached, PAGE);
      const isOver = records.some((record) => controlIn(record)?.kind === 'end');
      return isOver || (await broker.appendAll(log.name, [end], { after, expire: settings.keep })) !== false;
    }
    // Viewers may have received records that are lost. They notice it, as the log is another one now.
    const entries = [controlEntry({ kind: 'begin', data: begin }), end];
    const condition = now.offset > 0 ? { after } : undefined;
    return (await broker.create(log.name, entries, settings.keep, condition)) !== false;
  }

  private settle(end: RunEnd, error?: unknown): void {
    if (this.end) {
      return;
    }
    this.end = end;
    if (end.status === 'lost') {
      this.parts.services.warn(`The run ${this.name} was lost`, error);
    }
    clearTimeout(this.deadline);
    this.audience.close();
    this.parts.log.listeners.delete(this);
    this.parts.onOver(this);
    this.ended.resolve();
  }
}

/** Returns the state of a run. */
export function infoOf(
  begin: RunBegin,
  over: RunEnd | undefined,
  { items, bytes }: { readonly items: number; readonly bytes: number },
  viewers: number,
): RunInfo {
  return {
    id: begin.id,
    status: over?.status ?? 'running',
    ...(over?.reason && { reason: over.reason }),
    ...(begin.owner !== undefined && { owner: begin.owner }),
    startedAt: begin.at,
    ...(over && { endedAt: over.at }),
    items,
    bytes,
    viewers,
    node: begin.node,
  };
}
