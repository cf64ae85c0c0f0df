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

/** The data that the SDK of OpenTelemetry has exported. */
export interface Exported {
  /** The spans that have ended. */
  readonly spans: ReadableSpan[];
  /** Collects and exports metrics. Resolves to the data points of an instrument, one for each set of attributes. */
  points<T = number>(name: string): Promise<Point<T>[]>;
  /** Collects and exports metrics. Resolves to the names and units of all instruments with data points. */
  units(): Promise<Record<string, string>>;
}

export type { Histogram };

/** Sets up the SDK as an application does before it starts, and shuts it down after each test. */
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
