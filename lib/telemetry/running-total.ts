import type { Attributes, Counter } from '@opentelemetry/api';

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
