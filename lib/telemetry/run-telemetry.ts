import type { Attributes, Counter, Meter, Span, Tracer } from '@opentelemetry/api';
import type { RunInfo } from '../run/run.options.js';
import { RunningLevel } from './running-counters.js';
import { textOfContext } from './trace-context.js';

/** The value of `SpanStatusCode.ERROR`, which cannot be imported, as the package is optional. */
const ERROR = 2;
const STATUS = 'nestjs_streaming.run.status';

/** Runs that are registered together. */
export interface MeasuredRuns {
  /** The number of runs in progress, by the name of the runs. */
  readonly figures: readonly { readonly name: string; readonly running: number; readonly detached: number }[];
}

/** The instruments and spans of runs. They do not contain the ids and owners of runs, which may be personal. */
export class RunTelemetry {
  private readonly running: RunningLevel;
  private readonly detached: RunningLevel;
  private readonly started: Counter;
  private readonly ended: Counter;
  private readonly items: Counter;
  private readonly bytes: Counter;
  /** The spans of the runs in progress, by their contexts. */
  private readonly spans = new Map<string, Span>();

  /** @param runs returns all current runs */
  constructor(
    meter: Meter,
    private readonly tracer: Tracer,
    private readonly runs: () => Iterable<MeasuredRuns>,
  ) {
    const level = (name: string, description: string): RunningLevel =>
      new RunningLevel(meter.createUpDownCounter(`nestjs_streaming.runs.${name}`, { unit: '{run}', description }));
    const total = (name: string, unit: string, description: string): Counter =>
      meter.createCounter(`nestjs_streaming.runs.${name}`, { unit, description });
    this.running = level('running', 'Runs that this process produces now');
    this.detached = level('detached', 'Runs that this process produces now, and whose viewers have all left');
    this.started = total('started', '{run}', 'Runs that this process has started');
    this.ended = total('ended', '{run}', 'Runs of this process that are over, by their status');
    this.items = total('chunks', '{chunk}', 'Chunks of the runs of this process that are over');
    this.bytes = total('bytes', 'By', 'Bytes of these chunks, as they are stored');
  }

  /** Starts the span of a run, in the async context of the request that starts it. Returns its context. */
  starts(runs: string): string | undefined {
    const span = this.tracer.startSpan(`run ${runs}`, { attributes: attributesOf(runs) });
    const trace = textOfContext(span.spanContext());
    if (trace !== undefined) {
      this.spans.set(trace, span);
    }
    return trace;
  }

  /** Forgets a span. One that has not ended is not exported. */
  dropped(trace: string): void {
    this.spans.delete(trace);
  }

  began(runs: string): void {
    this.started.add(1, attributesOf(runs));
  }

  over(runs: string, { status, reason, items, bytes }: RunInfo, trace = ''): void {
    const attributes = { ...attributesOf(runs), [STATUS]: status };
    this.ended.add(1, attributes);
    this.items.add(items, attributesOf(runs));
    this.bytes.add(bytes, attributesOf(runs));
    const span = this.spans.get(trace);
    this.spans.delete(trace);
    span?.setAttributes({
      ...attributes,
      'nestjs_streaming.run.chunks': items,
      'nestjs_streaming.run.bytes': bytes,
      ...(reason && { 'nestjs_streaming.run.stop_reason': reason }),
    });
    if (status === 'failed' || status === 'lost') {
      span?.setStatus({ code: ERROR, message: `The run was ${status === 'lost' ? 'lost' : 'not completed'}` });
    }
    span?.end();
  }

  /** Reports all changes since the last call. */
  report(): void {
    const all = [...this.runs()].flatMap(({ figures }) => figures);
    this.running.report(all.map(({ name, running }) => ({ value: running, attributes: attributesOf(name) })));
    this.detached.report(all.map(({ name, detached }) => ({ value: detached, attributes: attributesOf(name) })));
  }

  /** Sets all levels to 0. */
  stop(): void {
    this.running.report([]);
    this.detached.report([]);
  }
}

function attributesOf(runs: string): Attributes {
  return { 'nestjs_streaming.runs': runs };
}
