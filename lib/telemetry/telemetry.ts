import type { Tracer } from '@opentelemetry/api';
import type { ObservedStream, StreamObserver } from '../connection/registry/stream-observer.js';
import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { Hub } from '../hub/hub.js';
import type { RunInfo } from '../run/run.options.js';
import type { RunObserver } from '../run/run-services.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import { isNotInstalled } from '../util/error-text.js';
import { attributesBy } from './attributes.js';
import { HubMetrics } from './hub-metrics.js';
import { type MeasuredRuns, RunTelemetry } from './run-telemetry.js';
import { StreamMetrics } from './stream-metrics.js';
import { StreamSpans } from './stream-spans.js';

type OpenTelemetry = typeof import('@opentelemetry/api');

const NAME = 'nestjs-streaming';

/** Reports the streams, hubs and runs of an application to OpenTelemetry. */
export class Telemetry implements StreamObserver, RunObserver {
  private readonly streams: StreamMetrics;
  private readonly hubs: HubMetrics;
  private readonly spans: StreamSpans;
  private readonly runs: RunTelemetry;
  /** An instrument without a value. Its callback updates all other instruments when metrics are collected. */
  private readonly collection;

  private constructor(
    private readonly api: OpenTelemetry,
    registry: StreamRegistry,
    hubs: () => Iterable<Hub>,
    runs: () => Iterable<MeasuredRuns>,
    paths: ReadonlyMap<string, string>,
  ) {
    const { metrics, trace } = api;
    const meter = metrics.getMeter(NAME);
    const attributesOf = attributesBy(paths);
    this.streams = new StreamMetrics(meter, registry, attributesOf);
    this.hubs = new HubMetrics(meter, hubs);
    this.spans = new StreamSpans(tracerIn(api), attributesOf);
    this.runs = new RunTelemetry(meter, trace.getTracer(NAME), runs);
    this.collection = meter.createObservableGauge('nestjs_streaming.collection');
    this.collection.addCallback(this.collect);
  }

  /**
   * Starts telemetry if `@opentelemetry/api` is installed. There are metrics if the application has set up their SDK before, and spans as soon as it has set up that of traces.
   * @param application returns all current hubs, with the runs of the application
   * @param paths returns the path templates of routes, by `Class.method`
   */
  static async start(
    registry: StreamRegistry,
    application: Iterable<Hub> & { readonly runs: Iterable<MeasuredRuns> & { observer: RunObserver | undefined } },
    paths: () => ReadonlyMap<string, string>,
  ): Promise<Telemetry | undefined> {
    const api = await importApi();
    const telemetry =
      api &&
      new Telemetry(
        api,
        registry,
        () => application,
        () => application.runs,
        paths(),
      );
    if (telemetry) {
      registry.observe(telemetry);
      application.runs.observer = telemetry;
    }
    return telemetry;
  }

  /** Reports the last changes, and stops telemetry. */
  stop(): void {
    this.collection.removeCallback(this.collect);
    this.streams.stop();
    this.hubs.stop();
    this.runs.stop();
  }

  runStarts(runs: string): string | undefined {
    let trace: string | undefined;
    this.guard(() => {
      trace = this.runs.starts(runs);
    });
    return trace;
  }

  runDropped(trace: string): void {
    this.runs.dropped(trace);
  }

  runBegan(runs: string): void {
    this.guard(() => this.runs.began(runs));
  }

  runOver(runs: string, info: RunInfo, trace: string | undefined): void {
    this.guard(() => this.runs.over(runs, info, trace));
  }

  began(stream: ObservedStream): void {
    this.guard(() => this.spans.began(stream));
  }

  opened(stream: ObservedStream, timeToFirstByte: number): void {
    this.guard(() => this.streams.opened(stream, timeToFirstByte));
    this.guard(() => this.spans.opened(stream));
  }

  ended(stream: ObservedStream, reason: StreamCloseReason, duration: number): void {
    this.guard(() => this.streams.closed(stream, reason, duration));
    this.guard(() => this.spans.ended(stream, reason));
  }

  /** Logs errors of processors and exporters, which must not fail a stream. */
  private guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.api.diag.error('nestjs-streaming: telemetry of a stream was lost', error);
    }
  }

  private readonly collect = (): void => {
    this.streams.report();
    this.hubs.report();
    this.runs.report();
  };
}

/** Returns a function that returns the tracer of the SDK, or `undefined` as long as the application has set up none. */
function tracerIn({ trace, ProxyTracerProvider }: OpenTelemetry): () => Tracer | undefined {
  let tracer: Tracer | undefined;
  return () => {
    if (!tracer) {
      const provider = trace.getTracerProvider();
      tracer = provider instanceof ProxyTracerProvider ? provider.getDelegateTracer(NAME) : provider.getTracer(NAME);
    }
    return tracer;
  };
}

async function importApi(): Promise<OpenTelemetry | undefined> {
  try {
    return await import('@opentelemetry/api');
  } catch (error) {
    if (isNotInstalled('@opentelemetry/api', error)) {
      return undefined;
    }
    throw error;
  }
}
