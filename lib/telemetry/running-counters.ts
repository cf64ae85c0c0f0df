import type { Attributes, Counter, UpDownCounter } from '@opentelemetry/api';

interface Level {
  readonly value: number;
  readonly attributes: Attributes;
}

/**
 * An up-down counter that reports current values. It adds the difference to the last report, so that the values of several applications in one
 * process are summed up. With an observable instrument, the SDK would only use the last value, and keep it after the application has closed.
 */
export class RunningLevel {
  private reported: ReadonlyMap<string, Level> = new Map();

  constructor(private readonly counter: UpDownCounter) {}

  /** @param levels all current values. A value that was reported before and is missing now is 0 */
  report(levels: readonly Level[]): void {
    const gone = [...this.reported.values()].map(({ attributes }) => ({ value: 0, attributes }));
    const now = new Map([...gone, ...levels].map((level) => [JSON.stringify(level.attributes), level]));
    for (const [key, { value, attributes }] of now) {
      const before = this.reported.get(key)?.value;
      if (value !== before) {
        this.counter.add(value - (before ?? 0), attributes);
      }
    }
    this.reported = now;
  }
}

/** A counter that reports totals. It adds the difference to the last report, so that the totals of several applications in one process are summed up. */
export class RunningTotal {
  private readonly reported = new Map<string, number>();

  constructor(private readonly counter: Counter) {}

  report(total: number, attributes: Attributes): void {
    const key = JSON.stringify(attributes);
    const before = this.reported.get(key) ?? 0;
    if (total > before) {
      this.reported.set(key, total);
      this.counter.add(total - before, attributes);
    }
  }
}
