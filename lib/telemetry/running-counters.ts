import type { Attributes, Counter, UpDownCounter } from '@opentelemetry/api';

interface Level {
  readonly value: number;
  readonly attributes: Attributes;
}

/**
 * An up-down counter that is told how much there is. It adds the difference, so that several applications of one process add
 * up: of what they observe of the same instrument, the SDK would take the last, and keep it when nobody observes it any more.
 */
export class RunningLevel {
  private reported: ReadonlyMap<string, Level> = new Map();

  constructor(private readonly counter: UpDownCounter) {}

  /** @param levels all there are: of what was there before, there is nothing now */
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

/** A counter that is told totals. It adds what came since, so that several applications of one process add up. */
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
