import type { Meter } from '@opentelemetry/api';
import type { StreamRegistry } from '../connection/registry/stream-registry.js';
import type { MeteredStream, StreamGroup } from '../connection/registry/stream-tally.js';
import type { StreamCloseReason } from '../util/close-reason.js';
import { type AttributesOf, CLOSE_CODE, errorType } from './attributes.js';
import { RunningLevel, RunningTotal } from './running-counters.js';

const FIRST_BYTE_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Boundaries for durations from that of a short response to that of a stream that is open for a day. */
const DURATION_SECONDS = [0.01, 0.1, 1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400];

/**
 * The instruments of streams. Streams count their chunks and bytes themselves. The totals are reported when metrics are collected:
 * reporting each chunk would cost more than sending it.
 */
export class StreamMetrics {
  private readonly open;
  private readonly timeToFirstByte;
  private readonly duration;
  private readonly ended;
  private readonly totals: readonly { readonly of: keyof StreamGroup; readonly total: RunningTotal }[];

  constructor(
    meter: Meter,
    private readonly registry: StreamRegistry,
    private readonly attributesOf: AttributesOf,
  ) {
    const total = (name: string, unit: string, description: string): RunningTotal =>
      new RunningTotal(meter.createCounter(`nestjs_streaming.${name}`, { unit, description }));
    const seconds = (name: string, description: string, explicitBucketBoundaries: number[]) =>
      meter.createHistogram(`nestjs_streaming.streams.${name}`, {
        unit: 's',
        description,
        advice: { explicitBucketBoundaries },
      });
    this.open = new RunningLevel(
      meter.createUpDownCounter('nestjs_streaming.streams.open', {
        unit: '{stream}',
        description: 'Streams that are open now',
      }),
    );
    this.timeToFirstByte = seconds('time_to_first_byte', 'From the handler to the head', FIRST_BYTE_SECONDS);
    this.duration = seconds('duration', 'From the handler to the end', DURATION_SECONDS);
    this.ended = total('streams.ended', '{stream}', 'Streams that have ended, by the code of their close reason');
    this.totals = [
      { of: 'opened', total: total('streams.opened', '{stream}', 'Streams that were opened') },
      { of: 'resumed', total: total('streams.resumed', '{stream}', 'Streams resumed after a Last-Event-ID') },
      { of: 'lagged', total: total('streams.lagged', '{notice}', 'Reports to clients that they have missed chunks') },
      { of: 'chunks', total: total('chunks.sent', '{chunk}', 'Chunks sent') },
      { of: 'dropped', total: total('chunks.dropped', '{chunk}', 'Chunks dropped for slow clients') },
      { of: 'bytes', total: total('bytes.sent', 'By', 'Bytes sent, before compression') },
    ];
  }

  opened(stream: MeteredStream, milliseconds: number): void {
    this.timeToFirstByte.record(milliseconds / 1_000, this.attributesOf(stream));
  }

  closed(stream: MeteredStream, { code, error }: StreamCloseReason, milliseconds: number): void {
    const attributes = this.attributesOf(stream);
    this.duration.record(milliseconds / 1_000, code === 'error' ? { ...attributes, ...errorType(error) } : attributes);
  }

  /** Reports all changes since the last call. */
  report(): void {
    const groups = this.registry.snapshot().groups.map((group) => ({ group, attributes: this.attributesOf(group) }));
    for (const { group, attributes } of groups) {
      for (const { of, total } of this.totals) {
        total.report(group[of] as number, attributes);
      }
      for (const [code, count] of Object.entries(group.ended)) {
        this.ended.report(count, { ...attributes, [CLOSE_CODE]: code });
      }
    }
    this.open.report(groups.map(({ group, attributes }) => ({ value: group.open, attributes })));
  }

  /** Reports the last changes, and then sets all levels to 0. */
  stop(): void {
    this.report();
    this.open.report([]);
  }
}
