import { type Attributes, context, metrics, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import {
  AggregationTemporality,
  type Histogram,
  InMemoryMetricExporter,
  MeterProvider,
  type MetricReader,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';

interface Point<T> {
  readonly attributes: Attributes;
  readonly value: T;
}

/** What was exported by the real SDK of OpenTelemetry. */
export interface Exported {
  /** The spans that have ended. */
  readonly spans: ReadableSpan[];
  /** Collects and exports, and gives the points of an instrument: of all attributes, as often as it has them. */
  points<T = number>(name: string): Promise<Point<T>[]>;
  /** As {@link points}, of all instruments that have any: their names with what they measure in. */
  units(): Promise<Record<string, string>>;
}

export type { Histogram };

/** Sets the SDK up, as an application does before it starts; takes it down after each test. */
export function useTelemetry(): (readers?: readonly MetricReader[]) => Exported {
  let shutdown: (() => Promise<unknown>) | undefined;

  afterEach(async () => {
    await shutdown?.();
    shutdown = undefined;
    metrics.disable();
    trace.disable();
    context.disable();
  });

  return (others = []) => {
    const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
    const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
    const meters = new MeterProvider({ readers: [reader, ...others] });
    const spans = new InMemorySpanExporter();
    const tracers = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] });
    metrics.setGlobalMeterProvider(meters);
    trace.setGlobalTracerProvider(tracers);
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    shutdown = () => Promise.all([meters.shutdown(), tracers.shutdown()]);

    const collect = async () => {
      exporter.reset();
      await meters.forceFlush();
      return exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    };
    return {
      get spans() {
        return spans.getFinishedSpans();
      },
      points: async <T>(name: string) => {
        const found = (await collect()).filter(({ descriptor }) => descriptor.name === `nestjs_streaming.${name}`);
        return found.flatMap(({ dataPoints }) =>
          dataPoints.map(({ attributes, value }) => ({ attributes, value: value as T })),
        );
      },
      units: async () => Object.fromEntries((await collect()).map(({ descriptor: { name, unit } }) => [name, unit])),
    };
  };
}
