import type { BrokerEntry } from '../broker/broker.js';
import type { History } from './history.js';

/** How long a broker may take to tell of what it has taken, in milliseconds. */
const PATIENCE_MS = 1_000;

/** Publishes, and knows when what was published has come back: a broker on another machine tells of it later than it takes it. */
export class Publisher {
  private readonly inFlight = new Set<Promise<unknown>>();
  private highest = 0;
  private onTold: (() => void) | undefined;

  constructor(private readonly history: History) {}

  async publish(entry: BrokerEntry): Promise<string> {
    const published = this.history.append(entry);
    this.inFlight.add(published);
    try {
      const { id, offset } = await published;
      this.highest = Math.max(this.highest, offset);
      return id;
    } finally {
      this.inFlight.delete(published);
    }
  }

  /** This process has been told of something. */
  told(): void {
    if (this.history.isAt(this.highest)) {
      this.onTold?.();
    }
  }

  /** Resolves when this process has been told of everything it has published, or the broker has been waited for in vain. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.inFlight);
    if (!this.history.isAt(this.highest)) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, PATIENCE_MS);
        this.onTold = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}
