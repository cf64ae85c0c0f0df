import { setTimeout as pause } from 'node:timers/promises';
import type { Broker, BrokerPosition } from '../broker/broker.js';
import type { BrokerRuns } from '../broker/broker-runs.js';
import { type Deferred, deferred } from '../util/thenable.js';
import type { Run, RunInfo, RunSettings, RunStopReason } from './run.options.js';
import { RunAudience } from './run-audience.js';
import { lostError } from './run-errors.js';
import { RunGatherer } from './run-gatherer.js';
import type { RunLog, RunLogListener } from './run-log.js';
import { type Outcome, RunProducer } from './run-producer.js';
import { controlEntry, type RunBegin, type RunControl, type RunEnd } from './run-record.js';
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
  readonly services: RunServices;
  /** Called once, when the run is over, and its end is in the log if that is possible. */
  onOver(run: LocalRun): void;
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
  private closed = false;

  constructor(readonly parts: LocalRunParts) {
    const { begin, log, position, broker, settings, services } = parts;
    this.audience = new RunAudience(settings.onDisconnect, () => this.stop('client-closed'));
    this.writer = new RunWriter(log.name, broker, position, settings.lease);
    this.gatherer = new RunGatherer(this.writer, (error) => void this.onUnwritten(error));
    this.producer = new RunProducer({
      id: begin.id,
      gatherer: this.gatherer,
      limits: settings.limits,
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
    void this.producer.run(produce);
  }

  stop(reason: RunStopReason): void {
    this.producer.stop(reason);
  }

  /** Stops to try to write the end of the run. */
  close(): void {
    this.closed = true;
  }

  onControl({ kind, data }: RunControl): void {
    if (kind === 'stop') {
      this.stop(data.reason);
    } else if (kind === 'viewers' && data.node !== this.parts.begin.node) {
      this.audience.set(data.node, data.count);
    }
  }

  onGone(): void {
    void this.onUnwritten(new FencedError(false));
  }

  private get name(): string {
    return `${JSON.stringify(this.parts.begin.id)} of ${JSON.stringify(this.parts.settings.name)}`;
  }

  private async finish(outcome: Outcome): Promise<void> {
    const { log, settings, broker, services } = this.parts;
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
    const written = await this.gatherer.finish(({ items, bytes }) => {
      end = { ...rest, items, bytes };
      return controlEntry({ kind: 'end', data: end });
    });
    if (written) {
      await broker.expire(log.name, settings.keep).catch((error: unknown) => {
        services.warn(`The run ${this.name} may be kept for too long`, error);
      });
      this.settle(end);
    }
  }

  /** Called when the run cannot continue its log. */
  private async onUnwritten(error: unknown): Promise<void> {
    if (this.end) {
      return;
    }
    const { log, services } = this.parts;
    const { items, bytes } = this.writer;
    const lost: RunEnd = { status: 'lost', at: Date.now(), items, bytes };
    this.producer.abandon(lostError());
    if (error instanceof FencedError && error.over) {
      await log.sync().catch(() => undefined);
      this.settle(log.state.over ?? lost);
      return;
    }
    services.warn(`The run ${this.name} was lost`, error instanceof FencedError ? undefined : error);
    this.settle(lost);
    await this.tell(lost);
  }

  /** Writes that the run was lost, so that its viewers do not wait for ever. */
  private async tell(lost: RunEnd): Promise<void> {
    const { begin, log, position, broker, settings } = this.parts;
    const entries = [controlEntry({ kind: 'begin', data: begin }), controlEntry({ kind: 'end', data: lost })];
    const until = performance.now() + settings.keep;
    while (!this.closed && performance.now() < until) {
      try {
        const now = await broker.tail(log.name, () => undefined);
        await now.stop();
        if (now.offset > 0 && now.epoch !== position.epoch) {
          return;
        }
        const condition = now.offset > 0 ? { after: now } : undefined;
        if (await broker.create(log.name, entries, settings.keep, condition)) {
          return;
        }
      } catch {
        // The broker is still away.
      }
      await pause(RETRY_MS, undefined, { ref: false });
    }
  }

  private settle(end: RunEnd): void {
    if (this.end) {
      return;
    }
    this.end = end;
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
