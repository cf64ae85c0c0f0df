import type { BrokerEntry, BrokerPosition } from '../broker/broker.js';
import type { History } from './history.js';

/** How long a broker may take to tell of what it has taken, in milliseconds. */
const PATIENCE_MS = 1_000;

/** Publishes, and knows when what was published has come back: a broker on another machine tells of it later than it takes it. */
export class Publisher {
  /** How many have been published here. */
  count = 0;
  private readonly inFlight = new Set<Promise<BrokerPosition>>();
  /** The last in the log of what was published here. */
  private newest: BrokerPosition | undefined;
  private waiting: { readonly promise: Promise<void>; end(): void } | undefined;

  constructor(private readonly history: History) {}

  async publish(entry: BrokerEntry): Promise<string> {
    const published = this.history.append(entry);
    this.inFlight.add(published);
    try {
      const position = await published;
      this.count++;
      const { newest } = this;
      if (newest?.epoch !== position.epoch || newest.offset < position.offset) {
        this.newest = position;
      }
      return this.history.id(position);
    } finally {
      this.inFlight.delete(published);
    }
  }

  /** This process has been told of something. */
  told(): void {
    if (this.waiting && this.isTold) {
      this.waiting.end();
    }
  }

  /** Resolves when this process has been told of everything it has published, or the broker has been waited for in vain. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.inFlight);
    if (!this.isTold) {
      this.waiting ??= this.wait();
      await this.waiting.promise;
    }
  }

  private get isTold(): boolean {
    return this.newest === undefined || this.history.isAt(this.newest);
  }

  private wait(): { readonly promise: Promise<void>; end(): void } {
    let end = (): void => undefined;
    const promise = new Promise<void>((resolve) => {
      const timer = setTimeout(() => end(), PATIENCE_MS);
      end = () => {
        clearTimeout(timer);
        this.waiting = undefined;
        resolve();
      };
    });
    return { promise, end };
  }
}
