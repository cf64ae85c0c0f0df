import type { RunDisconnect } from './run.options.js';

/** Counts the viewers of one run in all processes, and says when nobody needs it any more. */
export class RunAudience {
  /** The number of viewers in each process. Those without any are left out. */
  private readonly counts = new Map<string, number>();
  /** Whether there was a viewer. Before that, nobody has left. */
  private visited = false;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    private readonly policy: RunDisconnect,
    private readonly onDeserted: () => void,
  ) {}

  /** The number of viewers. */
  get size(): number {
    let size = 0;
    for (const count of this.counts.values()) {
      size += count;
    }
    return size;
  }

  /** Whether there were viewers, and all of them have left. */
  get deserted(): boolean {
    return this.visited && this.counts.size === 0;
  }

  /** The processes that have viewers. */
  get nodes(): string[] {
    return [...this.counts.keys()];
  }

  /** Sets the number of viewers in a process. */
  set(node: string, count: number): void {
    if (count > 0) {
      this.visited = true;
      this.counts.set(node, count);
    } else {
      this.counts.delete(node);
    }
    this.decide();
  }

  /** Called when a viewer has left before it has read anything. */
  passedBy(): void {
    this.visited = true;
    this.decide();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private decide(): void {
    const { policy } = this;
    if (!this.deserted || this.closed) {
      clearTimeout(this.timer);
      this.timer = undefined;
    } else if (policy === 'cancel') {
      this.onDeserted();
    } else if (policy !== 'detach') {
      this.timer ??= setTimeout(() => this.onDeserted(), policy.detach);
    }
  }
}
